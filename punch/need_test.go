package punch

import "testing"

func TestNeed(t *testing.T) {
	nat := func(mapping, filtering Behaviour) NAT {
		return NAT{Mapping: Belief[Behaviour]{mapping, 0.9}, Filtering: Belief[Behaviour]{filtering, 0.9}}
	}
	strict, moving := nat(EndpointIndependent, AddressAndPortDependent), nat(AddressAndPortDependent, AddressAndPortDependent)
	easy, stepping, block := nat(EndpointIndependent, AddressDependent), moving, moving
	stepping.Step = Belief[int]{2, 0.9}
	block.Block = Belief[PortRange]{PortRange{1024, 2047}, 0.9}
	for _, c := range []struct {
		name string
		a, b NAT
		want Need
	}{
		{"nothing known", NAT{}, NAT{}, NeedsNothing},
		{"strict, strict", strict, strict, NeedsNothing},
		{"easy, moving", easy, moving, NeedsNothing},
		{"open, moving", NAT{Mapping: Belief[Behaviour]{NoTranslation, 0.9}}, moving, NeedsNothing},
		{"strict, moving", strict, moving, NeedsPrediction},
		{"moving, stepping", moving, stepping, NeedsPrediction},
		{"moving, block", moving, block, NeedsPrediction},
		{"moving, moving", moving, moving, NeedsRelay},
	} {
		if got := need(c.a, c.b); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if got := need(c.b, c.a); got != c.want {
			t.Errorf("%s, turned round: %q, want %q", c.name, got, c.want)
		}
	}
}
