package netsim

import (
	"net/netip"
	"slices"
)

// RouterConfig says where a router stands and what it does.
type RouterConfig struct {
	Outside      *Segment     // where it sends what is not for its inside
	OutsideAddrs []netip.Addr // IPv4 addresses to translate to; an inside host is always given the same one
	Inside       *Segment     // whose router it becomes
	Link         Link         // to the outside, both directions
	NAT          NAT          // for IPv4; IPv6 is not translated, but filtered in the same way
}

// A Router joins two segments and is the NAT of its inside.
type Router struct {
	net     *Network
	cfg     RouterConfig
	inside  *iface
	outside *iface
	nat     *table // IPv4
	wall    *table // IPv6: mappings whose outside address is the inside one
	homes   map[netip.Addr]netip.Addr
}

// NewRouter attaches a router. It panics when an address is in use or the
// inside has a router already, as that is a mistake in the test.
func (n *Network) NewRouter(name string, cfg RouterConfig) *Router {
	n.mu.Lock()
	defer n.mu.Unlock()
	if cfg.Inside.router != nil {
		panic("netsim: segment " + cfg.Inside.name + " has a router already")
	}
	r := &Router{net: n, cfg: cfg, nat: newTable(cfg.NAT), homes: map[netip.Addr]netip.Addr{}}
	wall := cfg.NAT
	wall.Mapping = EndpointIndependent
	r.wall = newTable(wall)
	r.outside = &iface{segment: cfg.Outside, up: newPipe(cfg.Link), down: newPipe(cfg.Link), node: r}
	r.inside = &iface{segment: cfg.Inside, up: newPipe(Link{}), down: newPipe(Link{}), node: r}
	for _, a := range cfg.OutsideAddrs {
		if err := cfg.Outside.claim(a.Unmap(), r.outside); err != nil {
			panic(err)
		}
	}
	cfg.Inside.router = r.inside
	for a, owner := range cfg.Inside.owners { // hosts that were there before the router
		if a.Is6() {
			if err := cfg.Inside.claim(a, owner); err != nil {
				panic(err)
			}
		}
	}
	n.routers = append(n.routers, r)
	return r
}

// Rebind makes the router forget every mapping, as a restart does; the ones
// made afterwards have other outside ports.
func (r *Router) Rebind() {
	r.net.mu.Lock()
	defer r.net.mu.Unlock()
	r.nat.rebind()
	r.wall.rebind()
	r.wall.burnt = nil // IPv6 keeps its addresses
}

// SetLink changes the link to the outside.
func (r *Router) SetLink(up, down Link) {
	r.net.mu.Lock()
	defer r.net.mu.Unlock()
	r.outside.up.Link, r.outside.down.Link = up.withDefaults(), down.withDefaults()
}

// receive implements node.
func (r *Router) receive(at int64, from *iface, p *packet) {
	p.ttl--
	switch {
	case p.ttl <= 0:
		r.net.drop(p, DropTTL)
	case from == r.inside && r.translateOut(at, p):
		if slices.Contains(r.cfg.OutsideAddrs, p.dst.Addr()) {
			r.hairpin(at, p)
			return
		}
		r.outside.send(at, p)
	case from == r.outside:
		r.letIn(at, p)
	}
}

// translateOut gives a packet from inside its outside address. It reports
// false when the packet was dropped.
func (r *Router) translateOut(at int64, p *packet) bool {
	src := p.src
	var m *mapping
	if src.Addr().Is4() {
		m = r.nat.outbound(at, src, p.dst, func() (netip.AddrPort, bool) {
			home := r.home(src.Addr())
			if !home.IsValid() {
				return netip.AddrPort{}, false
			}
			return r.nat.choose(at, home, src.Port(), r.net.rand.IntN)
		})
	} else {
		m = r.wall.outbound(at, src, p.dst, func() (netip.AddrPort, bool) { return src, true })
	}
	if m == nil {
		r.net.drop(p, DropNoPort)
		return false
	}
	p.src = m.outside
	return true
}

// home returns the outside address that stands for an inside one: always the
// same (RFC 4787, section 4.1, "paired").
func (r *Router) home(inside netip.Addr) netip.Addr {
	if a, ok := r.homes[inside]; ok {
		return a
	}
	if len(r.cfg.OutsideAddrs) == 0 {
		return netip.Addr{}
	}
	a := r.cfg.OutsideAddrs[len(r.homes)%len(r.cfg.OutsideAddrs)].Unmap()
	r.homes[inside] = a
	return a
}

// letIn passes a packet from outside to whom it is for, if the NAT allows it.
func (r *Router) letIn(at int64, p *packet) {
	t := r.nat
	if p.dst.Addr().Is6() {
		t = r.wall
	}
	m, why := t.inbound(at, p.dst, p.src)
	if m == nil {
		r.net.drop(p, why)
		return
	}
	p.dst = m.key.inside
	r.inside.send(at, p)
}

// hairpin turns a packet from inside to our own outside round.
func (r *Router) hairpin(at int64, p *packet) {
	if !r.cfg.NAT.Hairpin {
		r.net.drop(p, DropHairpin)
		return
	}
	r.letIn(at, p)
}
