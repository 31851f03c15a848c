package stunclient

import (
	"net/netip"
	"slices"
)

// Dependence says how much of the other end's address a NAT looks at: for the port and address that it gives a socket
// (mapping, RFC 4787 section 4.1), or for what it lets in (filtering, section 5).
type Dependence uint8

// What can be told by comparing the answers of servers. Unknown is the zero value.
const (
	Unknown                 Dependence = iota // too few answers
	EndpointIndependent                       // servers at different addresses see the same: a peer will see it, too
	AddressDependent                          // two ports of a server see the same, servers at different addresses don't
	AddressAndPortDependent                   // two ports of a server see different ones
	EndpointDependent                         // one of the two above: no server was asked at two ports
)

// String returns the RFC's term in lower case.
func (m Dependence) String() string {
	switch m {
	case EndpointIndependent:
		return "endpoint-independent"
	case AddressDependent:
		return "address-dependent"
	case AddressAndPortDependent:
		return "address-and-port-dependent"
	case EndpointDependent:
		return "endpoint-dependent"
	}
	return "unknown"
}

// MarshalText implements [encoding.TextMarshaler].
func (m Dependence) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// Family is what is known of a socket for servers of one address family. It describes the moment of asking, and says
// what is worth trying, never what is impossible.
type Family struct {
	Mapped        []netip.AddrPort // the addresses that servers saw, each once, the one most often seen first
	Mapping       Dependence       // how they depend on who is asked
	PortPreserved bool             // all have the port of Client.Local
	Servers       int              // different server addresses that answered: what the rest is built on
}

// classify compares results, family by family. The family is that of the server: behind NAT64 an IPv6 socket is seen
// from an IPv4 address.
func classify(results []Result, localPort uint16) (v4, v6 Family) {
	var of4, of6 []Result
	for _, r := range results {
		if r.Server.Addr().Is4() {
			of4 = append(of4, r)
		} else {
			of6 = append(of6, r)
		}
	}
	return family(of4, localPort), family(of6, localPort)
}

func family(results []Result, localPort uint16) Family {
	f := Family{PortPreserved: len(results) > 0}
	seen := make(map[netip.AddrPort]int)
	servers := make(map[netip.Addr]bool)
	for _, r := range results {
		if seen[r.Mapped]++; seen[r.Mapped] == 1 {
			f.Mapped = append(f.Mapped, r.Mapped)
		}
		servers[r.Server.Addr()] = true
		f.PortPreserved = f.PortPreserved && r.Mapped.Port() == localPort
	}
	slices.SortStableFunc(f.Mapped, func(a, b netip.AddrPort) int { return seen[b] - seen[a] })
	f.Servers = len(servers)
	f.Mapping = mapping(results, f.Servers)
	return f
}

// mapping compares every two results that came from different addresses or different ports of one.
func mapping(results []Result, servers int) Dependence {
	samePort, differs := false, false // two ports of one server saw the same; two servers saw different addresses
	for i, a := range results {
		for _, b := range results[:i] {
			sameServer, sameMapped := a.Server.Addr() == b.Server.Addr(), a.Mapped == b.Mapped
			switch {
			case sameServer && !sameMapped:
				return AddressAndPortDependent
			case sameServer:
				samePort = true
			case !sameMapped:
				differs = true
			}
		}
	}
	switch {
	case differs && samePort:
		return AddressDependent
	case differs:
		return EndpointDependent
	case servers > 1:
		return EndpointIndependent
	}
	return Unknown
}
