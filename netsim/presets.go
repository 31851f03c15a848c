package netsim

import "time"

// Presets are NATs by the names they are popularly known by.
//
//   - "cgnat" is that of a carrier, whose customers have a router of their own:
//     make two routers, one inside the other. RFC 6888 asks carriers for mappings
//     that do not depend on the destination; one that ignores it is "symmetric".
//     "cgnat-block" gives each customer a block of 512 ports.
//   - "linux" is masquerading by a router on which a rule drops what nobody asked
//     for, as home routers are sold. Without such a rule it is "linux-no-drop",
//     where a packet that comes too early takes the port. "linux-random" is
//     masquerading with the option random.
//   - "udp-blocked" lets only TCP through, "udp-blocked-443" only TCP to port 443.
var Presets = map[string]NAT{
	"open":               {Transparent: true, Unsolicited: true},
	"firewall":           {Transparent: true, Filtering: AddressAndPortDependent},
	"full-cone":          {},
	"full-cone-hairpin":  {Hairpin: HairpinExternal},
	"address-restricted": {Filtering: AddressDependent},
	"port-restricted":    {Filtering: AddressAndPortDependent},
	"symmetric":          {Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Ports: RandomPorts},
	"symmetric-step":     {Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Ports: SequentialPorts},
	"cgnat":              {Filtering: AddressAndPortDependent, Ports: RandomPorts},
	"cgnat-block":        {Filtering: AddressAndPortDependent, Ports: BlockPorts},
	"linux":              linux(PreservePorts, false),
	"linux-no-drop":      linux(PreservePorts, true),
	"linux-random":       linux(RandomPorts, false),
	"udp-blocked":        {BlockUDP: true, Filtering: AddressAndPortDependent},
	"udp-blocked-443":    {BlockUDP: true, Filtering: AddressAndPortDependent, TCPPorts: []uint16{443}},
}

// linux is netfilter's masquerading with its default times.
func linux(ports PortAllocation, takesUnsolicited bool) NAT {
	return NAT{
		Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Ports: ports,
		Overload: true, TakesUnsolicited: takesUnsolicited, Refresh: RefreshBoth,
		Timeout: 2 * time.Minute, Unanswered: 30 * time.Second,
	}
}
