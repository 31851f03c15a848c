package scenario

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/netsim"
)

// The addresses of the world. All sockets have the same port.
const port = 7337

var (
	introducerAddrs = []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8:f::1")}
	secondAddrs     = []netip.Addr{netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("2001:db8:f::2")}
)

// Place is a host and a socket on it.
type Place struct {
	Host   *netsim.Host
	Conn   *netsim.Conn
	Router *netsim.Router // the one that A's or B's own network is behind; nil at an open place

	settled bool
}

// Addrs returns the addresses of the host.
func (p Place) Addrs() []netip.Addr { return p.Host.Addrs() }

// socket returns the socket as it is for the node at this place.
func (p Place) socket() kcptransport.PacketConn {
	if p.settled {
		return p.Conn.Settled()
	}
	return p.Conn
}

// local returns the address of the socket.
func (p Place) local() netip.AddrPort { return netip.AddrPortFrom(netip.IPv6Unspecified(), port) }

// AddrPort returns where others reach an open place.
func (p Place) AddrPort() netip.AddrPort { return netip.AddrPortFrom(p.Addrs()[0], port) }

// World is a netsim network with two places of some kind, A and B, and two open ones: the introducer R, and S, so that
// there are two to answer STUN. Whoever builds it closes Net.
type World struct {
	Net        *netsim.Network
	A, B, R, S Place
}

// WorldConfig says what a [World] is like. The zero value of a field means its default.
type WorldConfig struct {
	A, B   string        // kinds of places; default "port-restricted"
	Seed   uint64        // decides what is lost, and ports
	RTT    time.Duration // between A and B. Default 60 ms. R and S are half-way.
	Loss   float64       // share of the packets between A and B that are lost, 0 to 1
	Rate   int64         // of the access of A and B, bits per second; 0: no limit
	IPv6   bool          // A and B have IPv6, behind firewalls that filter as their NATs do
	SameIP bool          // B is in the network of A; the kind of B does not matter

	Capture io.Writer // gets every packet at every interface, as pcapng; nil: nothing is captured

	// Wait, which is synctest.Wait, is for virtual time: with it the seed alone decides how a story goes, packet for
	// packet. See netsim.Config.
	Wait func()
}

func (c WorldConfig) withDefaults() (WorldConfig, error) {
	for _, kind := range []*string{&c.A, &c.B} {
		if *kind == "" {
			*kind = "port-restricted"
		}
		if !slices.Contains(append(AllKinds(), TwoLinux, TwoLinuxNoDrop, UDPBlocked, UDPBlocked443), *kind) {
			return c, fmt.Errorf("scenario: there is no kind of place %q (there are %v)", *kind, AllKinds())
		}
	}
	if c.RTT == 0 {
		c.RTT = 60 * time.Millisecond
	}
	return c, nil
}

// access is the link between one of A and B and the middle of the internet.
func (c WorldConfig) access() netsim.Link {
	return netsim.Link{Delay: c.RTT / 4, Loss: 1 - math.Sqrt(1-c.Loss), Rate: c.Rate, Hops: 2}
}

// NewWorld builds a world.
func NewWorld(cfg WorldConfig) (*World, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	w := &World{Net: netsim.New(netsim.Config{Seed: cfg.Seed, Wait: cfg.Wait})}
	w.R.Host = w.Net.NewHost("introducer", w.Net.Internet(), netsim.Link{}, introducerAddrs...)
	w.S.Host = w.Net.NewHost("second", w.Net.Internet(), netsim.Link{}, secondAddrs...)
	home := w.place(cfg, &w.A, "a", cfg.A, 1)
	switch {
	case !cfg.SameIP:
		w.place(cfg, &w.B, "b", cfg.B, 2)
	case home != nil:
		w.B = Place{Host: w.Net.NewHost("b", home, netsim.Link{}, inside(cfg, 1, 3)...), Router: w.A.Router}
	default:
		w.place(cfg, &w.B, "b", Open, 2)
	}
	if cfg.Capture != nil {
		w.Net.Capture(cfg.Capture)
	}
	for _, p := range []*Place{&w.A, &w.B, &w.R, &w.S} {
		p.settled = cfg.Wait != nil
		if p.Conn, err = p.Host.ListenUDP(p.local()); err != nil {
			return nil, errors.Join(fmt.Errorf("scenario: %w", err), w.Net.Close())
		}
	}
	return w, nil
}

// place builds the place number n, and returns the network inside if there is one.
func (w *World) place(cfg WorldConfig, p *Place, name, kind string, n byte) *netsim.Segment {
	public := netip.AddrFrom4([4]byte{198, 51, 100, n})
	outside, access := w.Net.Internet(), cfg.access()
	layers := nats(kind)
	if len(layers) == 0 {
		addrs := []netip.Addr{public}
		if cfg.IPv6 {
			addrs = append(addrs, inside(cfg, n, 2)[1])
		}
		p.Host = w.Net.NewHost(name, outside, access, addrs...)
		return nil
	}
	for depth := len(layers) - 1; depth >= 0; depth-- {
		home := w.Net.NewSegment(fmt.Sprintf("network %d of %s", depth, name))
		p.Router = w.Net.NewRouter(fmt.Sprintf("router %d of %s", depth, name), netsim.RouterConfig{
			Outside: outside, OutsideAddrs: []netip.Addr{public}, Inside: home, Link: access, NAT: layers[depth],
		})
		outside, access = home, netsim.Link{}
		public = netip.AddrFrom4([4]byte{100, 64, n, byte(10 + depth)}) // RFC 6598, of the next router
	}
	p.Host = w.Net.NewHost(name, outside, netsim.Link{}, inside(cfg, n, 2)...)
	return outside
}

// inside returns the addresses of host number h of place number n. All homes use the same private network, as they do.
func inside(cfg WorldConfig, n, h byte) []netip.Addr {
	addrs := []netip.Addr{netip.AddrFrom4([4]byte{192, 168, 1, 10*n + h})}
	if cfg.IPv6 {
		addrs = append(addrs, netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, n, 15: h}))
	}
	return addrs
}
