package netsim

import (
	"net/netip"
	"time"
)

// Behaviour is how much of the other end's address a NAT looks at, for its
// mapping or its filtering (RFC 4787, sections 4.1 and 5).
type Behaviour uint8

// The behaviours.
const (
	EndpointIndependent Behaviour = iota
	AddressDependent
	AddressAndPortDependent
)

// PortAllocation is how a NAT chooses the outside port of a mapping (RFC 4787,
// section 4.2).
type PortAllocation uint8

// The ways to choose a port.
const (
	PreservePorts PortAllocation = iota // the inside port, or the next free one
	RandomPorts                         // any free port
)

// A NAT says what a router does to addresses. Only outbound packets refresh a
// mapping.
type NAT struct {
	Mapping   Behaviour
	Filtering Behaviour
	Ports     PortAllocation
	Timeout   time.Duration // of an idle mapping; 0 means 2 minutes, the least that RFC 4787 allows
	Hairpin   bool          // packets from inside to an outside address of the NAT turn round
}

// Presets are NATs by the names they are popularly known by.
var Presets = map[string]NAT{
	"full-cone":          {},
	"address-restricted": {Filtering: AddressDependent},
	"port-restricted":    {Filtering: AddressAndPortDependent},
	"symmetric":          {Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent, Ports: RandomPorts},
}

const (
	defaultMappingTimeout = 2 * time.Minute
	firstNATPort          = 1024
	lastNATPort           = 65535
	maxMappings           = 1 << 16
)

// mappingKey says which outbound packets share a mapping: remote is cut down
// to what the mapping behaviour looks at.
type mappingKey struct {
	inside, remote netip.AddrPort
}

// A mapping is an outside address that stands for an inside one.
type mapping struct {
	key     mappingKey
	outside netip.AddrPort
	sent    int64                    // when the last packet went out
	peers   map[netip.AddrPort]int64 // who may answer, and when we last sent there
}

// table is the state of a NAT, or, without translation, of a firewall.
type table struct {
	NAT
	byKey     map[mappingKey]*mapping
	byOutside map[netip.AddrPort]*mapping
	burnt     map[netip.AddrPort]bool // outside addresses not to be used again after a rebinding
}

func newTable(n NAT) *table {
	if n.Timeout == 0 {
		n.Timeout = defaultMappingTimeout
	}
	return &table{NAT: n, byKey: map[mappingKey]*mapping{}, byOutside: map[netip.AddrPort]*mapping{}}
}

// cut reduces the address of the other end to what a behaviour looks at.
func cut(b Behaviour, remote netip.AddrPort) netip.AddrPort {
	switch b {
	case EndpointIndependent:
		return netip.AddrPort{}
	case AddressDependent:
		return netip.AddrPortFrom(remote.Addr(), 0)
	default:
		return remote
	}
}

// outbound returns the mapping for a packet from inside, making one when there
// is none; allocate chooses its outside address.
func (t *table) outbound(at int64, inside, remote netip.AddrPort, allocate func() (netip.AddrPort, bool)) *mapping {
	key := mappingKey{inside, cut(t.Mapping, remote)}
	m := t.byKey[key]
	if m != nil && t.expired(at, m.sent) {
		t.remove(m)
		m = nil
	}
	if m == nil {
		if len(t.byKey) >= maxMappings {
			t.sweep(at)
		}
		outside, ok := allocate()
		if !ok || len(t.byKey) >= maxMappings {
			return nil
		}
		m = &mapping{key: key, outside: outside, peers: map[netip.AddrPort]int64{}}
		t.byKey[key], t.byOutside[outside] = m, m
	}
	m.sent = at
	m.peers[cut(t.Filtering, remote)] = at
	if len(m.peers) > maxMappings {
		t.sweepPeers(at, m)
	}
	return m
}

// inbound returns the mapping that lets a packet from outside in, or why none does.
func (t *table) inbound(at int64, outside, remote netip.AddrPort) (*mapping, DropReason) {
	m := t.byOutside[outside]
	if m != nil && t.expired(at, m.sent) {
		t.remove(m)
		m = nil
	}
	if m == nil {
		return nil, DropNoMapping
	}
	if sent, ok := m.peers[cut(t.Filtering, remote)]; !ok || t.expired(at, sent) {
		return nil, DropFiltered
	}
	return m, 0
}

func (t *table) expired(at, sent int64) bool { return at-sent > int64(t.Timeout) }

func (t *table) remove(m *mapping) {
	delete(t.byKey, m.key)
	delete(t.byOutside, m.outside)
}

func (t *table) sweep(at int64) {
	for _, m := range t.byKey {
		if t.expired(at, m.sent) {
			t.remove(m)
		}
	}
}

func (t *table) sweepPeers(at int64, m *mapping) {
	for p, sent := range m.peers {
		if t.expired(at, sent) {
			delete(m.peers, p)
		}
	}
}

// rebind forgets every mapping; the outside addresses in use are not given
// out again until the next rebinding.
func (t *table) rebind() {
	t.burnt = map[netip.AddrPort]bool{}
	for a := range t.byOutside {
		t.burnt[a] = true
	}
	clear(t.byKey)
	clear(t.byOutside)
}

// free reports whether an outside address may be given out.
func (t *table) free(at int64, a netip.AddrPort) bool {
	m := t.byOutside[a]
	if m != nil && t.expired(at, m.sent) {
		t.remove(m)
		m = nil
	}
	return m == nil && !t.burnt[a]
}

// choose picks a free port on an outside address.
func (t *table) choose(at int64, addr netip.Addr, inside uint16, random func(n int) int) (netip.AddrPort, bool) {
	const ports = lastNATPort - firstNATPort + 1
	first := int(inside) - firstNATPort
	if t.Ports == RandomPorts || first < 0 {
		first = random(ports)
	}
	for i := range ports {
		a := netip.AddrPortFrom(addr, uint16(firstNATPort+(first+i)%ports))
		if t.free(at, a) {
			return a, true
		}
	}
	return netip.AddrPort{}, false
}
