package netsim

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
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

// Refresh says which packets keep a mapping alive (RFC 4787, section 4.3).
type Refresh uint8

// The directions.
const (
	RefreshOutbound Refresh = iota // those from inside, the only ones that may not be left out
	RefreshInbound                 // those that are let in: the RFC forbids to have only these, and some do
	RefreshBoth
)

// Hairpin says what becomes of packets from inside to an outside address of the
// same NAT (RFC 4787, section 6).
type Hairpin uint8

// The kinds of hairpinning.
const (
	HairpinOff      Hairpin = iota // they are dropped
	HairpinExternal                // they come from the sender's outside address, as they should
	HairpinInternal                // they come from the sender's inside address
)

// A NAT says what a router does to addresses, and whom it lets in. The zero
// value is a full cone.
type NAT struct {
	Mapping   Behaviour
	Filtering Behaviour
	Ports     PortAllocation

	Step  int // of SequentialPorts; 0 means 1
	Block int // ports in a block of BlockPorts; 0 means 512

	// Overload lets several inside addresses have one outside address at a time,
	// as long as they talk to different destinations ("port overloading", section
	// 4.2.1). Linux does so: it keeps the port of nearly everybody, and only who
	// goes to the same place from the same port as somebody else gets another one.
	// Mapping and Filtering have to be AddressAndPortDependent.
	Overload bool

	// TakesUnsolicited makes the router take a packet that no mapping lets in for
	// one to itself, as Linux does when no rule drops it: for 30 s after the last
	// such packet nobody inside can have that outside address towards its source.
	// So a probe that comes too early moves the mapping. Needs Overload.
	TakesUnsolicited bool

	// Timeout is how long an idle mapping lives, and how long somebody may
	// answer; 0 means 2 minutes, the least that RFC 4787 allows.
	Timeout time.Duration

	// Unanswered is how long a mapping lives through which nothing came in yet;
	// 0 means Timeout.
	Unanswered time.Duration

	Refresh Refresh
	Hairpin Hairpin

	// ArbitraryPooling chooses one of several outside addresses anew for each
	// mapping. Otherwise an inside address is always given the same one ("paired",
	// section 4.1).
	ArbitraryPooling bool

	// Transparent leaves addresses as they are, as IPv6 addresses always are:
	// only Filtering applies, which makes a stateful firewall of the router.
	// Mapping and Ports mean nothing then.
	Transparent bool

	// Unsolicited lets in what nobody inside asked for, as long as its address
	// is one that needs no translation. With Transparent this makes a plain router.
	Unsolicited bool

	// BlockUDP drops every datagram of either direction, as firewalls of companies do.
	// TCP passes.
	BlockUDP bool

	// TCPTimeout is how long the mapping of a stream lives that is idle; 0 means 2
	// hours and 4 minutes, the least that RFC 5382 allows (section 5, REQ-5). One
	// through which nothing came in yet lives for 4 minutes at most. Packets of both
	// directions keep it alive. Everything else is as with UDP, with ports of its own.
	TCPTimeout time.Duration

	// TCPPorts are the only ports outside to which streams may go, such as 443; none
	// means all.
	TCPPorts []uint16
}

const (
	defaultMappingTimeout = 2 * time.Minute
	defaultBlock          = 512
	defaultTCPTimeout     = 2*time.Hour + 4*time.Minute
	unansweredTCP         = 4 * time.Minute
	unsolicitedTimeout    = 30 * time.Second // of what TakesUnsolicited took: the default of Linux
)

func (n NAT) withDefaults() NAT {
	if n.Timeout == 0 {
		n.Timeout = defaultMappingTimeout
	}
	if n.Unanswered == 0 {
		n.Unanswered = n.Timeout
	}
	if n.Step == 0 {
		n.Step = 1
	}
	if n.Block == 0 {
		n.Block = defaultBlock
	}
	return n
}

// check returns an error when the fields contradict each other.
func (n NAT) check() error {
	switch strict := n.Mapping == AddressAndPortDependent && n.Filtering == AddressAndPortDependent; {
	case n.Overload && !strict:
		return errors.New("a NAT with Overload needs Mapping and Filtering that depend on address and port")
	case n.TakesUnsolicited && !n.Overload:
		return errors.New("a NAT with TakesUnsolicited needs Overload")
	case n.Step < 0 || n.Step > natPorts:
		return fmt.Errorf("a Step of %d is not 0 to %d", n.Step, natPorts)
	case n.Block < 0 || n.Block > natPorts:
		return fmt.Errorf("a Block of %d is not 0 to %d", n.Block, natPorts)
	}
	return nil
}

// forTCP is what the NAT does to streams.
func (n NAT) forTCP() NAT {
	if n.Timeout = n.TCPTimeout; n.Timeout == 0 {
		n.Timeout = defaultTCPTimeout
	}
	n.Unanswered = min(n.Timeout, unansweredTCP)
	n.Refresh, n.TakesUnsolicited = RefreshBoth, false
	return n
}

func (n NAT) blocksTCP(port uint16) bool {
	return len(n.TCPPorts) > 0 && !slices.Contains(n.TCPPorts, port)
}

// firewall is what the NAT does to packets that it does not translate.
func (n NAT) firewall() NAT {
	n.Mapping, n.Overload, n.TakesUnsolicited = EndpointIndependent, false, false
	return n
}
