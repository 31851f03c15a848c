package portmap

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/internal/seeded"
	"github.com/2xppg/xppg/netsim"
)

var (
	ours     = netip.MustParseAddr("192.168.1.2")
	wan      = netip.MustParseAddr("20.0.113.7")
	ourPort  = uint16(4242)
	pmpAt    = netip.MustParseAddrPort("0.0.0.0:5351")
	gateway1 = netip.MustParseAddr("192.168.1.1")
	gateway2 = netip.MustParseAddr("192.168.1.254")
)

// home is a network with us and routers in it.
type home struct {
	t       *testing.T
	net     *netsim.Network
	segment *netsim.Segment
	host    *netsim.Host
	routers []*fakeRouter

	mu        sync.Mutex
	unusable  error              // of the list of gateways
	reachable func(string) error // what Verify says of an address
	verified  int
	changes   []Mapping
}

// inHome runs a test in virtual time.
func inHome(t *testing.T, f func(*home)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := netsim.New(netsim.Config{Seed: 1})
		h := &home{t: t, net: n, segment: n.NewSegment("home"), reachable: func(string) error { return nil }}
		h.host = n.NewHost("us", h.segment, netsim.Link{Delay: time.Millisecond}, ours)
		defer n.Close()
		f(h)
	})
}

func (h *home) Gateways() (out []Gateway, err error) {
	for _, r := range h.routers {
		out = append(out, Gateway{r.addr, ours})
	}
	return out, h.unusable
}

func (h *home) ListenPacket(_ context.Context, local netip.AddrPort) (net.PacketConn, error) {
	return h.host.ListenUDP(local)
}

func (h *home) DialContext(ctx context.Context, _, addr string) (net.Conn, error) {
	for _, r := range h.routers {
		if r.igd != nil && addr == r.addr.String()+":5000" {
			return r.igd.conns.dial(ctx)
		}
	}
	return nil, errors.New("connection refused")
}

// start runs a client and returns it, and how to end it.
func (h *home) start(change func(*Options)) (c *Client, stop func()) {
	o := Options{
		Port: ourPort, Network: h, Rand: seeded.New([32]byte{1}),
		Verify: func(_ context.Context, a netip.AddrPort) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.verified++
			return h.reachable(a.String())
		},
		OnChange: func(m Mapping) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.changes = append(h.changes, m)
		},
	}
	if change != nil {
		change(&o)
	}
	c = New(o)
	ctx, cancel := context.WithCancel(h.t.Context())
	ended := make(chan struct{})
	go func() { c.Run(ctx); close(ended) }()
	return c, func() {
		h.t.Helper()
		began := time.Now()
		cancel()
		<-ended
		if took := time.Since(began); took > removeWithin+50*time.Millisecond {
			h.t.Errorf("the end took %v", took)
		}
		for _, r := range h.routers {
			r.close()
		}
	}
}

// wait lets time pass.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (h *home) wantState(c *Client, s State, p Protocol) Mapping {
	h.t.Helper()
	m := c.Mapping()
	if m.State != s || m.Protocol != p {
		h.t.Fatalf("%+v, want %v by %v; all changes: %v; %v", m, s, p, h.changes, c.Status().Attempts)
	}
	return m
}

// fakeRouter is a router that speaks what it is told to.
type fakeRouter struct {
	h     *home
	addr  netip.Addr
	host  *netsim.Host
	conns []*netsim.Conn

	mu       sync.Mutex
	pcp, pmp bool
	silent   bool
	wan      netip.Addr
	started  time.Time
	lifetime time.Duration     // given at most; 0 means what is asked for
	result   byte              // instead of success, for mappings
	mapped   map[uint16]uint16 // our port by its own
	spoil    func([]byte) []byte
	igd      *fakeIGD
	requests []string
}

func (h *home) router(addr netip.Addr, change func(*fakeRouter)) *fakeRouter {
	r := &fakeRouter{h: h, addr: addr, wan: wan, started: time.Now().Add(-time.Hour), mapped: map[uint16]uint16{}}
	r.host = h.net.NewHost(addr.String(), h.segment, netsim.Link{Delay: time.Millisecond}, addr)
	if change != nil {
		change(r)
	}
	h.routers = append(h.routers, r)
	r.listen(pmpAt, r.answer)
	return r
}

// listen answers packets at a port, one for one.
func (r *fakeRouter) listen(at netip.AddrPort, answer func([]byte) []byte) {
	c, err := r.host.ListenUDP(at)
	if err != nil {
		r.h.t.Fatal(err)
	}
	r.conns = append(r.conns, c)
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if out := answer(b[:n]); out != nil {
				_, _ = c.WriteToUDPAddrPort(out, from)
			}
		}
	}()
}

func (r *fakeRouter) close() {
	for _, c := range r.conns {
		c.Close()
	}
	if r.igd != nil {
		r.igd.srv.Close()
	}
}

// change changes the router while it works.
func (r *fakeRouter) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// restart forgets everything.
func (r *fakeRouter) restart() {
	r.change(func() { r.started, r.mapped = time.Now(), map[uint16]uint16{} })
}

// asked counts the requests of a kind.
func (r *fakeRouter) asked(kind string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.requests {
		if k == kind {
			n++
		}
	}
	return n
}

func (r *fakeRouter) ports() (out []uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.mapped {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

func (r *fakeRouter) answer(b []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []byte
	switch {
	case r.silent || len(b) < 2:
	case b[0] == 2 && r.pcp:
		out = r.answerPCP(b)
	case b[0] == 2 && r.pmp:
		out = []byte{0, 128 | b[1], 0, 1, 0, 0, 0, 0}
	case b[0] == 0 && r.pmp:
		out = r.answerPMP(b)
	}
	if r.spoil != nil && out != nil {
		out = r.spoil(out)
	}
	return out
}

func (r *fakeRouter) epoch() uint32 { return uint32(time.Since(r.started) / time.Second) }

// give maps a port of ours to the next one, or removes it.
func (r *fakeRouter) give(port uint16, asked uint32) (uint16, uint32) {
	if asked == 0 {
		delete(r.mapped, port+1)
		return 0, 0
	}
	r.mapped[port+1] = port
	if r.lifetime != 0 {
		asked = min(asked, uint32(r.lifetime/time.Second))
	}
	return port + 1, asked
}

func (r *fakeRouter) answerPMP(b []byte) []byte {
	out := binary.BigEndian.AppendUint32([]byte{0, 128 | b[1], 0, 0}, r.epoch())
	if b[1] == pmpAddress {
		r.requests = append(r.requests, "pmp address")
		a := r.wan.As4()
		return append(out, a[:]...)
	}
	kind := "pmp map"
	private, lifetime := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint32(b[8:])
	if lifetime == 0 {
		kind = "pmp remove"
	}
	r.requests = append(r.requests, kind)
	if out[3] = r.result; r.result != 0 {
		return out
	}
	public, lifetime := r.give(private, lifetime)
	out = binary.BigEndian.AppendUint16(out, private)
	out = binary.BigEndian.AppendUint16(out, public)
	return binary.BigEndian.AppendUint32(out, lifetime)
}

func (r *fakeRouter) answerPCP(b []byte) []byte {
	out := slices.Clone(b)
	out[1] |= 128
	out[2], out[3] = 0, 0
	binary.BigEndian.PutUint32(out[8:], r.epoch())
	clear(out[12:24])
	if b[1] == pcpAnnounce {
		r.requests = append(r.requests, "pcp announce")
		return out
	}
	kind := "pcp map"
	private, lifetime := binary.BigEndian.Uint16(b[40:]), binary.BigEndian.Uint32(b[4:])
	if lifetime == 0 {
		kind = "pcp remove"
	}
	r.requests = append(r.requests, kind)
	if out[3] = r.result; r.result != 0 {
		return out
	}
	public, lifetime := r.give(private, lifetime)
	binary.BigEndian.PutUint32(out[4:], lifetime)
	binary.BigEndian.PutUint16(out[42:], public)
	a := r.wan.As16()
	copy(out[44:], a[:])
	return out
}
