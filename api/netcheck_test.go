package api

import (
	"net/netip"
	"testing"
	"time"

	"github.com/2xppg/xppg/internal/stuntest"
	"github.com/2xppg/xppg/netsim"
	"github.com/2xppg/xppg/punch"
	"github.com/2xppg/xppg/stunclient"
)

// surveyed starts a node behind a NAT that asks a server with two addresses.
func (w *world) surveyed(nat netsim.NAT) *node {
	ip := netip.MustParseAddr
	server := stuntest.Server{Addrs: [2]netip.Addr{ip("20.0.3.1"), ip("20.0.3.2")}, Ports: [2]uint16{3478, 3479}}
	wait, err := stuntest.Serve(&server, w.net.NewHost("stun", w.net.Internet(), w.link, server.Addrs[:]...).ListenUDP)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { w.net.Close(); wait() })
	home := w.net.NewSegment("home")
	w.net.NewRouter("home", netsim.RouterConfig{Outside: w.net.Internet(), OutsideAddrs: []netip.Addr{ip("20.0.1.99")}, Inside: home, NAT: nat})
	h := w.net.NewHost("home", home, w.link, ip("192.168.99.2"))
	w.places++
	return w.start(h, []func(*Config){noMesh, func(c *Config) {
		c.STUN = []string{server.At(0, 0).String(), server.At(1, 0).String()}
		c.SpareSocket = func() (stunclient.Socket, error) { return h.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 0)) }
	}})
}

// A node whose port changes with the destination finds out how by itself, and tells its peers.
func TestNodeSurveysHardNAT(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.surveyed(netsim.Presets["symmetric"])
		w.eventually("a survey", 6*time.Second, func() bool { return n.gather.NAT().Filtering.Confidence > 0 })
		nat := n.gather.NAT()
		if nat.Mapping.Is != punch.AddressAndPortDependent || nat.Filtering.Is != punch.AddressAndPortDependent || nat.Ports.Is != punch.PortsChanged {
			t.Errorf("%v", nat)
		}
		p := w.public(noMesh)
		n.join(p.addr)
		w.eventually("the peer knows", time.Second, func() bool {
			link := p.ep.Link(n.ID())
			return link != nil && punch.ParseNAT(link.RemoteHint()).Filtering.Is == punch.AddressAndPortDependent
		})
	})
}

// One whose NAT is easy leaves the spare sockets alone until it is asked.
func TestNetCheckOfEasyNAT(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.surveyed(netsim.NAT{Filtering: netsim.AddressDependent, Timeout: 30 * time.Second})
		time.Sleep(10 * time.Second)
		if nat := n.gather.NAT(); nat.Mapping.Is != punch.EndpointIndependent || nat.Filtering.Confidence != 0 {
			t.Errorf("before: %v", nat)
		}
		r, err := n.NetCheck(w.ctx(10*time.Minute), NetCheckOptions{Lifetime: &stunclient.LifetimeLimits{}})
		if err != nil || len(r.Errors) != 0 || len(r.Answered) != 2 || len(r.Public) != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		life := r.NAT.Lifetime.Is
		if r.NAT.Filtering.Is != punch.AddressDependent || r.NAT.Ports.Is != punch.PortsPreserved || r.NAT.Hairpin.Is ||
			life.Min.Duration() > 30*time.Second || life.Max.Duration() < 30*time.Second || life.Max.Duration() > 34*time.Second {
			t.Errorf("%v", r.NAT)
		}
	})
}

// Where UDP is blocked that is told: by a peer that TCP leads to, and without one by STUN servers that answer by TCP.
func TestNetCheckTellsThatUDPIsBlocked(t *testing.T) {
	for name, c := range map[string]struct {
		preset     string
		join, stun bool
		want       UDPState
	}{
		"a peer by TCP":      {"udp-blocked", true, false, UDPBlocked},
		"a server by TCP":    {"udp-blocked", false, true, UDPBlocked},
		"nobody to ask":      {"udp-blocked", false, false, UDPUnknown},
		"a peer by UDP":      {"symmetric", true, false, UDPWorks},
		"a server by UDP":    {"symmetric", false, true, UDPWorks},
		"all of it by UDP":   {"symmetric", true, true, UDPWorks},
		"both by TCP alone":  {"udp-blocked", true, true, UDPBlocked},
		"nobody, in an open": {"symmetric", false, false, UDPUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				relay := w.public(relays, listens)
				n := w.behind(netsim.Presets[c.preset], noMesh, func(cfg *Config) {
					if cfg.STUN = []string{}; c.stun {
						cfg.STUN = []string{relay.addr}
					}
				})
				if c.join {
					n.join(relay.Ticket().String())
				}
				r, err := n.NetCheck(w.ctx(time.Minute), NetCheckOptions{})
				if err != nil || r.UDP != c.want {
					t.Errorf("%v, want %v: %+v, %v", r.UDP, c.want, r, err)
				}
			})
		})
	}
}
