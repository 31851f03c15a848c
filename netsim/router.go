package netsim

import (
	"fmt"
	"net/netip"
	"slices"
)

// RouterConfig says where a router stands and what it does.
type RouterConfig struct {
	Outside      *Segment     // where it sends what is not for its inside
	OutsideAddrs []netip.Addr // IPv4 addresses to translate to; see NAT.ArbitraryPooling
	Inside       *Segment     // whose router it becomes
	Link         Link         // to the outside, both directions
	NAT          NAT          // for IPv4; IPv6 is not translated, but filtered in the same way
	Gateway      Gateway      // what it offers to its inside
}

// A Router joins two segments and is the NAT of its inside.
type Router struct {
	net     *Network
	name    string
	cfg     NAT
	udp     tables
	tcp     tables
	given   []netip.Addr              // its addresses outside, as calls see them
	addrs   []netip.Addr              // the same as packets see them: a change later
	homes   map[netip.Addr]netip.Addr // which of the addresses stands for which inside
	inside  *iface
	outside *iface
	gateway *gateway // or nil
}

// NewRouter attaches a router. It panics when an address is in use, the inside
// has a router already or the NAT contradicts itself, as that is a mistake in the
// test.
func (n *Network) NewRouter(name string, cfg RouterConfig) *Router {
	r := n.newRouter(name, cfg)
	if cfg.Gateway.Addr.IsValid() {
		r.offer(cfg.Gateway)
	}
	return r
}

func (n *Network) newRouter(name string, cfg RouterConfig) *Router {
	n.mu.Lock()
	defer n.mu.Unlock()
	if cfg.Inside.router != nil {
		panic("netsim: segment " + cfg.Inside.name + " has a router already")
	}
	if err := cfg.NAT.check(); err != nil {
		panic(fmt.Sprintf("netsim: router %s: %v", name, err))
	}
	r := &Router{
		net: n, name: name, cfg: cfg.NAT, udp: newTables(cfg.NAT), tcp: newTables(cfg.NAT.forTCP()),
		addrs: unmapped(cfg.OutsideAddrs), homes: map[netip.Addr]netip.Addr{},
	}
	r.given = r.addrs
	r.outside = attach(cfg.Outside, cfg.Link, r)
	r.inside = attach(cfg.Inside, Link{}, r)
	cfg.Inside.router = r
	n.wires = append(n.wires, r.wires()...)
	visible := slices.Clone(r.addrs)
	for a := range cfg.Inside.given { // hosts that were there before
		if !r.translates(a) {
			visible = append(visible, a)
		}
	}
	for _, a := range visible {
		if err := cfg.Outside.give(a, r.outside); err != nil {
			panic(err)
		}
	}
	n.later(func() {
		cfg.Inside.uplink = r.inside
		for _, a := range visible {
			cfg.Outside.announce(a, r.outside)
		}
	})
	return r
}

// Name returns the name given to NewRouter.
func (r *Router) Name() string { return r.name }

// Rebind makes the router forget every mapping, as a restart does; the ones
// made afterwards have other outside ports, unless NAT.Overload lets them have the
// same again. Port forwardings go as well, and nobody is told, other than by Reboot.
func (r *Router) Rebind() {
	r.net.mu.Lock()
	defer r.net.mu.Unlock()
	r.net.later(func() {
		for _, t := range []tables{r.udp, r.tcp} {
			t.nat.rebind(true)
			t.wall.rebind(false) // what is not translated keeps its address
		}
	})
}

// SetLink changes the link to the outside.
func (r *Router) SetLink(up, down Link) {
	r.net.mu.Lock()
	defer r.net.mu.Unlock()
	up.mustBeSound()
	down.mustBeSound()
	r.net.later(func() { r.outside.setLink(up, down) })
}

// tables are what a router remembers of one protocol.
type tables struct {
	nat  *table // of what is translated
	wall *table // of what is not: mappings whose outside address is the inside one
}

func newTables(n NAT) tables { return tables{newTable(n), newTable(n.firewall())} }

// tables returns those of a packet's protocol.
func (r *Router) tables(p *packet) *tables {
	if p.isTCP() {
		return &r.tcp
	}
	return &r.udp
}

// translates reports whether an inside address is hidden behind another one.
func (r *Router) translates(a netip.Addr) bool { return a.Is4() && !r.cfg.Transparent }

// receive implements node.
func (r *Router) receive(at int64, from *iface, p *packet) {
	p.ttl--
	src := p.src
	switch {
	case r.cfg.BlockUDP && !p.isTCP():
		r.net.drop(at, p, DropBlocked)
	case p.isTCP() && from == r.inside && r.cfg.blocksTCP(p.dst.Port()):
		r.net.drop(at, p, DropBlockedTCP)
	case from == r.outside:
		r.letIn(at, p)
	case p.ttl <= 0:
		r.net.drop(at, p, DropTTL)
	case r.translateOut(at, p):
		if slices.Contains(r.addrs, p.dst.Addr()) {
			r.hairpin(at, p, src)
			return
		}
		r.outside.send(at, p)
	}
}

// translateOut gives a packet from inside its outside address. It reports
// false when the packet was dropped.
func (r *Router) translateOut(at int64, p *packet) bool {
	src, t := p.src, r.tables(p)
	var m *mapping
	if out, ok := t.nat.answers(at, src, p.dst); ok {
		p.src = out
		return true
	}
	if r.translates(src.Addr()) {
		m = t.nat.outbound(at, src, p.dst, func() (netip.AddrPort, bool) {
			home := r.home(src.Addr())
			if !home.IsValid() {
				return netip.AddrPort{}, false
			}
			return t.nat.choose(at, home, src, p.dst, r.net.rand.IntN)
		})
	} else {
		m = t.wall.outbound(at, src, p.dst, func() (netip.AddrPort, bool) { return src, true })
	}
	if m == nil {
		r.net.drop(at, p, DropNoPort)
		return false
	}
	p.src = m.claim.outside
	return true
}

// home returns the outside address that is to stand for an inside one. It is
// invalid when the router has none.
func (r *Router) home(inside netip.Addr) netip.Addr {
	if len(r.addrs) == 0 {
		return netip.Addr{}
	}
	if r.cfg.ArbitraryPooling {
		return r.addrs[r.net.rand.IntN(len(r.addrs))]
	}
	if a, ok := r.homes[inside]; ok {
		return a
	}
	a := r.addrs[len(r.homes)%len(r.addrs)]
	r.homes[inside] = a
	return a
}

// letIn passes a packet from outside to whom it is for, if the NAT allows it. What
// nobody inside asked for is for the router, and may have come to the end of its
// time to live.
func (r *Router) letIn(at int64, p *packet) {
	both := r.tables(p)
	t := both.nat
	if !slices.Contains(r.addrs, p.dst.Addr()) {
		t = both.wall
	}
	to, ok := t.forwarded(at, p.dst, p.src)
	if ok {
		p.dst = to
		r.pass(at, p)
		return
	}
	m, why := t.inbound(at, p.dst, p.src)
	switch {
	case m != nil:
		p.dst = m.key.inside
	case t == both.nat || !t.Unsolicited:
		r.net.drop(at, p, why)
		return
	}
	r.pass(at, p)
}

// pass sends a packet on to the inside.
func (r *Router) pass(at int64, p *packet) {
	if p.ttl <= 0 {
		r.net.drop(at, p, DropTTL)
		return
	}
	r.inside.send(at, p)
}

// hairpin turns a packet from inside to our own outside round; src is the inside
// address that it came from.
func (r *Router) hairpin(at int64, p *packet, src netip.AddrPort) {
	if r.cfg.Hairpin == HairpinOff {
		r.net.drop(at, p, DropHairpin)
		return
	}
	nat := r.tables(p).nat
	to, ok := nat.forwarded(at, p.dst, p.src)
	if !ok {
		m, why := nat.inbound(at, p.dst, p.src)
		if m == nil {
			r.net.drop(at, p, why)
			return
		}
		to = m.key.inside
	}
	p.dst = to
	if r.cfg.Hairpin == HairpinInternal {
		p.src = src
	}
	r.inside.send(at, p)
}
