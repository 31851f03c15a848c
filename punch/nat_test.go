package punch

import (
	"net/netip"
	"testing"

	"github.com/2xppg/xppg/kcptransport"
)

func TestInferNAT(t *testing.T) {
	ap := netip.MustParseAddrPort
	host := netip.MustParseAddr("198.51.100.1")
	seen := func(pairs ...string) (out []sighting) {
		for i := 0; i < len(pairs); i += 2 {
			s := sighting{mapped: ap(pairs[i+1])}
			if pairs[i] != "peer" {
				s.by = ap(pairs[i])
			}
			out = append(out, s)
		}
		return out
	}
	for _, c := range []struct {
		name    string
		seen    []sighting
		mapping Behaviour
		ports   Ports
	}{
		{"nothing", nil, Unknown, PortsUnknown},
		{"one server", seen("192.0.2.1:1", "203.0.113.1:7000"), Unknown, PortsPreserved},
		{"two that agree", seen("192.0.2.1:1", "203.0.113.1:7000", "192.0.2.2:1", "203.0.113.1:7000"), EndpointIndependent, PortsPreserved},
		{"two that agree on another port", seen("192.0.2.1:1", "203.0.113.1:9", "peer", "203.0.113.1:9"), EndpointIndependent, PortsChanged},
		{"two that differ", seen("192.0.2.1:1", "203.0.113.1:9", "192.0.2.2:1", "203.0.113.1:10"), AddressAndPortDependent, PortsChanged},
		{"two ports of one server that differ", seen("192.0.2.1:1", "203.0.113.1:9", "192.0.2.1:2", "203.0.113.1:10"), AddressAndPortDependent, PortsChanged},
		{"two ports of one server agree, another server differs",
			seen("192.0.2.1:1", "203.0.113.1:9", "192.0.2.1:2", "203.0.113.1:9", "192.0.2.2:1", "203.0.113.1:10"), AddressDependent, PortsChanged},
		{"its own address", seen("192.0.2.1:1", "198.51.100.1:7000"), NoTranslation, PortsPreserved},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := inferNAT(c.seen, 7000, func(a netip.Addr) bool { return a == host })
			if got.Mapping.Is != c.mapping || got.Ports.Is != c.ports {
				t.Errorf("%v, want mapping %v and port %v", got, c.mapping, c.ports)
			}
			for _, sure := range []float64{got.Mapping.Confidence, got.Ports.Confidence} {
				if sure < 0 || sure >= 1 {
					t.Errorf("confidence %v of %v", sure, got)
				}
			}
		})
	}
}

func TestGuessNAT(t *testing.T) {
	for _, c := range []struct {
		candidates string
		mapping    Behaviour
		ports      Ports
	}{
		{"", Unknown, PortsUnknown},
		{"host 192.168.1.5:7000 srflx 203.0.113.9:7000", Unknown, PortsPreserved},
		{"host 192.168.1.5:7000 srflx 203.0.113.9:9 srflx 203.0.113.9:10", AddressAndPortDependent, PortsChanged},
		{"host 203.0.113.9:7000", NoTranslation, PortsUnknown},
		{"host [2001:db8::1]:7000", Unknown, PortsUnknown},
	} {
		var candidates []kcptransport.Candidate
		if c.candidates != "" {
			candidates = parseObservations(t, "remote "+c.candidates).Remote
		}
		if got := guessNAT(candidates); got.Mapping.Is != c.mapping || got.Ports.Is != c.ports {
			t.Errorf("%s: %v, want mapping %v and port %v", c.candidates, got, c.mapping, c.ports)
		}
	}
}
