package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/2xppg/xppg/internal/netmon"
	"github.com/2xppg/xppg/internal/udp"
	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/punch"
	"github.com/2xppg/xppg/punch/portmap"
	"github.com/2xppg/xppg/relaymesh"
	"github.com/2xppg/xppg/relaymesh/carrier"
	"github.com/2xppg/xppg/stunclient"
)

// A Playground is one node: it has an identity, a socket and links to peers.
// All its methods may be called from any goroutine.
type Playground struct {
	cfg     Config
	carrier *carrier.Conn // cfg.Conn
	ep      *kcptransport.Endpoint
	stun    *stunclient.Client
	gather  *punch.Gatherer
	puncher *punch.Puncher
	intro   *relaymesh.Introducer
	sw      *relaymesh.Switch
	relay   *relaymesh.Relay
	boot    uint64 // tells the runs of one identity apart

	ctx    context.Context // ends when the playground closes
	cancel context.CancelFunc
	wg     sync.WaitGroup
	closed chan struct{} // closed when Close is done
	once   sync.Once

	events *eventQueue
	inbox  *inbox

	mu        sync.Mutex // guards what follows
	peers     map[kcptransport.PeerID]*peer
	handlers  map[string]Handler
	streams   map[string]func(kcptransport.PeerID, *kcptransport.Stream)
	book      book
	asked     map[kcptransport.PeerID]askedRecord
	contacts  map[kcptransport.PeerID]*contactState
	circuits  map[kcptransport.PeerID][]heldCircuit
	relaying  map[[2]kcptransport.PeerID]bool      // to whom, by which relay, a circuit is being set up
	barren    map[[2]kcptransport.PeerID]time.Time // until when a relay is not asked for a circuit to somebody
	fallbacks map[kcptransport.PeerID]*fallback
	reserved  map[kcptransport.PeerID]heldReservation
	changed   time.Time                   // when our network last did
	reachedAt []netip.Addr                // public addresses of our own when others last reached us
	reachedBy families                    // since they are those
	twoAddrs  []netip.AddrPort            // STUN servers that take part in behaviour discovery, as they say
	troubles  map[*kcptransport.Link]bool // whose peers are looked for, and whether they are still silent: see meetAgain

	dialBacks map[dialBackToken]chan struct{} // tests of reachability that go on

	dialBackLimit *rate.Limiter
	proveWake     chan struct{}

	reachable   atomic.Bool // others have reached us without our doing
	draining    atomic.Bool // others are asked to take other relays
	rules       atomic.Pointer[RelayRules]
	broadcasts  atomic.Uint64
	orderMu     sync.Mutex
	order       broadcastOrder
	heldWake    chan struct{}
	meshWake    chan struct{}
	reserveWake chan struct{}
	load        relayLoad                 // of the goroutine of mesh
	workNow     atomic.Pointer[relayWork] // what it measured
	stunWake    chan struct{}
	listeners   *listeners
	mapWake     chan struct{}
	idleWake    chan struct{}
	portmap     *portmap.Client // nil when no router is asked
	netmon      *netmon.Monitor // nil when the socket is the caller's

	files  *files
	states *states
}

// Start opens the socket and starts a node. It returns as soon as the node
// can be reached at its local addresses; public addresses are found in the
// background. ctx bounds the start only; use [Playground.Close] to stop.
func Start(ctx context.Context, cfg Config) (*Playground, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("api: start: %w", err)
	}
	ownSocket := cfg.Conn == nil
	if ownSocket {
		if cfg.PortMapping == nil {
			cfg.PortMapping = portmap.System()
		}
		conn, err := udp.Listen(cfg.Listen)
		if err != nil {
			return nil, fmt.Errorf("api: %w", err) // it names the address
		}
		cfg.Conn = conn
		if cfg.SpareSocket == nil {
			cfg.SpareSocket = spareBeside(conn)
		}
	}
	streams, err := listenStreams(cfg)
	if err != nil {
		cfg.Conn.Close()
		return nil, err
	}
	pg := &Playground{
		listeners:     streams,
		cfg:           cfg,
		closed:        make(chan struct{}),
		events:        newEventQueue(),
		peers:         map[kcptransport.PeerID]*peer{},
		handlers:      map[string]Handler{},
		streams:       map[string]func(kcptransport.PeerID, *kcptransport.Stream){},
		contacts:      map[kcptransport.PeerID]*contactState{},
		asked:         map[kcptransport.PeerID]askedRecord{},
		circuits:      map[kcptransport.PeerID][]heldCircuit{},
		reserved:      map[kcptransport.PeerID]heldReservation{},
		reserveWake:   make(chan struct{}, 1),
		fallbacks:     map[kcptransport.PeerID]*fallback{},
		barren:        map[[2]kcptransport.PeerID]time.Time{},
		relaying:      map[[2]kcptransport.PeerID]bool{},
		troubles:      map[*kcptransport.Link]bool{},
		dialBacks:     map[dialBackToken]chan struct{}{},
		dialBackLimit: newDialBackLimit(),
		proveWake:     make(chan struct{}, 1),
		heldWake:      make(chan struct{}, 1),
		meshWake:      make(chan struct{}, 1),
		stunWake:      make(chan struct{}, 1),
		mapWake:       make(chan struct{}, 1),
		idleWake:      make(chan struct{}, 1),
	}
	pg.openCarrier()
	pg.ctx, pg.cancel = context.WithCancel(context.Background())
	pg.inbox = newInbox(pg.handle)
	if cfg.OnEvent != nil {
		pg.events.listen(cfg.OnEvent)
	}
	if err := pg.open(); err != nil {
		pg.cancel()
		streams.close()
		_ = pg.carrier.Close()
		return nil, err
	}
	pg.portmap = pg.mapPort() // before those who ask it
	streams.serve(pg)
	pg.wg.Go(pg.acceptLinks)
	pg.wg.Go(pg.discover)
	pg.wg.Go(func() { _ = pg.sw.Run(pg.ctx) }) // ends with pg.ctx
	pg.wg.Go(func() { pg.releaseHeld(pg.ctx) })
	pg.wg.Go(pg.mesh)
	pg.wg.Go(pg.keepReservations)
	pg.wg.Go(pg.proveReachable)
	pg.wg.Go(pg.keepIdle)
	if ownSocket {
		pg.watchNetwork()
	}
	for _, t := range cfg.Join {
		pg.wg.Go(func() { pg.keepJoining(t) })
	}
	return pg, nil
}

// ID returns the node's peer ID.
func (pg *Playground) ID() kcptransport.PeerID { return pg.cfg.Identity.ID() }

// App returns the application's name.
func (pg *Playground) App() string { return pg.cfg.App }

// Addrs returns the addresses at which others may reach this node, as far as
// known: its own, and those that STUN servers and peers saw.
func (pg *Playground) Addrs() []netip.AddrPort {
	var out []netip.AddrPort
	for _, c := range pg.candidates() {
		out = append(out, c.Addr)
	}
	return out
}

// LocalAddr returns the address the socket is bound to.
func (pg *Playground) LocalAddr() netip.AddrPort { return pg.ep.LocalAddr() }

// Ticket returns a ticket with which others can join this node: its key, its
// addresses, and peers that can introduce it, first those that have promised to.
func (pg *Playground) Ticket() Ticket {
	t := Ticket{Contact: Contact{Peer: pg.ID(), Addrs: pg.Addrs()}}
	t.URLs = pg.urls(t.Addrs)
	peers := pg.readyPeers()
	slices.SortStableFunc(peers, func(a, b *peer) int { return cmp.Compare(pg.promised(b.id), pg.promised(a.id)) })
	for _, p := range peers {
		if len(t.Via) == 3 {
			break
		}
		if c, ok := pg.contactOf(p); ok {
			t.Via = append(t.Via, c)
		}
	}
	return t
}

// contactOf returns how others may reach a peer to which we have a direct path.
func (pg *Playground) contactOf(p *peer) (c Contact, ok bool) {
	path, ok := p.link.Path()
	if !ok || !path.Path.Direct() {
		return c, false
	}
	c = Contact{Peer: p.id, Addrs: []netip.AddrPort{path.Path.Addr}, URLs: pg.urlsOf(p.id, path.Path.Addr)}
	if path.Path.Carried() { // which only we have
		c.Addrs = nil
		if info := pg.recordOf(p.id); info != nil {
			c.Addrs = info.Addrs
		}
	}
	return c, len(c.Addrs)+len(c.URLs) > 0
}

// OnEvent adds a listener. Listeners are called one event at a time and may
// call the playground's methods, except that Close waits for none of them.
func (pg *Playground) OnEvent(f func(Event)) { pg.events.listen(f) }

// PeerInfo describes a connected peer.
type PeerInfo struct {
	ID     kcptransport.PeerID
	Path   string                // PathDirect, PathTCP or PathRelay
	Via    []kcptransport.PeerID // the relays, ours first; nil when direct
	Addr   netip.AddrPort        // where packets to it go
	RTT    time.Duration         // smoothed round trip of the path in use
	Link   kcptransport.LinkStats
	Direct bool
	Since  time.Time // when the path was taken into use, within 100 ms or so
}

// Peers returns the connected peers, ordered by ID.
func (pg *Playground) Peers() []PeerInfo {
	var out []PeerInfo
	for _, p := range pg.readyPeers() {
		out = append(out, p.info())
	}
	return out
}

func (p *peer) info() PeerInfo {
	info := PeerInfo{ID: p.id, Link: p.link.Stats()}
	if path, ok := p.link.Path(); ok {
		info.Addr, info.RTT, info.Path, info.Via = path.Path.Addr, path.RTT, pathName(path), path.Via
		info.Direct = path.Path.Direct()
	}
	if since := p.since.Load(); since != nil {
		info.Since = *since
	}
	return info
}

// The names of kinds of paths, in [PeerInfo] and [Event].
const (
	PathDirect = "direct" // by UDP
	PathTCP    = "tcp"    // by a TCP or WebSocket connection, where UDP is blocked
	PathRelay  = "relay"
)

func pathName(p kcptransport.PathInfo) string {
	switch {
	case !p.Path.Direct():
		return PathRelay
	case p.Path.Carried():
		return PathTCP
	}
	return PathDirect
}

// Close says goodbye to every peer, stops the node and waits for what it
// started, except for handlers that do not return. It takes a second at most.
// Calling it again waits for the first call.
func (pg *Playground) Close() error {
	var err error
	pg.once.Do(func() {
		pg.events.close()
		pg.inbox.close()
		pg.cancel()
		if pg.netmon != nil {
			_ = pg.netmon.Close()
		}
		pg.listeners.close()
		err = pg.ep.Close()
		pg.wg.Wait()
		err = errors.Join(err, pg.states.close(), pg.files.close())
		close(pg.closed)
	})
	<-pg.closed
	return err
}

// Done is closed when the playground was closed.
func (pg *Playground) Done() <-chan struct{} { return pg.closed }

// peer returns the connected peer id.
func (pg *Playground) peer(id kcptransport.PeerID) (*peer, error) {
	pg.mu.Lock()
	p := pg.peers[id]
	pg.mu.Unlock()
	switch {
	case pg.ctx.Err() != nil:
		return nil, ErrClosed
	case id == pg.ID():
		return nil, errors.New("api: a peer does not send to itself")
	case p == nil || !p.isReady():
		return nil, fmt.Errorf("api: peer %s: %w (join it first, or wait until it is back)", id.Short(), ErrNotConnected)
	}
	return p, nil
}

// readyPeers returns the connected peers, ordered by ID.
func (pg *Playground) readyPeers() []*peer {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	var out []*peer
	for _, p := range pg.peers {
		if p.isReady() {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *peer) int { return a.id.Compare(b.id) })
	return out
}

func (pg *Playground) random() io.Reader {
	if pg.cfg.Rand != nil {
		return pg.cfg.Rand
	}
	return rand.Reader
}

func (pg *Playground) randomUint64() uint64 {
	var b [8]byte
	_, _ = io.ReadFull(pg.random(), b[:]) // a failing source of randomness stops the endpoint long before
	return binary.BigEndian.Uint64(b[:])
}
