package netsim

import (
	"net/netip"
	"time"
)

// A Gateway says by which protocols those inside may ask a router for port forwardings:
// ports of its outside that are open to everybody. They live as long as was asked for,
// and are lost by [Router.Rebind], [Router.Reboot] and [Router.SetOutsideAddrs], of which
// the latter two begin the epoch of NAT-PMP and PCP anew. By PCP, where Addr6 is given, those inside also open
// ports of their own IPv6 addresses in the firewall (pinholes).
type Gateway struct {
	Addr  netip.Addr // of the router on its inside; invalid: it offers nothing
	Addr6 netip.Addr // the same for IPv6, where PCP alone is spoken; invalid: IPv6 has no pinholes

	NATPMP bool // RFC 6886, on UDP port 5351
	PCP    bool // RFC 6887, MAP and ANNOUNCE, on UDP port 5351
	UPnP   int  // Internet Gateway Device of this version, 1 or 2; 0 is none

	// MaxLifetime is how long a forwarding lives at most, unless it is renewed; 0 means
	// a day. UPnP has leases without end beside that.
	MaxLifetime time.Duration

	Refuses       bool // every request is refused: somebody turned the feature off
	PermanentOnly bool // UPnP knows only leases without end, as many version 1 devices do

	Hostile Hostile
}

// Hostile is what a router does that is broken, or lies.
type Hostile struct {
	External   netip.Addr // is told as its outside address
	NoMapping  bool       // says yes and forwards nothing
	WrongNonce bool       // PCP answers carry another nonce

	EndlessXML bool   // the description has no end
	Redirect   string // where requests for the description and of control are redirected
	Location   string // where SSDP says that the description is
	ControlURL string // where the description says that control is
}

// Ports of the protocols.
const (
	portMapping  = 5351 // NAT-PMP and PCP
	portSSDP     = 1900
	portHTTP     = 5000
	defaultLease = 24 * time.Hour
)

var groupSSDP = netip.AddrFrom4([4]byte{239, 255, 255, 250})

// A gateway is a Gateway at work: a host in the inside of the router, with its programs.
type gateway struct {
	Gateway
	router *Router
	host   *Host
	since  int64 // the beginning of the epoch
}

// offer starts the programs of a router.
func (r *Router) offer(cfg Gateway) {
	if cfg.MaxLifetime == 0 {
		cfg.MaxLifetime = defaultLease
	}
	addrs := []netip.Addr{cfg.Addr}
	if cfg.Addr6.IsValid() {
		addrs = append(addrs, cfg.Addr6)
	}
	if cfg.UPnP > 0 {
		addrs = append(addrs, groupSSDP) // nobody else inside listens there
	}
	g := &gateway{Gateway: cfg, router: r, since: r.net.now()}
	g.host = r.net.NewHost(r.name+" gateway", r.inside.segment, Link{}, addrs...)
	r.net.mu.Lock()
	r.gateway = g
	r.net.mu.Unlock()
	if cfg.NATPMP || cfg.PCP {
		g.serve(g.listen(netip.AddrPortFrom(cfg.Addr, portMapping)), nil, g.answerMapping)
	}
	if cfg.PCP && cfg.Addr6.IsValid() {
		g.serve(g.listen(netip.AddrPortFrom(cfg.Addr6, portMapping)), nil, g.answerMapping)
	}
	if cfg.UPnP > 0 {
		g.serveUPnP()
	}
}

// serve answers datagrams to an address until the network closes. The answers come from
// the socket out; nil is the one that they came to. An answer of nil is none.
func (g *gateway) serve(in, out *Conn, answer func(from netip.AddrPort, b []byte) []byte) {
	if out == nil {
		out = in
	}
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := in.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if reply := answer(from, b[:n]); reply != nil {
				_, _ = out.WriteToUDPAddrPort(reply, from)
			}
		}
	}()
}

func (g *gateway) listen(at netip.AddrPort) *Conn {
	c, err := g.host.ListenUDP(at)
	if err != nil {
		panic(err) // the host is new, so its ports are free
	}
	return c
}

// restart begins the epoch anew, d from now.
func (g *gateway) restart(d time.Duration) {
	g.router.net.mu.Lock()
	defer g.router.net.mu.Unlock()
	g.restartLocked(d)
}

func (g *gateway) restartLocked(d time.Duration) {
	since := g.router.net.now() + int64(d)
	g.router.net.later(func() { g.since = since })
}

// epoch is how long the router has known what it knows, in seconds.
func (g *gateway) epoch(at int64) uint32 { return uint32(max(0, at-g.since) / int64(time.Second)) }

// atRouter runs f where packets are moved, so that what it does to the router comes
// before the packets written from now on. The network's mutex is held in f. It reports
// false when the network closes.
func (g *gateway) atRouter(f func(at int64)) bool {
	n, done := g.router.net, make(chan struct{})
	n.mu.Lock()
	n.later(func() {
		f(n.now())
		close(done)
	})
	n.mu.Unlock()
	select {
	case <-done:
		return true
	case <-n.done:
		return false
	}
}

// external returns the outside address that the gateway tells, if it has one.
func (g *gateway) external(inside netip.Addr) netip.Addr {
	if g.Hostile.External.IsValid() {
		return g.Hostile.External
	}
	return g.router.outsideOf(inside)
}

// forward makes a forwarding that lives for seconds at most, and returns the outside
// address and for how many seconds it really lives.
func (g *gateway) forward(at int64, tcp bool, port uint16, any bool, f forward, seconds uint32) (netip.AddrPort, uint32, error) {
	seconds = min(seconds, uint32(g.MaxLifetime/time.Second))
	if g.Hostile.NoMapping {
		return netip.AddrPortFrom(g.external(f.inside.Addr()), port), seconds, nil
	}
	f.until = at + int64(seconds)*int64(time.Second)
	out, err := g.router.forwardPort(at, tcp, port, any, f)
	if err == nil && g.Hostile.External.IsValid() {
		out = netip.AddrPortFrom(g.Hostile.External, out.Port())
	}
	return out, seconds, err
}

// Gateway returns the inside address of the router that a host is behind, and the host's
// own address there, as its routing table has them. It reports false when the host has no
// such router, or that router has no address ([Gateway]).
func (h *Host) Gateway() (router, local netip.Addr, ok bool) {
	return h.gateway(func(g Gateway) netip.Addr { return g.Addr })
}

// Gateway6 is Gateway for IPv6.
func (h *Host) Gateway6() (router, local netip.Addr, ok bool) {
	return h.gateway(func(g Gateway) netip.Addr { return g.Addr6 })
}

func (h *Host) gateway(addr func(Gateway) netip.Addr) (router, local netip.Addr, ok bool) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.segment.router == nil || h.segment.router.gateway == nil {
		return router, local, false
	}
	router = addr(h.segment.router.gateway.Gateway)
	if !router.IsValid() {
		return router, local, false
	}
	local = source(h.addrs, netip.IPv6Unspecified(), router)
	return router, local, local.IsValid()
}
