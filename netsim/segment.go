package netsim

import (
	"fmt"
	"net/netip"
)

// A Segment joins hosts and routers: a home network, or the internet itself.
// It takes no time; the links of those attached to it do.
type Segment struct {
	net    *Network
	name   string
	router *Router               // joins it to the one further out
	given  map[netip.Addr]*iface // who has an address, as calls see it
	owners map[netip.Addr]*iface // the same as packets see it: a change later
	uplink *iface                // who takes in packets for addresses that nobody has
}

// NewSegment makes a segment, to be attached to another one by a router.
func (n *Network) NewSegment(name string) *Segment {
	return &Segment{net: n, name: name, given: map[netip.Addr]*iface{}, owners: map[netip.Addr]*iface{}}
}

// iface is where a host or router is attached to a segment.
type iface struct {
	segment  *Segment
	up, down *pipe
	node     node
}

// attach makes the interface of a node, with a link in both directions.
func attach(s *Segment, l Link, to node) *iface {
	l.mustBeSound()
	i := &iface{segment: s, up: newPipe(l), down: newPipe(l), node: to}
	i.up.to, i.down.to = (*raised)(i), i
	return i
}

// node takes in what comes down an interface.
type node interface {
	receive(at int64, from *iface, p *packet)
}

// arrive implements place: a packet has come down the link.
func (i *iface) arrive(at int64, p *packet) {
	i.down.tap.see(at, p)
	i.node.receive(at, i, p)
}

// send sends a packet up the link.
func (i *iface) send(at int64, p *packet) {
	p.passes() // the interface that it came in by
	i.segment.net.carry(at, i.up, p)
}

// raised is an interface seen from its segment: packets that came up its link
// arrive there.
type raised iface

func (r *raised) arrive(at int64, p *packet) {
	s := r.segment
	to := s.owners[p.dst.Addr()]
	if to == nil && !p.dst.Addr().IsMulticast() { // which routers do not pass on
		to = s.uplink
	}
	if to == nil || to == (*iface)(r) {
		s.net.drop(at, p, DropNoRoute)
		return
	}
	s.net.carry(at, to.down, p)
}

// give reserves an address for i, also on the segments further out to which
// routers pass it untranslated.
func (s *Segment) give(a netip.Addr, i *iface) error {
	if o := s.given[a]; o != nil && o != i {
		return fmt.Errorf("netsim: address %s is in use on segment %s", a, s.name)
	}
	s.given[a] = i
	if s.shows(a) {
		return s.router.outside.segment.give(a, s.router.outside)
	}
	return nil
}

// takeBack undoes give.
func (s *Segment) takeBack(a netip.Addr, i *iface) {
	if s.given[a] == i {
		delete(s.given, a)
	}
	if s.shows(a) {
		s.router.outside.segment.takeBack(a, s.router.outside)
	}
}

// announce makes packets see what give did.
func (s *Segment) announce(a netip.Addr, i *iface) {
	s.owners[a] = i
	if s.shows(a) {
		s.router.outside.segment.announce(a, s.router.outside)
	}
}

// withdraw makes packets see what takeBack did.
func (s *Segment) withdraw(a netip.Addr, i *iface) {
	if s.owners[a] == i {
		delete(s.owners, a)
	}
	if s.shows(a) {
		s.router.outside.segment.withdraw(a, s.router.outside)
	}
}

// readdress gives an interface other addresses in place of old ones, perhaps on
// another segment. It returns what makes packets see that, and panics when an address
// is in use.
func (i *iface) readdress(from *Segment, old []netip.Addr, to *Segment, addrs []netip.Addr) (tell func()) {
	for _, a := range old {
		from.takeBack(a, i)
	}
	for _, a := range addrs {
		if err := to.give(a, i); err != nil {
			panic(err)
		}
	}
	return func() {
		for _, a := range old {
			from.withdraw(a, i)
		}
		for _, a := range addrs {
			to.announce(a, i)
		}
	}
}

// shows reports whether an address inside is visible further out.
func (s *Segment) shows(a netip.Addr) bool {
	return s.router != nil && !s.router.translates(a) && !a.IsMulticast()
}
