package netsim

// Presets are NATs by the names they are popularly known by. "cgnat" is that of
// a carrier, whose customers have a router of their own: make two routers, one
// inside the other. RFC 6888 asks carriers for mappings that do not depend on
// the destination; one that ignores it is "symmetric".
var Presets = map[string]NAT{
	"open":               {Transparent: true, Unsolicited: true},
	"firewall":           {Transparent: true, Filtering: AddressAndPortDependent},
	"full-cone":          {},
	"address-restricted": {Filtering: AddressDependent},
	"port-restricted":    {Filtering: AddressAndPortDependent},
	"symmetric":          {Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Ports: RandomPorts},
	"cgnat":              {Filtering: AddressAndPortDependent, Ports: RandomPorts},
}
