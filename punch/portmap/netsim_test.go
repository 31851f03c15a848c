package portmap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/internal/seeded"
	"github.com/2xppg/xppg/netsim"
)

// hostNetwork is a host of netsim as a Network.
type hostNetwork struct{ *netsim.Host }

func (h hostNetwork) Gateways() (all []Gateway, err error) {
	if router, local, ok := h.Gateway(); ok {
		all = append(all, Gateway{router, local})
	}
	if router, local, ok := h.Gateway6(); ok {
		all = append(all, Gateway{router, local})
	}
	if len(all) == 0 {
		err = errors.New("no default route")
	}
	return all, err
}

func (h hostNetwork) ListenPacket(_ context.Context, local netip.AddrPort) (net.PacketConn, error) {
	return h.ListenUDP(local)
}

// simulated is a host behind a router of netsim, which forwards ports for real, and a
// stranger outside who knocks.
type simulated struct {
	t        *testing.T
	router   *netsim.Router
	client   *Client
	stranger *netsim.Conn
}

// inSimulation runs a test with a client behind a router that lets nobody in otherwise.
func inSimulation(t *testing.T, cfg netsim.Gateway, f func(*simulated)) {
	t.Helper()
	cfg.Addr = gateway1
	simulate(t, cfg, []netip.Addr{ours}, (*simulated).knock, f)
}

// simulate runs a test with a client on a host with some addresses. knock is how the client has a mapping verified.
func simulate(t *testing.T, cfg netsim.Gateway, addrs []netip.Addr, knock func(*simulated, context.Context, netip.AddrPort) error, f func(*simulated)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := netsim.New(netsim.Config{Seed: 1})
		defer func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}()
		segment := n.NewSegment("home")
		s := &simulated{t: t, router: n.NewRouter("router", netsim.RouterConfig{
			Outside: n.Internet(), OutsideAddrs: []netip.Addr{wan}, Inside: segment, NAT: netsim.Presets["linux-random"], Gateway: cfg,
		})}
		host := n.NewHost("us", segment, netsim.Link{Delay: time.Millisecond}, addrs...)
		sock, err := host.ListenUDP(netip.AddrPortFrom(netip.IPv6Unspecified(), ourPort)) // which is open to IPv4 as well
		if err != nil {
			t.Fatal(err)
		}
		go echo(sock)
		outside := n.NewHost("stranger", n.Internet(), netsim.Link{Delay: 10 * time.Millisecond}, netip.MustParseAddr("2600:0:0:99::9"), netip.MustParseAddr("20.0.113.99"))
		if s.stranger, err = outside.ListenUDP(netip.AddrPort{}); err != nil {
			t.Fatal(err)
		}
		verify := func(ctx context.Context, at netip.AddrPort) error { return knock(s, ctx, at) }
		s.client = New(Options{Port: ourPort, Network: hostNetwork{host}, Rand: seeded.New([32]byte{1}), Verify: verify})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { s.client.Run(ctx); close(ended) }()
		f(s)
		cancel()
		<-ended
		if left := s.router.Forwards(); len(left) != 0 {
			t.Errorf("left behind: %+v", left)
		}
	})
}

func echo(c *netsim.Conn) {
	b := make([]byte, 100)
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		_, _ = c.WriteToUDPAddrPort(b[:n], from)
	}
}

func (s *simulated) knock(_ context.Context, at netip.AddrPort) error {
	if _, err := s.stranger.WriteToUDPAddrPort([]byte("knock"), at); err != nil {
		return err
	}
	_ = s.stranger.SetReadDeadline(time.Now().Add(time.Second))
	_, from, err := s.stranger.ReadFromUDPAddrPort(make([]byte, 100))
	if err == nil && from != at {
		return fmt.Errorf("answered from %v", from)
	}
	return err
}

// Two implementations that know nothing of each other: each protocol makes a router
// reachable that lets nobody in.
func TestRoutersOfNetsim(t *testing.T) {
	for _, tt := range []struct {
		name    string
		gateway netsim.Gateway
	}{
		{"NAT-PMP", netsim.Gateway{NATPMP: true}},
		{"PCP", netsim.Gateway{PCP: true}},
		{"IGD 1", netsim.Gateway{UPnP: 1}},
		{"IGD 1, permanent", netsim.Gateway{UPnP: 1, PermanentOnly: true}},
		{"IGD 2", netsim.Gateway{UPnP: 2}},
		{"all", netsim.Gateway{NATPMP: true, PCP: true, UPnP: 2}},
		{"short", netsim.Gateway{NATPMP: true, PCP: true, UPnP: 2, MaxLifetime: 2 * time.Minute}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inSimulation(t, tt.gateway, func(s *simulated) {
				s.wantBelieved("at the beginning", 10*time.Second)
				time.Sleep(5 * time.Hour)
				s.wantBelieved("hours later", time.Second)
				s.router.Reboot(20 * time.Second)
				time.Sleep(20 * time.Second)
				s.wantBelieved("after a reboot", time.Minute)
				s.router.Rebind()
				s.wantBelieved("after the router forgot without a word", time.Minute)
			})
		})
	}
}

// wantBelieved waits for a mapping by which a stranger really gets in.
func (s *simulated) wantBelieved(when string, within time.Duration) {
	s.t.Helper()
	start := time.Now()
	for {
		m := s.client.Mapping()
		if m.State == Believed && s.knock(s.t.Context(), m.External) == nil {
			return
		}
		if time.Since(start) > within {
			s.t.Fatalf("%s: %+v after %v; %+v; %v", when, m, time.Since(start), s.router.Forwards(), s.client.Status().Attempts)
		}
		time.Sleep(time.Second)
	}
}

// Routers that lie are not believed, and cost nothing but the try.
func TestHostileRoutersOfNetsim(t *testing.T) {
	for _, tt := range []struct {
		name    string
		gateway netsim.Gateway
	}{
		{"wrong nonce", netsim.Gateway{PCP: true, Hostile: netsim.Hostile{WrongNonce: true}}},
		{"no NAT-PMP mapping", netsim.Gateway{NATPMP: true, Hostile: netsim.Hostile{NoMapping: true}}},
		{"no PCP mapping", netsim.Gateway{PCP: true, Hostile: netsim.Hostile{NoMapping: true}}},
		{"no UPnP mapping", netsim.Gateway{UPnP: 2, Hostile: netsim.Hostile{NoMapping: true}}},
		{"another address", netsim.Gateway{NATPMP: true, PCP: true, UPnP: 2, Hostile: netsim.Hostile{External: netip.MustParseAddr("20.0.113.8")}}},
		{"endless XML", netsim.Gateway{UPnP: 1, Hostile: netsim.Hostile{EndlessXML: true}}},
		{"redirect", netsim.Gateway{UPnP: 1, Hostile: netsim.Hostile{Redirect: "http://20.0.113.99/"}}},
		{"location elsewhere", netsim.Gateway{UPnP: 1, Hostile: netsim.Hostile{Location: "http://20.0.113.99/rootDesc.xml"}}},
		{"control elsewhere", netsim.Gateway{UPnP: 1, Hostile: netsim.Hostile{ControlURL: "http://20.0.113.99/ctl"}}},
		{"refuses", netsim.Gateway{NATPMP: true, PCP: true, UPnP: 2, Refuses: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inSimulation(t, tt.gateway, func(s *simulated) {
				for range 10 {
					time.Sleep(30 * time.Second)
					if m := s.client.Mapping(); m.State == Believed {
						s.t.Fatalf("believed: %+v", m)
					}
				}
			})
		})
	}
}
