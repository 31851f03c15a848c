package chaos

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/2xppg/xppg/api"
	"github.com/2xppg/xppg/internal/seeded"
	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/netsim"
)

const (
	publicNodes = 3
	port        = 7337
)

// nats are where the nodes behind NATs are, in turn.
var nats = []string{"full-cone", "port-restricted", "linux", "address-restricted", "cgnat", "linux-no-drop", "symmetric"}

// world is a network of nodes.
type world struct {
	t     testing.TB
	ctx   context.Context
	net   *netsim.Network
	nodes []*node
	homes int
}

// node is one identity; the playground that runs for it changes when it crashes.
type node struct {
	w      *world
	number int
	nat    string
	id     kcptransport.PeerID
	host   *netsim.Host
	router *netsim.Router // nil: public

	mu     sync.Mutex
	run    int // counts playgrounds
	pg     *api.Playground
	inbox  map[from]uint64 // the number of the latest message
	got    map[message]bool
	falls  []time.Time // when it crashed
	isDown bool
}

// from is a run of a sender.
type from struct{ node, run int }

// message names one message; to is the run of the receiver.
type message struct {
	from   from
	to     from
	number uint64
}

// payload is what a message carries.
type payload struct {
	Node, Run int
	Number    uint64
}

func newWorld(ctx context.Context, t testing.TB, seed uint64) *world {
	w := &world{t: t, ctx: ctx, net: netsim.New(netsim.Config{Seed: seed})}
	for n := range *nodes {
		x := &node{w: w, number: n, inbox: map[from]uint64{}, got: map[message]bool{}}
		if n < publicNodes {
			x.host = w.net.NewHost(fmt.Sprint("public ", n), w.net.Internet(), link, publicAddr(n))
		} else {
			x.nat = nats[n%len(nats)]
			x.move()
		}
		w.nodes = append(w.nodes, x)
		x.start()
	}
	return w
}

var link = netsim.Link{Delay: 10 * time.Millisecond, Jitter: 2 * time.Millisecond, Loss: 0.002}

func publicAddr(n int) netip.Addr { return netip.AddrFrom4([4]byte{20, 0, 0, byte(n + 1)}) }

// move puts the node into a home of its own that is new.
func (n *node) move() {
	w := n.w
	w.homes++
	home := w.net.NewSegment(fmt.Sprint("home ", w.homes))
	n.router = w.net.NewRouter(fmt.Sprint("router ", w.homes), netsim.RouterConfig{
		Outside: w.net.Internet(), OutsideAddrs: []netip.Addr{netip.AddrFrom4([4]byte{20, 1, byte(w.homes >> 8), byte(w.homes)})},
		Inside: home, NAT: netsim.Presets[n.nat], Link: netsim.Link{Hops: 2},
	})
	inside := netip.AddrFrom4([4]byte{192, 168, byte(n.number), 2})
	if n.host == nil {
		n.host = w.net.NewHost(fmt.Sprint("host ", n.number), home, link, inside)
		return
	}
	n.host.Move(home, inside)
}

// start begins a run of the node.
func (n *node) start() {
	conn, err := n.host.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), port))
	if err != nil {
		n.w.t.Fatal(err)
	}
	n.mu.Lock()
	n.run++
	run := n.run
	n.mu.Unlock()
	identity := kcptransport.IdentityFromSeed([32]byte{byte(n.number + 1)})
	n.id = identity.ID()
	cfg := api.Config{
		App: "chaos", Conn: conn, Identity: identity, STUN: []string{}, LocalAddrs: n.host.Addrs,
		Rand: seeded.New([32]byte{byte(n.number + 1), byte(run)}),
	}
	for i := range publicNodes {
		if i != n.number {
			cfg.Join = append(cfg.Join, netip.AddrPortFrom(publicAddr(i), port).String())
		}
	}
	pg, err := api.Start(n.w.ctx, cfg)
	if err != nil {
		n.w.t.Fatal(err)
	}
	pg.On("number", func(m *api.Message) { n.take(run, m) })
	n.mu.Lock()
	n.pg, n.isDown = pg, false
	n.mu.Unlock()
}

// take checks a message as it comes.
func (n *node) take(run int, m *api.Message) {
	var p payload
	if err := m.Decode(&p); err != nil {
		n.w.t.Errorf("node %d: a message that cannot be read: %v", n.number, err)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	sender := from{p.Node, p.Run}
	if last := n.inbox[sender]; p.Number <= last {
		n.w.t.Errorf("node %d got message %d of node %d, run %d, after number %d", n.number, p.Number, p.Node, p.Run, last)
	}
	n.inbox[sender] = p.Number
	n.got[message{sender, from{n.number, run}, p.Number}] = true
}

// playground returns the present run.
func (n *node) playground() (*api.Playground, int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pg, n.run
}

// down reports whether the node crashed and has not begun anew.
func (n *node) down() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.isDown
}

// crash ends the run without a word, and begins a new one after d.
func (n *node) crash(d time.Duration) {
	pg, _ := n.playground()
	n.host.Crash()
	n.mu.Lock()
	n.falls, n.isDown = append(n.falls, time.Now()), true
	n.mu.Unlock()
	_ = pg.Close() // what is left of the process
	<-time.After(d)
	n.host.Start()
	<-time.After(2) // the host runs a nanosecond later
	n.start()
}

func (w *world) close() {
	for _, n := range w.nodes {
		pg, _ := n.playground()
		if err := pg.Close(); err != nil {
			w.t.Error(err)
		}
	}
	if err := w.net.Close(); err != nil {
		w.t.Error(err)
	}
}
