package punch

import (
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/2xppg/xppg/kcptransport"
)

// Behaviour says what a NAT's mapping or filtering depends on (RFC 4787 sections 4.1 and 5).
type Behaviour uint8

// The behaviours, from the one that is easiest to get through. Unknown is the zero value.
const (
	Unknown                 Behaviour = 0
	NoTranslation           Behaviour = 1 // of a mapping: the address outside is that of the host
	EndpointIndependent     Behaviour = 2
	AddressDependent        Behaviour = 3
	AddressAndPortDependent Behaviour = 4
)

// String returns the RFC's term in lower case.
func (b Behaviour) String() string {
	switch b {
	case NoTranslation:
		return "none"
	case EndpointIndependent:
		return "endpoint-independent"
	case AddressDependent:
		return "address-dependent"
	case AddressAndPortDependent:
		return "address-and-port-dependent"
	}
	return "unknown"
}

// MarshalText implements encoding.TextMarshaler.
func (b Behaviour) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// Ports says what a NAT does with the port of the host (RFC 4787 section 4.2).
type Ports uint8

// What a NAT does with ports. PortsUnknown is the zero value.
const (
	PortsUnknown    Ports = 0
	PortsPreserved  Ports = 1 // the port outside is that inside
	PortsChanged    Ports = 2
	PortsParityKept Ports = 3 // changed, but even ones stay even and odd ones odd
)

// String returns "preserved", "changed", "changed but for its parity" or "unknown".
func (p Ports) String() string {
	switch p {
	case PortsPreserved:
		return "preserved"
	case PortsChanged:
		return "changed"
	case PortsParityKept:
		return "changed but for its parity"
	}
	return "unknown"
}

// MarshalText implements encoding.TextMarshaler.
func (p Ports) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// PortRange is a range of ports, both ends included.
type PortRange struct {
	First uint16 `json:"first"`
	Last  uint16 `json:"last"`
}

// String returns "first-last".
func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// Lifetime bounds how long a NAT keeps a mapping that carries nothing. Max is 0 when no end was found.
type Lifetime struct {
	Min Millis `json:"min_ms"`
	Max Millis `json:"max_ms,omitempty"`
}

// String returns "30s-33s" or "more than 5m0s".
func (l Lifetime) String() string {
	if l.Max == 0 {
		return "more than " + l.Min.Duration().String()
	}
	return l.Min.Duration().String() + "-" + l.Max.Duration().String()
}

// Belief is something taken to be so, and how sure that is: 0 is a guess, 1 is certain.
type Belief[T any] struct {
	Is         T       `json:"is"`
	Confidence float64 `json:"confidence"`
}

// String returns what is believed and how much, or "unknown".
func (b Belief[T]) String() string {
	if b.Confidence == 0 {
		return "unknown"
	}
	return fmt.Sprintf("%v (%.0f %% sure)", b.Is, 100*b.Confidence)
}

// NAT is what is known of the NATs between a peer and the internet, for IPv4. The zero value means nothing. It orders
// what is tried and never forbids anything. Values can be compared.
type NAT struct {
	Mapping   Belief[Behaviour] `json:"mapping"`
	Filtering Belief[Behaviour] `json:"filtering"`
	Ports     Belief[Ports]     `json:"ports"`
	Step      Belief[int]       `json:"step"`      // from the port of one new mapping to that of the next; -32768 to 32767, not 0
	Block     Belief[PortRange] `json:"block"`     // where all ports of this customer come from
	Addresses Belief[int]       `json:"addresses"` // how many public addresses the NAT uses for us, at least
	Lifetime  Belief[Lifetime]  `json:"lifetime"`
	Hairpin   Belief[bool]      `json:"hairpin"` // packets from inside to an outside address turn round
}

// moves reports whether the port outside is rather expected to differ from one destination to the next.
func (n NAT) moves() bool {
	return n.Mapping.Is >= AddressDependent && n.Mapping.Confidence >= 0.5
}

// String describes the NAT in one line. What few know of theirs is left out when it is unknown.
func (n NAT) String() string {
	text := fmt.Sprintf("mapping %s, filtering %s, port %s", n.Mapping, n.Filtering, n.Ports)
	for _, more := range []struct {
		name   string
		belief fmt.Stringer
	}{
		{"step", n.Step}, {"ports", n.Block}, {"public addresses", n.Addresses}, {"lifetime", n.Lifetime}, {"hairpin", n.Hairpin},
	} {
		if told := more.belief.String(); told != "unknown" && (more.name != "public addresses" || n.Addresses.Is > 1) {
			text += ", " + more.name + " " + told
		}
	}
	return text
}

// guessNAT draws what the candidates of the other side tell of its NAT: it does not say which server saw what.
func guessNAT(candidates []kcptransport.Candidate) (n NAT) {
	var hosts, mapped []netip.AddrPort
	for _, c := range candidates {
		switch {
		case !c.Addr.Addr().Is4():
		case c.Type == kcptransport.Host:
			hosts = append(hosts, c.Addr)
		case c.Type == kcptransport.ServerReflexive:
			mapped = append(mapped, c.Addr)
		}
	}
	switch {
	case slices.ContainsFunc(hosts, func(h netip.AddrPort) bool { return !Private(h.Addr()) }):
		n.Mapping = Belief[Behaviour]{NoTranslation, 0.7}
	case len(mapped) > 1 && mapped[0].Addr() == mapped[1].Addr():
		n.Mapping = Belief[Behaviour]{AddressAndPortDependent, 0.6}
	}
	if len(mapped) > 0 && len(hosts) > 0 {
		n.Ports = Belief[Ports]{PortsChanged, 0.7}
		if mapped[0].Port() == hosts[0].Port() {
			n.Ports.Is = PortsPreserved
		}
	}
	return n
}

// maxSure is the greatest confidence there is: the model of what NATs do is not perfect.
const maxSure = 0.99

// sure is the confidence that n independent sightings give: 0, 0.7, 0.91, 0.97 ...
func sure(n int) float64 { return min(maxSure, 1-math.Pow(0.3, float64(max(n, 0)))) }
