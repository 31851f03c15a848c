package punch

import (
	"net/netip"
	"testing"
	"time"

	"github.com/2xppg/xppg/stunclient"
)

func TestInferFiltering(t *testing.T) {
	const ei, ad, apd = stunclient.EndpointIndependent, stunclient.AddressDependent, stunclient.AddressAndPortDependent
	for _, c := range []struct {
		name  string
		tests []stunclient.Behaviour
		want  Behaviour
		sure  bool
	}{
		{"nobody asked", nil, Unknown, false},
		{"unknown", []stunclient.Behaviour{{}}, Unknown, false},
		{"nonsense", []stunclient.Behaviour{{Filtering: 77}}, Unknown, false},
		{"silence that may be the server's", []stunclient.Behaviour{{Filtering: apd}}, AddressAndPortDependent, false},
		{"silence that is the NAT's", []stunclient.Behaviour{{Filtering: apd, Verified: true}}, AddressAndPortDependent, true},
		{"two are silent", []stunclient.Behaviour{{Filtering: apd}, {Filtering: apd}}, AddressAndPortDependent, true},
		{"one gets through", []stunclient.Behaviour{{Filtering: apd}, {Filtering: ei, Verified: true}, {Filtering: ad}}, EndpointIndependent, true},
		{"one gets further", []stunclient.Behaviour{{Filtering: ad, Verified: true}, {Filtering: apd, Verified: true}}, AddressDependent, true},
	} {
		if got := inferFiltering(c.tests); got.Is != c.want || (got.Confidence > 0.8) != c.sure {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// What a gatherer tells after tests on spare sockets, until the network changes.
func TestGathererFound(t *testing.T) {
	ap := netip.MustParseAddrPort
	g := NewGatherer(GathererConfig{Local: ap("0.0.0.0:7000"), Addrs: hostAddrs("192.168.1.5")})
	g.Reflexive(ap("192.0.2.1:3478"), ap("203.0.113.9:1000"))
	server := stunclient.Behaviour{
		Server: ap("192.0.2.1:3478"), Other: ap("192.0.2.2:3479"), Local: 7001,
		Filtering: stunclient.AddressAndPortDependent,
		Sightings: []stunclient.Result{
			{Server: ap("192.0.2.1:3478"), Mapped: ap("203.0.113.9:1004")},
			{Server: ap("192.0.2.2:3478"), Mapped: ap("203.0.113.9:1008")},
			{Server: ap("192.0.2.2:3479"), Mapped: ap("203.0.113.9:1012")},
		},
	}
	f := Findings{Behaviours: []stunclient.Behaviour{server}, Hairpin: []bool{false}}
	for i := range 8 {
		f.Samples = append(f.Samples, stunclient.Sample{
			Local: uint16(50000 + i), Server: ap("192.0.2.1:3478"), Mapped: netip.AddrPortFrom(netip.MustParseAddr("203.0.113.9"), uint16(1016+4*i)),
		})
	}
	g.Found(f)
	g.Found(Findings{Lifetime: stunclient.Lifetime{Min: 30 * time.Second}})
	n := g.NAT()
	if n.Mapping.Is != AddressAndPortDependent || n.Filtering.Is != AddressAndPortDependent || n.Ports.Is != PortsChanged ||
		n.Step.Is != 4 || n.Block.Confidence != 0 || n.Addresses.Is != 1 || n.Lifetime.Is.Min.Duration() != 30*time.Second ||
		n.Hairpin.Is || n.Hairpin.Confidence != 0.3 {
		t.Errorf("%v", n)
	}
	// The server alone says so, and says so with both of its addresses.
	g.Reflexive(ap("192.0.2.2:3479"), ap("203.0.113.9:1100"))
	g.Reflexive(ap("198.51.100.1:3478"), ap("203.0.113.9:7"))
	g.Reflexive(ap("198.51.100.2:3478"), ap("203.0.113.9:7"))
	g.Reflexive(ap("198.51.100.3:3478"), ap("203.0.113.9:7"))
	if n := g.NAT(); n.Mapping.Is != EndpointIndependent {
		t.Errorf("three against one: %v", n)
	}
	g.Reset()
	if n := g.NAT(); n != (NAT{}) {
		t.Errorf("on another network: %v", n)
	}
}

// A peer in our own network sees no NAT, and hides none.
func TestPeerNextToUs(t *testing.T) {
	seen := sightings("192.0.2.1:1 203.0.113.1:9, 192.0.2.2:1 203.0.113.1:9, a 192.168.1.5:7000, b 192.168.1.5:7000, c 192.168.1.5:7000")
	host := func(a netip.Addr) bool { return a == netip.MustParseAddr("192.168.1.5") }
	if n := inferNAT(seen, Findings{}, host); n.Mapping.Is != EndpointIndependent || n.Ports.Is != PortsChanged {
		t.Errorf("%v", n)
	}
}
