package scenario

import (
	"slices"
	"strings"

	"github.com/2xppg/xppg/netsim"
)

// The kinds of places that are not named after one of netsim.Presets.
const (
	Open       = "open"              // on the internet itself
	CGNAT      = "cgnat"             // behind a port-restricted router at home, and the NAT of a carrier that gives random ports
	CGNATBlock = "cgnat-block"       // behind a Linux router at home, and a carrier that gives each customer a block of ports
	ByAddress  = "address-dependent" // behind a NAT whose mapping and filter look at the address of the destination

	// Behind two Linux routers, which both keep the port. AllKinds does not have these: nobody there can tell that
	// there is a second one, and what that costs has a bar of its own.
	TwoLinux       = "two-linux"
	TwoLinuxNoDrop = "two-linux-no-drop" // the outer one without a rule that drops what is unsolicited

	// Behind a firewall that lets only TCP through, or only TCP to port 443. AllKinds does not have these either: nothing
	// there goes without a relay.
	UDPBlocked    = "udp-blocked"
	UDPBlocked443 = "udp-blocked-443"
)

// Kinds returns the common kinds of places, from the one that is easiest to reach.
func Kinds() []string {
	return []string{
		Open, "full-cone", "address-restricted", "port-restricted", "linux", "linux-no-drop", CGNAT, "symmetric",
	}
}

// AllKinds returns the common kinds and those that differ in what can be told about them.
func AllKinds() []string {
	return append(Kinds(), CGNATBlock, ByAddress, "symmetric-step", "linux-random")
}

// nats returns the NATs of a kind of place, from the inside out.
func nats(kind string) []netsim.NAT {
	switch kind {
	case Open:
		return nil
	case CGNAT:
		return []netsim.NAT{netsim.Presets["port-restricted"], netsim.Presets["cgnat"]}
	case CGNATBlock:
		return []netsim.NAT{netsim.Presets["linux"], netsim.Presets["cgnat-block"]}
	case TwoLinux, TwoLinuxNoDrop:
		return []netsim.NAT{netsim.Presets["linux"], netsim.Presets[strings.TrimPrefix(kind, "two-")]}
	case ByAddress:
		return []netsim.NAT{{Mapping: netsim.AddressDependent, Filtering: netsim.AddressDependent, Ports: netsim.RandomPorts}}
	}
	return []netsim.NAT{netsim.Presets[kind]}
}

// behaviour returns how the NATs of a kind of place behave together: as the strictest of them. One that keeps ports
// whatever the destination maps as if it did not look at the destination.
func behaviour(kind string) (mapping, filtering netsim.Behaviour) {
	for _, n := range nats(kind) {
		if !n.Overload || n.Ports != netsim.PreservePorts {
			mapping = max(mapping, n.Mapping)
		}
		filtering = max(filtering, n.Filtering)
	}
	return mapping, filtering
}

// Reachable reports whether hosts at two places can reach each other directly without guessing ports: when both have
// mappings that do not depend on the destination, or one has and its filter lets in who comes from another port (RFC
// 4787, sections 4.1 and 5).
func Reachable(a, b string) bool {
	blocked := func(n netsim.NAT) bool { return n.BlockUDP }
	if slices.ContainsFunc(nats(a), blocked) || slices.ContainsFunc(nats(b), blocked) {
		return false
	}
	mappingA, filterA := behaviour(a)
	mappingB, filterB := behaviour(b)
	switch {
	case mappingA == netsim.EndpointIndependent && mappingB == netsim.EndpointIndependent:
		return true
	case mappingA == netsim.EndpointIndependent:
		return filterA != netsim.AddressAndPortDependent
	case mappingB == netsim.EndpointIndependent:
		return filterB != netsim.AddressAndPortDependent
	}
	return false
}

// TakesEarly reports whether a probe that comes too early takes the port of a place (see netsim.NAT.TakesUnsolicited).
func TakesEarly(kind string) bool {
	return slices.ContainsFunc(nats(kind), func(n netsim.NAT) bool { return n.TakesUnsolicited })
}
