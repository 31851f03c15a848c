package punch

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/stunclient"
)

const (
	// MaxCandidates is the largest number of candidates that a Gatherer tells.
	MaxCandidates = 16

	maxHost      = 10 // candidates, so that the addresses seen from outside always have room
	maxPerIP     = 3  // server-reflexive candidates: a mapping that moves shows many ports, none of which helps
	maxSightings = 32
)

// GathererConfig says what a [Gatherer] starts from.
type GathererConfig struct {
	// Local is the address of the socket. An unspecified IP address stands for all addresses of the host.
	Local netip.AddrPort

	// Addrs lists the host's addresses. It is called for every Candidates. Default [InterfaceAddrs].
	Addrs func() []netip.Addr

	// Loopback keeps loopback addresses among the candidates, for peers on the same host.
	Loopback bool
}

// Gatherer collects the addresses at which one socket might be reached (RFC 8445 section 5.1.1), and what they tell of
// the NAT in front of it. Its methods may be called from any goroutine.
type Gatherer struct {
	cfg GathererConfig

	mu    sync.Mutex
	seen  []sightingBy // the newest last, one for each source
	found Findings

	mapped []netip.AddrPort
}

// sightingBy is a sighting and who told it: a STUN server, known by its address, or a peer.
type sightingBy struct {
	sighting
	peer kcptransport.PeerID // zero for a server
}

func (s sightingBy) byPeer() bool { return s.peer != kcptransport.PeerID{} }

// NewGatherer returns a gatherer for one socket.
func NewGatherer(cfg GathererConfig) *Gatherer {
	if cfg.Addrs == nil {
		cfg.Addrs = InterfaceAddrs
	}
	if ip := cfg.Local.Addr(); ip.IsValid() && !ip.IsUnspecified() {
		cfg.Addrs = func() []netip.Addr { return []netip.Addr{ip} }
		cfg.Loopback = cfg.Loopback || ip.IsLoopback()
	}
	return &Gatherer{cfg: cfg}
}

// Reflexive takes in that a STUN server saw the socket at an address.
func (g *Gatherer) Reflexive(server, mapped netip.AddrPort) {
	g.see(sightingBy{sighting: sighting{by: unmap(server), mapped: unmap(mapped)}})
}

// Observe takes in that a peer sees the socket at an address: kcptransport.Link.ObservedAddr. The peer is reached at an
// address itself, which is invalid when the way there is not direct: peers and servers at one address are one witness.
func (g *Gatherer) Observe(peer kcptransport.PeerID, at, mapped netip.AddrPort) {
	g.see(sightingBy{sighting: sighting{by: unmap(at), mapped: unmap(mapped)}, peer: peer})
}

// Forget drops what a peer saw.
func (g *Gatherer) Forget(peer kcptransport.PeerID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = slices.DeleteFunc(g.seen, func(s sightingBy) bool { return s.byPeer() && s.peer == peer })
}

// Reset drops everything that servers and peers saw, because the network has changed.
func (g *Gatherer) Reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen, g.found, g.mapped = nil, Findings{}, nil
}

func (g *Gatherer) see(s sightingBy) {
	if !(kcptransport.Candidate{Addr: s.mapped}).Usable() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = slices.DeleteFunc(g.seen, func(o sightingBy) bool {
		return o.peer == s.peer && (o.byPeer() || o.by == s.by) && o.mapped.Addr().Is4() == s.mapped.Addr().Is4()
	})
	g.seen = append(g.seen, s)
	if len(g.seen) > maxSightings { // what peers say goes first: many of them can be one attacker
		i := max(0, slices.IndexFunc(g.seen, func(o sightingBy) bool { return o.byPeer() }))
		g.seen = slices.Delete(g.seen, i, i+1)
	}
}

func (g *Gatherer) sightings() []sightingBy {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.seen)
}

// Seen reports whether a server or a peer saw us at an address lately.
func (g *Gatherer) Seen(addr netip.AddrPort) bool {
	return slices.ContainsFunc(g.sightings(), func(s sightingBy) bool { return s.mapped == addr })
}

// Candidates returns what is known now, the best first, at most [MaxCandidates]. It may serve as
// kcptransport.Config.Candidates.
func (g *Gatherer) Candidates() []kcptransport.Candidate {
	hosts := usefulAddrs(g.cfg.Addrs(), g.cfg.Loopback)
	hosts = hosts[:min(len(hosts), maxHost)]
	var out []kcptransport.Candidate
	for n, ip := range hosts {
		out = append(out, candidate(kcptransport.Host, n, netip.AddrPortFrom(ip, g.cfg.Local.Port())))
	}
	out = append(out, g.mappedCandidates()...)
	for n, addr := range reflexive(g.sightings()) {
		c := candidate(kcptransport.ServerReflexive, n, addr)
		// RFC 8445 section 5.1.3: of candidates with the same address the one of lower priority is redundant.
		// Unlike there a port of the same host address is kept: somebody saw it.
		if len(out) < MaxCandidates && !slices.ContainsFunc(out, func(o kcptransport.Candidate) bool { return o.Addr == c.Addr }) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, kcptransport.Candidate.Compare)
	return out
}

// candidate makes the n-th best candidate of a type.
func candidate(t kcptransport.CandidateType, n int, addr netip.AddrPort) kcptransport.Candidate {
	return kcptransport.Candidate{Addr: addr, Type: t, Priority: kcptransport.CandidatePriority(t, uint16(65535-n))}
}

// reflexive orders the addresses seen from outside: those that most have seen first, then the newest.
func reflexive(seen []sightingBy) []netip.AddrPort {
	type seenAddr struct {
		addr         netip.AddrPort
		count, index int
	}
	var all []seenAddr
	for n, s := range seen {
		i := slices.IndexFunc(all, func(a seenAddr) bool { return a.addr == s.mapped })
		if i < 0 {
			i, all = len(all), append(all, seenAddr{addr: s.mapped})
		}
		all[i].count++
		all[i].index = n
	}
	slices.SortFunc(all, func(a, b seenAddr) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(b.index, a.index))
	})
	var out []netip.AddrPort
	perIP := map[netip.Addr]int{}
	for _, a := range all {
		if perIP[a.addr.Addr()]++; perIP[a.addr.Addr()] <= maxPerIP {
			out = append(out, a.addr)
		}
	}
	return out
}

// NAT returns what can be told of the NAT for IPv4 from what servers and peers saw, and from what was found by tests on
// spare sockets ([Gatherer.Found]), without which filtering stays unknown.
func (g *Gatherer) NAT() NAT {
	var seen []sighting
	for _, s := range g.sightings() {
		if s.mapped.Addr().Is4() {
			s.local, s.who = g.cfg.Local.Port(), witness{addr: s.by.Addr()}
			if !s.by.IsValid() {
				s.who.peer = s.peer
			}
			seen = append(seen, s.sighting)
		}
	}
	g.mu.Lock()
	found := g.found
	g.mu.Unlock()
	hosts := g.cfg.Addrs()
	return inferNAT(seen, found, func(a netip.Addr) bool { return slices.Contains(hosts, a) })
}

// Found takes in what tests on spare sockets told. What they did not test stays as it was; f must not be changed
// afterwards.
func (g *Gatherer) Found(f Findings) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(f.Behaviours) > 0 {
		g.found.Behaviours = f.Behaviours
	}
	if len(f.Samples) > 0 {
		g.found.Samples = f.Samples
	}
	if len(f.Hairpin) > 0 {
		g.found.Hairpin = f.Hairpin
	}
	if f.Lifetime != (stunclient.Lifetime{}) {
		g.found.Lifetime = f.Lifetime
	}
}

// unmap leaves an invalid address as it is.
func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
