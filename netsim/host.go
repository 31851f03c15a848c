package netsim

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// A Host has addresses on one segment, and sockets.
type Host struct {
	net       *Network
	id        int
	name      string
	port      *iface
	addrs     []netip.Addr
	conns     map[uint16][]*Conn
	ephemeral uint16
	seq       uint64
}

// First and last of the ports given to sockets that ask for port 0.
const (
	firstEphemeral = 32768
	lastEphemeral  = 60999
)

// NewHost attaches a host to a segment. The link is the same in both
// directions; see [Host.SetLink]. It panics when an address is in use there,
// as that is a mistake in the test.
func (n *Network) NewHost(name string, s *Segment, l Link, addrs ...netip.Addr) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := &Host{net: n, id: len(n.hosts), name: name, conns: map[uint16][]*Conn{}, ephemeral: firstEphemeral}
	h.port = &iface{segment: s, up: newPipe(l), down: newPipe(l), node: h}
	n.hosts = append(n.hosts, h)
	h.setAddrs(addrs)
	return h
}

// Name returns the name given to NewHost.
func (h *Host) Name() string { return h.name }

// Addrs returns the host's addresses.
func (h *Host) Addrs() []netip.Addr {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	return slices.Clone(h.addrs)
}

// SetAddrs gives the host other addresses on its segment, as when it joins
// another network. Sockets bound to an address that is gone stay, and receive
// nothing; those bound to none go on.
func (h *Host) SetAddrs(addrs ...netip.Addr) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.setAddrs(addrs)
}

func (h *Host) setAddrs(addrs []netip.Addr) {
	for _, a := range h.addrs {
		h.port.segment.release(a, h.port)
	}
	h.addrs = nil
	for _, a := range addrs {
		a = a.Unmap()
		if err := h.port.segment.claim(a, h.port); err != nil {
			panic(err)
		}
		h.addrs = append(h.addrs, a)
	}
}

// Move attaches the host to another segment, with other addresses.
func (h *Host) Move(s *Segment, addrs ...netip.Addr) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.setAddrs(nil)
	h.port.segment = s
	h.setAddrs(addrs)
}

// SetLink changes the host's link, up for what it sends and down for what it
// receives. Packets under way are not affected.
func (h *Host) SetLink(up, down Link) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.port.up.Link, h.port.down.Link = up.withDefaults(), down.withDefaults()
}

// ListenUDP opens a socket. An unspecified IPv6 address (::) takes IPv4 as
// well; an invalid address means that, too. Port 0 takes a free port.
func (h *Host) ListenUDP(laddr netip.AddrPort) (*Conn, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	addr := laddr.Addr().Unmap()
	if !addr.IsValid() {
		addr = netip.IPv6Unspecified()
	}
	fail := func(err error) (*Conn, error) {
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: net.UDPAddrFromAddrPort(laddr), Err: err}
	}
	if h.net.closed {
		return fail(errNetworkClosed)
	}
	if !addr.IsUnspecified() && !slices.Contains(h.addrs, addr) {
		return fail(syscall.EADDRNOTAVAIL)
	}
	port := laddr.Port()
	if port == 0 {
		if port = h.freePort(addr); port == 0 {
			return fail(syscall.EADDRINUSE)
		}
	} else if h.taken(addr, port) {
		return fail(syscall.EADDRINUSE)
	}
	c := newConn(h, netip.AddrPortFrom(addr, port))
	h.conns[port] = append(h.conns[port], c)
	return c, nil
}

func (h *Host) freePort(addr netip.Addr) uint16 {
	for range lastEphemeral - firstEphemeral + 1 {
		port := h.ephemeral
		if h.ephemeral++; h.ephemeral > lastEphemeral {
			h.ephemeral = firstEphemeral
		}
		if !h.taken(addr, port) {
			return port
		}
	}
	return 0
}

// taken reports whether a socket has the port on an overlapping address.
func (h *Host) taken(addr netip.Addr, port uint16) bool {
	for _, c := range h.conns[port] {
		if c.covers(addr) || (addr.IsUnspecified() && (addr.Is6() || c.local.Addr().Is4())) {
			return true
		}
	}
	return false
}

func (h *Host) forget(c *Conn) {
	port := c.local.Port()
	h.conns[port] = slices.DeleteFunc(h.conns[port], func(o *Conn) bool { return o == c })
	if len(h.conns[port]) == 0 {
		delete(h.conns, port)
	}
}

// allConns returns the sockets by port, in an order that is always the same.
func (h *Host) allConns() []*Conn {
	var out []*Conn
	for _, cs := range h.conns {
		out = append(out, cs...)
	}
	slices.SortFunc(out, func(a, b *Conn) int { return a.local.Compare(b.local) })
	return out
}

// source picks the address from which the host sends to dst.
func (h *Host) source(dst netip.Addr) (netip.Addr, error) {
	if slices.Contains(h.addrs, dst) {
		return dst, nil
	}
	for _, a := range h.addrs {
		if a.Is4() == dst.Is4() {
			return a, nil
		}
	}
	return netip.Addr{}, syscall.ENETUNREACH
}

// depart starts the way of a packet that one of the sockets wrote.
func (h *Host) depart(at int64, p *packet) {
	if slices.Contains(h.addrs, p.dst.Addr()) {
		h.receive(at, h.port, p)
		return
	}
	h.port.send(at, p)
}

// receive implements node.
func (h *Host) receive(at int64, _ *iface, p *packet) {
	if h.net.partition[[2]*Host{p.origin, h}] {
		h.net.drop(p, DropPartitioned)
		return
	}
	// A socket bound to the address goes before one bound to none.
	var to *Conn
	for _, c := range h.conns[p.dst.Port()] {
		if c.local.Addr() == p.dst.Addr() || (to == nil && c.covers(p.dst.Addr())) {
			to = c
		}
	}
	if to == nil {
		h.net.drop(p, DropNoSocket)
		return
	}
	to.deliver(at, p)
}

// String names the host for people.
func (h *Host) String() string { return fmt.Sprintf("host %s", h.name) }
