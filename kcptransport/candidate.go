package kcptransport

import (
	"cmp"
	"net/netip"
)

// CandidateType tells how a candidate address was learnt (RFC 8445 section 5.1.1). Its values are on the wire.
type CandidateType uint8

// The types of candidates.
const (
	Host            CandidateType = 1 // an address of one of the peer's own interfaces
	ServerReflexive CandidateType = 2 // what a STUN server saw
	PeerReflexive   CandidateType = 3 // where an authenticated packet of the peer came from
	PortMapped      CandidateType = 4 // what the router gave on request (UPnP IGD, NAT-PMP, PCP)
	Relayed         CandidateType = 5 // the address of a relay
)

// String returns the short name that ICE uses, "mapped" for PortMapped, "unknown" for a type of a later version.
func (t CandidateType) String() string {
	switch t {
	case Host:
		return "host"
	case ServerReflexive:
		return "srflx"
	case PeerReflexive:
		return "prflx"
	case PortMapped:
		return "mapped"
	case Relayed:
		return "relay"
	}
	return "unknown"
}

// preference is the type preference of RFC 8445 section 5.1.2.2, 0 to 126. PortMapped, which the RFC does not know,
// stands between peer-reflexive and server-reflexive: such a mapping outlives silence and lets anybody in.
func (t CandidateType) preference() uint32 {
	switch t {
	case Host:
		return 126
	case PeerReflexive:
		return 110
	case PortMapped:
		return 105
	case ServerReflexive:
		return 100
	}
	return 0
}

// Candidate is an address where a peer might be reached. It is comparable.
type Candidate struct {
	Addr     netip.AddrPort // unmapped, without zone
	Type     CandidateType
	Priority uint32 // higher is better; CandidatePriority computes it
}

// CandidatePriority returns the priority of a candidate of type t (RFC 8445 section 5.1.2.1, component 1).
// Of several addresses of one type the one with the higher local preference is better.
func CandidatePriority(t CandidateType, localPreference uint16) uint32 {
	return t.preference()<<24 | uint32(localPreference)<<8 | (256 - 1)
}

// Compare orders candidates with the best first, and equal priorities by address, so that sorting has one result.
func (c Candidate) Compare(other Candidate) int {
	return cmp.Or(cmp.Compare(other.Priority, c.Priority), c.Addr.Compare(other.Addr), cmp.Compare(c.Type, other.Type))
}

// Usable reports whether a packet can be sent to the candidate: a unicast address without zone, and a port. One that stands for a
// connection (see [Path.Carried]) means nothing, or another peer, to whoever is told of it.
func (c Candidate) Usable() bool { return usableAddr(c.Addr) && !carried(c.Addr.Addr()) }

// usableAddr is where a packet can be sent.
func usableAddr(a netip.AddrPort) bool {
	ip := a.Addr()
	return ip.IsValid() && !ip.Is4In6() && ip.Zone() == "" && a.Port() != 0 &&
		!ip.IsUnspecified() && !ip.IsMulticast() && ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
