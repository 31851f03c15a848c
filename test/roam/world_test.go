package roam

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/internal/seeded"
	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/netsim"
	"github.com/2xppg/xppg/punch"
)

// world is two nodes behind NATs with a link between them, and somebody who introduces them.
type world struct {
	t     testing.TB
	net   *netsim.Network
	rtt   time.Duration
	loss  float64
	nodes [2]*node
	ctx   context.Context
	nats  [2]string // presets
	homes int
}

// node is one end.
type node struct {
	w      *world
	host   *netsim.Host
	router *netsim.Router
	asleep atomic.Bool
	stalls time.Time // until when the program gets no turn; guarded by stall
	stall  sync.Mutex
	public netip.AddrPort // where its NAT shows it, once it has sent something
	ep     *kcptransport.Endpoint
	link   *kcptransport.Link

	puncher *punch.Puncher
	mending atomic.Bool
}

// stallingConn makes the outcome depend on the seed alone, and gives the program of a node that stalls no turns.
type stallingConn struct {
	netsim.SettledConn
	n *node
}

func (c stallingConn) Settler() func() {
	settle := c.SettledConn.Settler()
	return func() {
		c.n.stall.Lock()
		until := c.n.stalls
		c.n.stall.Unlock()
		<-time.After(time.Until(until))
		settle()
	}
}

// stallFor has the links of a node see the clock jump: for so long they get no turn, then all that has come and all that
// is due is there at once.
func (n *node) stallFor(d time.Duration) {
	n.stall.Lock()
	defer n.stall.Unlock()
	n.stalls = time.Now().Add(d)
}

// newWorld builds the world and opens the link. What is random comes from the seed.
func newWorld(ctx context.Context, t testing.TB, s story, seed uint64, lossy bool) *world {
	random := rand.New(rand.NewPCG(seed, 0x726f616d))
	w := &world{t: t, ctx: ctx, nats: [2]string{"port-restricted", s.nat}, net: netsim.New(netsim.Config{Seed: seed, Wait: synctest.Wait})}
	w.rtt = 20*time.Millisecond + time.Duration(random.Int64N(int64(180*time.Millisecond)))
	if loss := 0.02 * random.Float64(); lossy {
		w.loss = loss
	}
	for i := range w.nodes {
		w.node(i, seed)
	}
	w.connect()
	return w
}

// connect opens the link as peers behind NATs do: the handshake goes by way of the introducer, then both probe.
func (w *world) connect() {
	a, b := w.nodes[0], w.nodes[1]
	var err error
	if a.link, err = a.ep.Dial(w.ctx, kcptransport.Dial{Peer: b.ep.ID(), Signal: &courier{from: a}}); err != nil {
		w.t.Fatal(err)
	}
	if b.link, err = b.ep.Accept(w.ctx); err != nil {
		w.t.Fatal(err)
	}
	for _, n := range w.nodes {
		for range 20 {
			n.link.Probe(kcptransport.Path{Addr: n.other().public}, 0)
			<-time.After(w.rtt / 4)
			if _, ok := n.link.Path(); ok {
				break
			}
		}
	}
	for _, n := range w.nodes {
		if _, err := n.link.WaitPath(w.ctx); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) close() {
	for _, n := range w.nodes {
		_ = n.ep.Close()
	}
	if err := w.net.Close(); err != nil {
		w.t.Error(err)
	}
}

// move puts a node into another home, behind another NAT, and leaves what was open there behind.
func (w *world) move(n *node, rtt time.Duration) {
	i := byte(slices.Index(w.nodes[:], n))
	w.homes++
	home := w.net.NewSegment(fmt.Sprintf("home %d", w.homes))
	outside := netip.AddrFrom4([4]byte{198, 51, i, byte(w.homes)})
	n.public = netip.AddrPortFrom(outside, port)
	n.router = w.net.NewRouter(fmt.Sprintf("router %d", w.homes), netsim.RouterConfig{
		Outside: w.net.Internet(), OutsideAddrs: []netip.Addr{outside}, Inside: home, NAT: netsim.Presets[w.nats[i]],
		Link: netsim.Link{Delay: rtt / 4, Loss: w.loss / 2, Rate: 50_000_000, Hops: 2},
	})
	if n.host == nil {
		n.host = w.net.NewHost(fmt.Sprintf("host %d", i), home, netsim.Link{}, netip.MustParseAddr("192.168.1.2"))
		return
	}
	n.host.Move(home, netip.MustParseAddr("192.168.1.2"))
}

const port = 7337

func (w *world) node(i int, seed uint64) {
	n := &node{w: w}
	n.puncher = punch.New(punch.Config{Candidates: n.candidates, Timeout: mendTimeout})
	w.nodes[i] = n
	w.move(n, w.rtt)
	conn, err := n.host.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), port))
	if err != nil {
		w.t.Fatal(err)
	}
	key := [32]byte{byte(i + 1), 7, 3}
	binary.BigEndian.PutUint64(key[8:], seed)
	keys := seeded.New(key)
	identity, err := kcptransport.NewIdentity(keys)
	if err != nil {
		w.t.Fatal(err)
	}
	n.ep, err = kcptransport.Listen(kcptransport.Config{
		Conn: stallingConn{conn.Settled(), n}, Identity: identity, App: "roam", Rand: keys,
		Candidates: n.candidates, OnTrouble: n.meetAgain, OnMet: n.mend,
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// other returns the other end.
func (n *node) other() *node {
	if n == n.w.nodes[0] {
		return n.w.nodes[1]
	}
	return n.w.nodes[0]
}

// forget has the NAT of a node forget its mappings: the next one is at the next port.
func (w *world) forget(n *node) {
	n.public = netip.AddrPortFrom(n.public.Addr(), n.public.Port()+1)
	n.router.Rebind()
}

// sleep stops a node, as when a laptop is closed.
func (n *node) sleep() {
	n.asleep.Store(true)
	n.host.Pause()
}

func (n *node) wake() {
	n.asleep.Store(false)
	n.host.Resume()
}

// candidates tells what a STUN server would.
func (n *node) candidates() []kcptransport.Candidate {
	return []kcptransport.Candidate{{Addr: n.public, Type: kcptransport.ServerReflexive, Priority: 1}}
}

// meetAgain is what a node does when its peer has fallen silent.
func (n *node) meetAgain(l *kcptransport.Link) {
	if n.asleep.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(n.w.ctx, 5*time.Second)
	defer cancel()
	_, _ = n.ep.Dial(ctx, kcptransport.Dial{Peer: l.Peer(), Signal: &courier{from: n}}) // asked again when it fails
}

// mend is what a node does when the two have met again.
func (n *node) mend(l *kcptransport.Link) {
	if !n.mending.CompareAndSwap(false, true) {
		return
	}
	defer n.mending.Store(false)
	l.Quiet(mendTimeout)
	_, _ = n.puncher.Punch(n.w.ctx, l, punch.Options{}) // they meet again when it fails
}

const mendTimeout = 4 * time.Second

// courier carries packets by way of an introducer half-way between the two.
type courier struct{ from *node }

func (c *courier) Send(packet []byte) error {
	to, packet := c.from.other(), slices.Clone(packet)
	time.AfterFunc(c.from.w.rtt/2, func() {
		if !to.asleep.Load() {
			to.ep.HandleSignal(packet, &courier{from: to})
		}
	})
	return nil
}
