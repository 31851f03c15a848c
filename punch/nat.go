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

// Ports says whether a NAT keeps the port of the host (RFC 4787 section 4.2.1).
type Ports uint8

// What a NAT does with ports. PortsUnknown is the zero value.
const (
	PortsUnknown   Ports = 0
	PortsPreserved Ports = 1
	PortsChanged   Ports = 2
)

// String returns "preserved", "changed" or "unknown".
func (p Ports) String() string {
	switch p {
	case PortsPreserved:
		return "preserved"
	case PortsChanged:
		return "changed"
	}
	return "unknown"
}

// MarshalText implements encoding.TextMarshaler.
func (p Ports) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Belief is something taken to be so, and how sure that is: 0 is a guess, 1 is certain.
type Belief[T any] struct {
	Is         T       `json:"is"`
	Confidence float64 `json:"confidence"`
}

// NAT is what is known of the NATs between a peer and the internet. The zero value means nothing. It orders what is
// tried and never forbids anything.
type NAT struct {
	Mapping   Belief[Behaviour] `json:"mapping"`
	Filtering Belief[Behaviour] `json:"filtering"`
	Ports     Belief[Ports]     `json:"ports"`
}

// moves reports whether the port outside is rather expected to differ from one destination to the next.
func (n NAT) moves() bool {
	return n.Mapping.Is >= AddressDependent && n.Mapping.Confidence >= 0.5
}

// String describes the NAT in one line.
func (n NAT) String() string {
	belief := func(is fmt.Stringer, confidence float64) string {
		if confidence == 0 {
			return "unknown"
		}
		return fmt.Sprintf("%s (%.0f %% sure)", is, 100*confidence)
	}
	return fmt.Sprintf("mapping %s, filtering %s, port %s",
		belief(n.Mapping.Is, n.Mapping.Confidence), belief(n.Filtering.Is, n.Filtering.Confidence), belief(n.Ports.Is, n.Ports.Confidence))
}

// sighting is one answer to the question "from which address did my packet come?".
type sighting struct {
	by     netip.AddrPort // who saw it; invalid for a peer whose address does not matter
	mapped netip.AddrPort
}

// inferNAT draws what can be drawn from sightings of one socket, all of one address family, without asking for more.
// host reports whether an address is one of the host's own.
func inferNAT(seen []sighting, localPort uint16, host func(netip.Addr) bool) (n NAT) {
	if len(seen) == 0 {
		return n
	}
	agree, preserved := 0, 0
	for _, s := range seen {
		if s.mapped == seen[0].mapped {
			agree++
		}
		if s.mapped.Port() == localPort {
			preserved++
		}
	}
	n.Ports = Belief[Ports]{PortsChanged, sure(len(seen) - preserved)}
	if preserved == len(seen) {
		n.Ports = Belief[Ports]{PortsPreserved, sure(preserved)}
	}
	switch {
	case agree < len(seen):
		n.Mapping = dependence(seen)
	case host(seen[0].mapped.Addr()) && preserved == len(seen):
		n.Mapping = Belief[Behaviour]{NoTranslation, sure(agree + 1)}
	case agree > 1: // one sighting compares with nothing
		n.Mapping = Belief[Behaviour]{EndpointIndependent, sure(agree - 1)}
	}
	return n
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
	case slices.ContainsFunc(hosts, func(h netip.AddrPort) bool { return !private(h.Addr()) }):
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

// dependence tells the two kinds of dependent mapping apart, which takes two ports of one server.
func dependence(seen []sighting) Belief[Behaviour] {
	for i, a := range seen {
		for _, b := range seen[:i] {
			if a.by.IsValid() && a.by.Addr() == b.by.Addr() && a.by.Port() != b.by.Port() {
				if a.mapped == b.mapped {
					return Belief[Behaviour]{AddressDependent, 0.9}
				}
				return Belief[Behaviour]{AddressAndPortDependent, 0.95}
			}
		}
	}
	return Belief[Behaviour]{AddressAndPortDependent, 0.6} // by far the more frequent one
}

// sure is the confidence that n independent sightings give: 0, 0.7, 0.91, 0.97 ...
func sure(n int) float64 { return 1 - math.Pow(0.3, float64(max(n, 0))) }
