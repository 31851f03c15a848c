package netsim

import (
	"fmt"
	"net/netip"
	"time"
)

// Behaviour is how much of the other end's address a NAT looks at, for its
// mapping (RFC 4787, section 4.1) or its filtering (section 5).
type Behaviour uint8

// The behaviours.
const (
	EndpointIndependent Behaviour = iota
	AddressDependent
	AddressAndPortDependent
)

// String returns the behaviour's name in RFC 4787.
func (b Behaviour) String() string {
	switch b {
	case EndpointIndependent:
		return "endpoint-independent"
	case AddressDependent:
		return "address-dependent"
	case AddressAndPortDependent:
		return "address-and-port-dependent"
	}
	return fmt.Sprintf("Behaviour(%d)", uint8(b))
}

// cut reduces the address of the other end to what the behaviour looks at.
func (b Behaviour) cut(remote netip.AddrPort) netip.AddrPort {
	switch b {
	case EndpointIndependent:
		return netip.AddrPort{}
	case AddressDependent:
		return netip.AddrPortFrom(remote.Addr(), 0)
	}
	return remote
}

// PortAllocation is how a NAT chooses the outside port of a mapping (RFC 4787,
// section 4.2).
type PortAllocation uint8

// The ways to choose a port.
const (
	PreservePorts PortAllocation = iota // the inside port, or the next free one from 1024 on
	RandomPorts                         // any free port from 1024 on
)

// String returns the way's name.
func (a PortAllocation) String() string {
	switch a {
	case PreservePorts:
		return "preserve"
	case RandomPorts:
		return "random"
	}
	return fmt.Sprintf("PortAllocation(%d)", uint8(a))
}

// A NAT says what a router does to addresses, and whom it lets in. The zero
// value is a full cone.
type NAT struct {
	Mapping   Behaviour
	Filtering Behaviour
	Ports     PortAllocation

	// Timeout is how long an idle mapping lives, and how long somebody may
	// answer; 0 means 2 minutes, the least that RFC 4787 allows. Only packets
	// from inside refresh it (section 4.3).
	Timeout time.Duration

	// Hairpin lets packets from inside to an outside address of the NAT turn
	// round (section 6). They come from an outside address.
	Hairpin bool

	// Transparent leaves addresses as they are, as IPv6 addresses always are:
	// only Filtering applies, which makes a stateful firewall of the router.
	// Mapping and Ports mean nothing then.
	Transparent bool

	// Unsolicited lets in what nobody inside asked for, as long as its address
	// is one that needs no translation. With Transparent this makes a plain router.
	Unsolicited bool
}

const defaultMappingTimeout = 2 * time.Minute

func (n NAT) withDefaults() NAT {
	if n.Timeout == 0 {
		n.Timeout = defaultMappingTimeout
	}
	return n
}

// firewall is what the NAT does to packets that it does not translate.
func (n NAT) firewall() NAT {
	n.Mapping = EndpointIndependent
	return n
}
