package netsim

import "net/netip"

const (
	maxMappings = 1 << 16 // of a table, and of those who may answer one mapping
	firstSweep  = 256     // entries from which on expired ones are looked for
)

// mappingKey says which outbound packets share a mapping: remote is cut down
// to what the mapping behaviour looks at.
type mappingKey struct {
	inside, remote netip.AddrPort
}

// A mapping is an outside address that stands for an inside one.
type mapping struct {
	key      mappingKey
	claim    claim
	used     int64                    // when a packet last refreshed it
	answered bool                     // something came in
	router   bool                     // the router itself has it: see NAT.TakesUnsolicited
	peers    map[netip.AddrPort]int64 // who may answer, and when we last sent there
	sweep    int                      // number of peers at which to look for expired ones
}

// A claim is what a mapping has for itself alone: its outside address, or with
// NAT.Overload only that towards one destination.
type claim struct {
	outside, remote netip.AddrPort
}

// claim returns what a mapping for an outside address and a destination has.
func (t *table) claim(outside, remote netip.AddrPort) claim {
	if !t.Overload {
		remote = netip.AddrPort{}
	}
	return claim{outside, remote}
}

// table is the state of a NAT, or, without translation, of a firewall.
type table struct {
	NAT
	byKey   map[mappingKey]*mapping
	byClaim map[claim]*mapping
	burnt   map[netip.AddrPort]bool // outside addresses not to be used again after a rebinding
	ports   allocation
	forwards
	sweep int // number of mappings at which to look for expired ones
}

func newTable(n NAT) *table {
	return &table{
		NAT: n.withDefaults(), sweep: firstSweep, ports: newAllocation(), forwards: newForwards(),
		byKey: map[mappingKey]*mapping{}, byClaim: map[claim]*mapping{},
	}
}

// outbound returns the mapping for a packet from inside, making one when there
// is none; allocate chooses its outside address. It returns nil when there is
// no room.
func (t *table) outbound(at int64, inside, remote netip.AddrPort, allocate func() (netip.AddrPort, bool)) *mapping {
	key := mappingKey{inside, t.Mapping.cut(remote)}
	m := t.byKey[key]
	if m == nil || t.over(at, m) {
		if m != nil {
			t.remove(m)
		}
		if m = t.add(at, key, remote, allocate); m == nil {
			return nil
		}
	}
	if t.Refresh != RefreshInbound {
		m.used = at
	}
	t.admit(at, m, t.Filtering.cut(remote))
	return m
}

func (t *table) add(at int64, key mappingKey, remote netip.AddrPort, allocate func() (netip.AddrPort, bool)) *mapping {
	if len(t.byKey) >= t.sweep {
		for _, m := range t.byKey {
			if t.over(at, m) {
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
	m := &mapping{key: key, claim: t.claim(outside, remote), used: at, peers: map[netip.AddrPort]int64{}, sweep: firstSweep}
	t.byKey[key], t.byClaim[m.claim] = m, m
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
	m := t.byClaim[t.claim(outside, remote)]
	if m == nil || t.over(at, m) {
		t.takeUnsolicited(at, outside, remote)
		return nil, DropNoMapping
	}
	if m.router {
		m.used = at
		return nil, DropNoMapping
	}
	peer := t.Filtering.cut(remote)
	if sent, ok := m.peers[peer]; !ok || t.expired(at, sent) {
		return nil, DropFiltered
	}
	m.answered = true
	if t.Refresh != RefreshOutbound {
		m.used, m.peers[peer] = at, at
	}
	return m, 0
}

// takeUnsolicited gives the router itself what a packet from outside was for.
func (t *table) takeUnsolicited(at int64, outside, remote netip.AddrPort) {
	if !t.TakesUnsolicited {
		return
	}
	key := mappingKey{outside, remote}
	if old := t.byKey[key]; old != nil {
		t.remove(old)
	}
	if m := t.add(at, key, remote, func() (netip.AddrPort, bool) { return outside, t.free(at, outside, remote) }); m != nil {
		m.router = true
	}
}

func (t *table) expired(at, since int64) bool { return at-since > int64(t.Timeout) }

// over reports whether a mapping's time is over.
func (t *table) over(at int64, m *mapping) bool {
	life := t.Timeout
	switch {
	case m.router:
		life = unsolicitedTimeout
	case !m.answered:
		life = t.Unanswered
	}
	return at-m.used > int64(life)
}

func (t *table) remove(m *mapping) {
	delete(t.byKey, m.key)
	delete(t.byClaim, m.claim)
}

// rebind forgets every mapping. The outside addresses in use are not given out
// again until the next rebinding when burn says so, unless ports are overloaded:
// who gives out one port many times has nothing to avoid.
func (t *table) rebind(burn bool) {
	t.burnt = map[netip.AddrPort]bool{}
	if burn && !t.Overload {
		for c := range t.byClaim {
			t.burnt[c.outside] = true
		}
	}
	clear(t.byKey)
	clear(t.byClaim)
	t.forwards = newForwards()
}

// free reports whether an outside address may be given out towards a destination.
func (t *table) free(at int64, outside, remote netip.AddrPort) bool {
	m := t.byClaim[t.claim(outside, remote)]
	if m != nil && t.over(at, m) {
		t.remove(m)
		m = nil
	}
	return m == nil && !t.burnt[outside] && (t.Overload || t.rule(at, outside) == nil)
}
