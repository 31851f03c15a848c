package punch

import (
	"testing"

	"github.com/2xppg/xppg/kcptransport"
)

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

func TestNATText(t *testing.T) {
	n := NAT{
		Mapping: Belief[Behaviour]{AddressAndPortDependent, 0.9}, Ports: Belief[Ports]{PortsChanged, 0.7},
		Step: Belief[int]{-2, 0.9}, Block: Belief[PortRange]{PortRange{1024, 2047}, 0.99}, Addresses: Belief[int]{2, 0.7},
		Lifetime: Belief[Lifetime]{Lifetime{Min: 30_000_000_000}, 0.9}, Hairpin: Belief[bool]{true, 0.99},
	}
	const want = "mapping address-and-port-dependent (90 % sure), filtering unknown, port changed (70 % sure), step -2 (90 % sure), " +
		"ports 1024-2047 (99 % sure), public addresses 2 (70 % sure), lifetime more than 30s (90 % sure), hairpin true (99 % sure)"
	if got := n.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
