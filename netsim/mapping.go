package netsim

import "net/netip"

const (
	firstNATPort = 1024
	lastNATPort  = 65535
	maxMappings  = 1 << 16 // of a table, and of those who may answer one mapping
	firstSweep   = 256     // entries from which on expired ones are looked for
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
	sweep   int                      // number of peers at which to look for expired ones
}

// table is the state of a NAT, or, without translation, of a firewall.
type table struct {
	NAT
	byKey     map[mappingKey]*mapping
	byOutside map[netip.AddrPort]*mapping
	burnt     map[netip.AddrPort]bool // outside addresses not to be used again after a rebinding
	sweep     int                     // number of mappings at which to look for expired ones
}

func newTable(n NAT) *table {
	return &table{
		NAT: n.withDefaults(), sweep: firstSweep,
		byKey: map[mappingKey]*mapping{}, byOutside: map[netip.AddrPort]*mapping{},
	}
}

// outbound returns the mapping for a packet from inside, making one when there
// is none; allocate chooses its outside address. It returns nil when there is
// no room.
func (t *table) outbound(at int64, inside, remote netip.AddrPort, allocate func() (netip.AddrPort, bool)) *mapping {
	key := mappingKey{inside, t.Mapping.cut(remote)}
	m := t.byKey[key]
	if m == nil || t.expired(at, m.sent) {
		if m != nil {
			t.remove(m)
		}
		if m = t.add(at, key, allocate); m == nil {
			return nil
		}
	}
	m.sent = at
	t.admit(at, m, t.Filtering.cut(remote))
	return m
}

func (t *table) add(at int64, key mappingKey, allocate func() (netip.AddrPort, bool)) *mapping {
	if len(t.byKey) >= t.sweep {
		for _, m := range t.byKey {
			if t.expired(at, m.sent) {
				t.remove(m)
			}
		}
		t.sweep = nextSweep(len(t.byKey))
	}
	if len(t.byKey) >= maxMappings {
		return nil
	}
	outside, ok := allocate()
	if !ok {
		return nil
	}
	m := &mapping{key: key, outside: outside, peers: map[netip.AddrPort]int64{}, sweep: firstSweep}
	t.byKey[key], t.byOutside[outside] = m, m
	return m
}

// nextSweep returns how many entries there may be until it pays to look for
// expired ones again, when so many are left.
func nextSweep(left int) int { return min(max(firstSweep, 2*left), maxMappings) }

// admit lets a peer answer.
func (t *table) admit(at int64, m *mapping, peer netip.AddrPort) {
	m.peers[peer] = at
	if len(m.peers) < m.sweep {
		return
	}
	for p, sent := range m.peers {
		if t.expired(at, sent) {
			delete(m.peers, p)
		}
	}
	m.sweep = nextSweep(len(m.peers))
	if len(m.peers) > maxMappings {
		delete(m.peers, peer)
	}
}

// inbound returns the mapping that lets a packet from outside in, or why none does.
func (t *table) inbound(at int64, outside, remote netip.AddrPort) (*mapping, DropReason) {
	m := t.byOutside[outside]
	if m == nil || t.expired(at, m.sent) {
		return nil, DropNoMapping
	}
	if sent, ok := m.peers[t.Filtering.cut(remote)]; !ok || t.expired(at, sent) {
		return nil, DropFiltered
	}
	return m, 0
}

func (t *table) expired(at, sent int64) bool { return at-sent > int64(t.Timeout) }

func (t *table) remove(m *mapping) {
	delete(t.byKey, m.key)
	delete(t.byOutside, m.outside)
}

// rebind forgets every mapping. The outside addresses in use are not given out
// again until the next rebinding when burn says so.
func (t *table) rebind(burn bool) {
	t.burnt = map[netip.AddrPort]bool{}
	if burn {
		for a := range t.byOutside {
			t.burnt[a] = true
		}
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

// choose picks a free port on an outside address for an inside port.
func (t *table) choose(at int64, addr netip.Addr, inside uint16, random func(n int) int) (netip.AddrPort, bool) {
	const ports = lastNATPort - firstNATPort + 1
	first := int(inside) - firstNATPort
	switch {
	case t.Ports == RandomPorts:
		first = random(ports)
	case first < 0: // a low port is kept, but not looked for
		if a := netip.AddrPortFrom(addr, inside); t.free(at, a) {
			return a, true
		}
		first = 0
	}
	for i := range ports {
		a := netip.AddrPortFrom(addr, uint16(firstNATPort+(first+i)%ports))
		if t.free(at, a) {
			return a, true
		}
	}
	return netip.AddrPort{}, false
}
