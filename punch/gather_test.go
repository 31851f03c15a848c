package punch

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/2xppg/xppg/kcptransport"
)

func hostAddrs(list ...string) func() []netip.Addr {
	var out []netip.Addr
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return func() []netip.Addr { return slices.Clone(out) }
}

func wantCandidates(t *testing.T, g *Gatherer, want string) {
	t.Helper()
	if got := listCandidates(told(g.Candidates())); got != want {
		t.Errorf("candidates\n%s, want\n%s", got, want)
	}
}

func TestHostCandidates(t *testing.T) {
	all := hostAddrs("127.0.0.1", "192.168.1.5", "::1", "fe80::1%eth0", "2001:db8::5", "169.254.3.3", "fd00::5", "::ffff:10.0.0.1", "192.168.1.5")
	for _, c := range []struct {
		name string
		cfg  GathererConfig
		want string
	}{
		{"all interfaces", GathererConfig{Local: netip.MustParseAddrPort("[::]:7000")},
			"host [2001:db8::5]:7000, host 10.0.0.1:7000, host 192.168.1.5:7000, host [fd00::5]:7000"},
		{"loopback when asked", GathererConfig{Local: netip.MustParseAddrPort("0.0.0.0:7000"), Loopback: true},
			"host [2001:db8::5]:7000, host 10.0.0.1:7000, host 192.168.1.5:7000, host [fd00::5]:7000, host 127.0.0.1:7000, host [::1]:7000"},
		{"a socket of one address", GathererConfig{Local: netip.MustParseAddrPort("192.168.1.5:7000")}, "host 192.168.1.5:7000"},
		{"a socket on loopback", GathererConfig{Local: netip.MustParseAddrPort("127.0.0.1:7000")}, "host 127.0.0.1:7000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Addrs = all
			wantCandidates(t, NewGatherer(c.cfg), c.want)
		})
	}
}

func TestReflexiveCandidates(t *testing.T) {
	ap := netip.MustParseAddrPort
	g := NewGatherer(GathererConfig{Local: ap("0.0.0.0:7000"), Addrs: hostAddrs("192.168.1.5")})
	g.Observe(alice, netip.AddrPort{}, ap("203.0.113.9:1111"))
	g.Reflexive(ap("192.0.2.1:3478"), ap("203.0.113.9:7000"))
	g.Reflexive(ap("192.0.2.2:3478"), ap("[::ffff:203.0.113.9]:7000"))
	g.Observe(bob, netip.AddrPort{}, ap("192.168.1.5:7000")) // a peer on the same network sees nothing new
	wantCandidates(t, g, "host 192.168.1.5:7000, srflx 203.0.113.9:7000, srflx 203.0.113.9:1111")
	if n := g.NAT(); n.Mapping.Is != EndpointIndependent || n.Mapping.Confidence > 0.7 { // alice is alone with what she saw
		t.Errorf("NAT: %v", n)
	}
	g.Forget(alice)
	g.Forget(bob)
	wantCandidates(t, g, "host 192.168.1.5:7000, srflx 203.0.113.9:7000")
	if n := g.NAT(); n.Mapping.Is != EndpointIndependent || n.Ports.Is != PortsPreserved {
		t.Errorf("NAT: %v", n)
	}
	g.Reflexive(ap("192.0.2.1:3478"), ap("203.0.113.10:7000")) // another address now
	wantCandidates(t, g, "host 192.168.1.5:7000, srflx 203.0.113.10:7000, srflx 203.0.113.9:7000")
	g.Reset()
	wantCandidates(t, g, "host 192.168.1.5:7000")
	for _, nonsense := range []string{"0.0.0.0:7", "224.0.0.1:7", "203.0.113.9:0", "[::]:1"} {
		g.Reflexive(ap("192.0.2.1:3478"), ap(nonsense))
	}
	g.Observe(alice, netip.AddrPort{}, netip.AddrPort{})
	wantCandidates(t, g, "host 192.168.1.5:7000")
}

// A mapping that depends on the destination shows many ports; they must not crowd out what helps.
func TestReflexiveCandidatesAreFew(t *testing.T) {
	g := NewGatherer(GathererConfig{Local: netip.MustParseAddrPort("0.0.0.0:7000"), Addrs: hostAddrs("192.168.1.5")})
	for n := range 100 {
		g.Reflexive(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), 3478), netip.MustParseAddrPort(fmt.Sprintf("203.0.113.9:%d", 1000+n)))
	}
	g.Reflexive(netip.MustParseAddrPort("[2001:db8::1]:3478"), netip.MustParseAddrPort("[2001:db8::5]:7000"))
	wantCandidates(t, g, "host 192.168.1.5:7000, srflx [2001:db8::5]:7000, srflx 203.0.113.9:1099, srflx 203.0.113.9:1098, srflx 203.0.113.9:1097")
}

// Peers that lie cannot push out what STUN servers said.
func TestPeersDoNotPushServersOut(t *testing.T) {
	g := NewGatherer(GathererConfig{Local: netip.MustParseAddrPort("0.0.0.0:7000"), Addrs: hostAddrs()})
	g.Reflexive(netip.MustParseAddrPort("192.0.2.1:3478"), netip.MustParseAddrPort("203.0.113.9:7000"))
	for n := range 200 {
		g.Observe(kcptransport.PeerID{byte(n), 1}, netip.AddrPort{}, netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(n), 1}), 1))
	}
	if got := listCandidates(told(g.Candidates())); !strings.Contains(got, "203.0.113.9:7000") && len(g.Candidates()) < MaxCandidates {
		t.Errorf("candidates %s", got)
	}
	if !slices.ContainsFunc(g.sightings(), func(s sightingBy) bool { return s.by.IsValid() }) {
		t.Error("what the server said is forgotten")
	}
}

func TestCandidatesAreBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		addrs := rapid.SliceOfN(genAddr, 0, 40).Draw(t, "host addresses")
		g := NewGatherer(GathererConfig{
			Local: netip.AddrPortFrom(netip.IPv6Unspecified(), 7000),
			Addrs: func() (out []netip.Addr) {
				for _, a := range addrs {
					out = append(out, a.Addr())
				}
				return out
			},
			Loopback: rapid.Bool().Draw(t, "loopback"),
		})
		for _, s := range rapid.SliceOfN(genAddr, 0, 60).Draw(t, "seen") {
			g.Reflexive(genAddr.Draw(t, "by"), s)
		}
		all := g.Candidates()
		seen := map[netip.AddrPort]bool{}
		for i, c := range all {
			if !c.Usable() || seen[c.Addr] || i > 0 && c.Priority >= all[i-1].Priority {
				t.Fatalf("candidate %d of %v", i, all)
			}
			seen[c.Addr] = true
		}
		if len(all) > MaxCandidates {
			t.Fatalf("%d candidates", len(all))
		}
	})
}

func TestInterfaceAddrs(t *testing.T) {
	for _, a := range InterfaceAddrs() {
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsLinkLocalUnicast() {
			t.Errorf("address %v", a)
		}
	}
}

// A peer that is a STUN server as well is one witness: what it sees twice does not outweigh another server, which would
// make a NAT that moves look like one that does not.
func TestPeerThatIsAServerIsOneWitness(t *testing.T) {
	ap := netip.MustParseAddrPort
	g := NewGatherer(GathererConfig{Local: ap("0.0.0.0:7000"), Addrs: hostAddrs("192.168.1.5")})
	g.Reflexive(ap("192.0.2.1:7337"), ap("203.0.113.9:1111"))
	g.Reflexive(ap("192.0.2.2:7337"), ap("203.0.113.9:2222"))
	g.Observe(alice, ap("[::ffff:192.0.2.1]:7337"), ap("203.0.113.9:1111"))
	if n := g.NAT(); !n.moves() {
		t.Errorf("NAT: %v", n)
	}
	g.Observe(alice, ap("192.0.2.7:7337"), ap("203.0.113.9:1111")) // it moved: only the latest counts
	if n := len(g.sightings()); n != 3 {
		t.Errorf("%d sightings", n)
	}
}
