package api

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/internal/leaks"
	"github.com/2xppg/xppg/internal/seeded"
	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/netsim"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// world is a network with playgrounds in it, for tests in virtual time.
type world struct {
	t      *testing.T
	net    *netsim.Network
	places int
	nodes  []*node
	link   netsim.Link
}

// inWorld runs f in a bubble. Links have 10 ms each way: 40 ms round trip.
func inWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: netsim.New(netsim.Config{Seed: 1}), link: netsim.Link{Delay: 10 * time.Millisecond}}
		t.Cleanup(func() {
			if err := w.net.Close(); err != nil {
				t.Error(err)
			}
		})
		f(t, w)
	})
}

// node is a playground and where it stands.
type node struct {
	*Playground
	w      *world
	host   *netsim.Host
	addr   string // to join it by, when it is public
	place  int
	change []func(*Config)
	runs   int // playgrounds that it has had

	router *netsim.Router // nil: public

	seenMu sync.Mutex // not mu, which is the playground's
	events []Event
	got    []string // texts of messages of kind "text"
}

// public starts a node with a public address.
func (w *world) public(change ...func(*Config)) *node {
	w.places++
	ip := netip.AddrFrom4([4]byte{20, 0, 0, byte(w.places)})
	h := w.net.NewHost(fmt.Sprint("public", w.places), w.net.Internet(), w.link, ip)
	n := w.start(h, change)
	n.addr = netip.AddrPortFrom(ip, 7337).String()
	return n
}

// behind starts a node behind a NAT.
func (w *world) behind(nat netsim.NAT, change ...func(*Config)) *node {
	h, router := w.home(nat)
	n := w.start(h, change)
	n.router = router
	return n
}

// home makes a host behind a NAT.
func (w *world) home(nat netsim.NAT) (*netsim.Host, *netsim.Router) {
	w.places++
	home, router := w.network(w.net.Internet(), fmt.Sprintf("20.0.%d.1", w.places), nat, netsim.Link{Hops: 2})
	return w.net.NewHost(fmt.Sprint("home", w.places), home, w.link, netip.AddrFrom4([4]byte{192, 168, byte(w.places), 2})), router
}

// network makes a network behind a router with a NAT.
func (w *world) network(outside *netsim.Segment, addr string, nat netsim.NAT, link netsim.Link) (*netsim.Segment, *netsim.Router) {
	inside := w.net.NewSegment("network behind " + addr)
	return inside, w.net.NewRouter("router "+addr, netsim.RouterConfig{
		Outside: outside, OutsideAddrs: []netip.Addr{netip.MustParseAddr(addr)}, Inside: inside, NAT: nat, Link: link,
	})
}

// config returns how to start a playground on the host that was made last.
func (w *world) config(h *netsim.Host) Config { return w.configOf(h, w.places, 0) }

// configOf returns how to start a playground on a host, with the identity of a place. run counts those of that identity.
func (w *world) configOf(h *netsim.Host, place, run int) Config {
	w.t.Helper()
	conn, err := h.ListenUDP(netip.MustParseAddrPort("[::]:7337"))
	if err != nil {
		w.t.Fatal(err)
	}
	return Config{
		App: "test", Conn: conn, Identity: testIdentity(byte(place)), STUN: []string{},
		Relay: RelayOff, LocalAddrs: h.Addrs, Rand: seeded.New([32]byte{byte(place), byte(run), byte(run >> 8)}),
		DialTCP: h.DialContext, ListenStream: listenOn(h),
	}
}

func (w *world) start(h *netsim.Host, change []func(*Config)) *node {
	w.t.Helper()
	n := &node{w: w, host: h, place: w.places, change: change}
	w.nodes = append(w.nodes, n)
	n.run()
	w.t.Cleanup(func() {
		if err := n.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return n
}

// run starts the node's playground: the first one, or the next after one that was closed.
func (n *node) run() {
	n.w.t.Helper()
	cfg := n.w.configOf(n.host, n.place, n.runs)
	n.runs++
	cfg.OnEvent = n.onEvent
	for _, c := range n.change {
		c(&cfg)
	}
	var err error
	n.Playground, err = Start(n.w.t.Context(), cfg)
	if err != nil {
		n.w.t.Fatal(err)
	}
	n.On("text", func(m *Message) {
		n.seenMu.Lock()
		defer n.seenMu.Unlock()
		n.got = append(n.got, m.Text())
	})
}

func noMesh(c *Config) { c.MaxPeers = -1 }

func (n *node) onEvent(e Event) {
	n.seenMu.Lock()
	defer n.seenMu.Unlock()
	n.events = append(n.events, e)
}

func (n *node) join(target string) kcptransport.PeerID {
	n.w.t.Helper()
	ctx, cancel := context.WithTimeout(n.w.t.Context(), 15*time.Second)
	defer cancel()
	id, err := n.Join(ctx, target)
	if err != nil {
		n.w.t.Fatalf("join %s: %v", target, err)
	}
	return id
}

// meet joins another node and waits until that one knows, too.
func (n *node) meet(o *node) kcptransport.PeerID {
	n.w.t.Helper()
	id := n.join(o.addr)
	n.w.eventually("the other side has the link", time.Second, func() bool {
		_, ok := o.PathTo(n.ID())
		return ok
	})
	return id
}

// introduced starts two nodes behind NATs, by their presets, that have a common peer.
func (w *world) introduced(natA, natB string) (a, b *node) {
	w.t.Helper()
	r := w.public(noMesh)
	a, b = w.behind(netsim.Presets[natA], noMesh), w.behind(netsim.Presets[natB], noMesh)
	a.meet(r)
	b.meet(r)
	return a, b
}

func (n *node) texts() []string {
	n.seenMu.Lock()
	defer n.seenMu.Unlock()
	return append([]string(nil), n.got...)
}

// eventually waits in virtual time until f holds.
func (w *world) eventually(what string, limit time.Duration, f func() bool) {
	w.t.Helper()
	for start := time.Now(); !f(); time.Sleep(time.Millisecond) {
		if time.Since(start) > limit {
			w.t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

func (w *world) ctx(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(w.t.Context(), d)
	w.t.Cleanup(cancel)
	return ctx
}

// listenOn returns how a node listens for streams on a host.
func listenOn(h *netsim.Host) func(addr string) (net.Listener, error) {
	return func(addr string) (net.Listener, error) {
		at, err := netip.ParseAddrPort(addr)
		if err != nil {
			return nil, err
		}
		return h.ListenTCP(at)
	}
}
