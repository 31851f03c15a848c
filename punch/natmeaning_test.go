package punch

import (
	"strings"
	"testing"
)

func TestMeaning(t *testing.T) {
	for _, c := range []struct {
		mapping, filtering Behaviour
		step               float64
		want               string
	}{
		{Unknown, Unknown, 0, "Too little"},
		{NoTranslation, EndpointIndependent, 0, "Nothing is in the way"},
		{NoTranslation, Unknown, 0, "unless a firewall"},
		{NoTranslation, AddressAndPortDependent, 0, "most peers"},
		{EndpointIndependent, EndpointIndependent, 0, "Every peer"},
		{EndpointIndependent, AddressDependent, 0, "with every peer"},
		{EndpointIndependent, AddressAndPortDependent, 0, "most peers"},
		{EndpointIndependent, Unknown, 0, "most peers"},
		{AddressDependent, AddressAndPortDependent, 0, "a relay"},
		{AddressAndPortDependent, AddressAndPortDependent, 0.9, "can be guessed"},
	} {
		n := NAT{Mapping: Belief[Behaviour]{c.mapping, 0.9}, Filtering: Belief[Behaviour]{c.filtering, 0.9}, Step: Belief[int]{1, c.step}}
		if got := n.Meaning(); !strings.Contains(got, c.want) {
			t.Errorf("%v: %s", n, got)
		}
	}
}
