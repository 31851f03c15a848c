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
	owners map[netip.Addr]*iface // who takes in packets for an address
	router *iface                // who takes in all others
}

// NewSegment makes a segment, to be attached to another one by a router.
func (n *Network) NewSegment(name string) *Segment {
	return &Segment{net: n, name: name, owners: map[netip.Addr]*iface{}}
}

// iface is where a host or router is attached to a segment.
type iface struct {
	segment  *Segment
	up, down *pipe
	node     node
}

// node takes in what comes down an interface.
type node interface {
	receive(at int64, from *iface, p *packet)
}

// arrive implements place: a packet has come down the link.
func (i *iface) arrive(at int64, p *packet) { i.node.receive(at, i, p) }

// send sends a packet up the link.
func (i *iface) send(at int64, p *packet) {
	i.segment.net.carry(at, i.up, p, (*uplink)(i))
}

// uplink is an interface seen from its segment: packets that came up its link
// arrive there.
type uplink iface

func (u *uplink) arrive(at int64, p *packet) {
	s := u.segment
	to := s.owners[p.dst.Addr()]
	if to == nil {
		to = s.router
	}
	if to == nil || to == (*iface)(u) {
		s.net.drop(p, DropNoRoute)
		return
	}
	s.net.carry(at, to.down, p, to)
}

// claim makes i the owner of an address, also for segments further out when the
// address is one that no router translates.
func (s *Segment) claim(a netip.Addr, i *iface) error {
	if o := s.owners[a]; o != nil && o != i {
		return fmt.Errorf("netsim: address %s is in use on segment %s", a, s.name)
	}
	s.owners[a] = i
	if r := s.outward(a); r != nil {
		return r.outside.segment.claim(a, r.outside)
	}
	return nil
}

func (s *Segment) release(a netip.Addr, i *iface) {
	if s.owners[a] == i {
		delete(s.owners, a)
	}
	if r := s.outward(a); r != nil {
		r.outside.segment.release(a, r.outside)
	}
}

// outward returns the router that makes a known further out: IPv6 addresses
// are not translated.
func (s *Segment) outward(a netip.Addr) *Router {
	if s.router == nil || !a.Is6() {
		return nil
	}
	return s.router.node.(*Router)
}
