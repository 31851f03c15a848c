package netsim

import (
	"net/netip"
	"slices"
)

// First and last of the ports given to sockets that ask for port 0.
const (
	firstEphemeral = 32768
	lastEphemeral  = 60999
)

// sockets are the open sockets of a host, by port.
type sockets map[uint16][]*Conn

func (s sockets) add(c *Conn) {
	port := c.local.Port()
	s[port] = append(s[port], c)
}

func (s sockets) remove(c *Conn) {
	port := c.local.Port()
	s[port] = slices.DeleteFunc(s[port], func(o *Conn) bool { return o == c })
	if len(s[port]) == 0 {
		delete(s, port)
	}
}

// all returns the sockets, in an order that is always the same.
func (s sockets) all() []*Conn {
	var out []*Conn
	for _, cs := range s {
		out = append(out, cs...)
	}
	slices.SortFunc(out, func(a, b *Conn) int { return a.local.Compare(b.local) })
	return out
}

// find returns the socket for packets to an address: one bound to it goes
// before one bound to none.
func (s sockets) find(to netip.AddrPort) (found *Conn) {
	for _, c := range s[to.Port()] {
		if c.local.Addr() == to.Addr() {
			return c
		}
		if c.covers(to.Addr()) {
			found = c
		}
	}
	return found
}

// taken reports whether a socket has the port on an overlapping address.
func (s sockets) taken(addr netip.Addr, port uint16) bool {
	for _, c := range s[port] {
		if c.covers(addr) || (addr.IsUnspecified() && (addr.Is6() || c.local.Addr().Is4())) {
			return true
		}
	}
	return false
}

// free returns a port that is free on an address, trying start first, or 0.
func (s sockets) free(addr netip.Addr, start uint16) uint16 {
	for port := start; ; {
		if !s.taken(addr, port) {
			return port
		}
		if port = nextEphemeral(port); port == start {
			return 0
		}
	}
}

func nextEphemeral(port uint16) uint16 {
	if port >= lastEphemeral {
		return firstEphemeral
	}
	return port + 1
}
