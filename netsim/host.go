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
	ephemeral uint16 // the next port to give
	seq       uint64 // counts packets written

	// As calls see it.
	segment *Segment
	addrs   []netip.Addr
	bound   sockets

	// The same as packets see it: a change later.
	port  *iface
	local []netip.Addr
	open  sockets

	power power
	tcp   tcpHost
}

// NewHost attaches a host to a segment. The link is the same in both
// directions; see [Host.SetLink]. It panics when an address is in use there,
// as that is a mistake in the test.
func (n *Network) NewHost(name string, s *Segment, l Link, addrs ...netip.Addr) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := &Host{net: n, id: len(n.hosts), name: name, bound: sockets{}, open: sockets{}, ephemeral: firstEphemeral, tcp: newTCPHost()}
	h.port = attach(s, l, h)
	n.hosts = append(n.hosts, h)
	n.wires = append(n.wires, wire{name, h.port})
	h.settle(s, addrs)
	return h
}

// Name returns the name given to NewHost.
func (h *Host) Name() string { return h.name }

// String names the host for people.
func (h *Host) String() string { return fmt.Sprintf("host %s", h.name) }

// Addrs returns the host's addresses.
func (h *Host) Addrs() []netip.Addr {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	return slices.Clone(h.addrs)
}

// SetAddrs gives the host other addresses on its segment, as when a lease ends.
// Sockets bound to an address that is gone stay, and can neither send nor
// receive; those bound to none go on. It panics when an address is in use.
func (h *Host) SetAddrs(addrs ...netip.Addr) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.settle(h.segment, addrs)
}

// Move attaches the host to another segment, with other addresses, as when a
// telephone leaves the house. Sockets stay, as with [Host.SetAddrs].
func (h *Host) Move(s *Segment, addrs ...netip.Addr) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.settle(s, addrs)
}

// settle moves the host from where it is, if anywhere.
func (h *Host) settle(s *Segment, addrs []netip.Addr) {
	addrs = unmapped(addrs)
	tell := h.port.readdress(h.segment, h.addrs, s, addrs)
	h.segment, h.addrs = s, addrs
	h.net.later(func() {
		h.port.segment, h.local = s, addrs
		tell()
	})
}

func unmapped(addrs []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, len(addrs))
	for i, a := range addrs {
		out[i] = a.Unmap()
	}
	return out
}

// SetLink changes the host's link, up for what it sends and down for what it
// receives. Packets under way are not affected.
func (h *Host) SetLink(up, down Link) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	up.mustBeSound()
	down.mustBeSound()
	h.net.later(func() { h.port.setLink(up, down) })
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
	port, err := h.bind(addr, laddr.Port())
	if err != nil {
		at := net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, laddr.Port()))
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: at, Err: err}
	}
	c := newConn(h, netip.AddrPortFrom(addr, port))
	h.bound.add(c)
	h.net.later(func() { h.open.add(c) })
	return c, nil
}

// bind returns the port of a new socket.
func (h *Host) bind(addr netip.Addr, port uint16) (uint16, error) {
	switch {
	case h.net.closed:
		return 0, errNetworkClosed
	case h.power.down:
		return 0, syscall.ENETDOWN
	case !addr.IsUnspecified() && !slices.Contains(h.addrs, addr):
		return 0, syscall.EADDRNOTAVAIL
	case port == 0:
		if port = h.bound.free(addr, h.ephemeral); port == 0 {
			return 0, syscall.EADDRINUSE
		}
		h.ephemeral = nextEphemeral(port)
	case h.bound.taken(addr, port):
		return 0, syscall.EADDRINUSE
	}
	return port, nil
}

// sendable returns why a socket bound to an address cannot send to another
// one, or nil. Addresses that were there until this instant count, so that an
// error does not depend on who comes first: the call or a change of addresses.
func (h *Host) sendable(from, dst netip.Addr) error {
	if both := from.Is6() && from.IsUnspecified(); !both && from.Is4() != dst.Is4() {
		return syscall.EAFNOSUPPORT
	}
	if source(h.addrs, from, dst).IsValid() || source(h.local, from, dst).IsValid() {
		return nil
	}
	if from.IsUnspecified() {
		return syscall.ENETUNREACH
	}
	return syscall.EADDRNOTAVAIL // it had the address once
}

// source returns which of a host's addresses a socket bound to from sends from.
// The result is invalid when none will do.
func source(addrs []netip.Addr, from, dst netip.Addr) netip.Addr {
	switch {
	case slices.Contains(addrs, from):
		return from
	case !from.IsUnspecified():
		return netip.Addr{}
	case slices.Contains(addrs, dst):
		return dst
	}
	for _, a := range addrs {
		if a.Is4() == dst.Is4() {
			return a
		}
	}
	return netip.Addr{}
}

// depart starts the way of a packet that one of the sockets wrote.
func (h *Host) depart(at int64, p *packet) {
	from := source(h.local, p.src.Addr(), p.dst.Addr())
	if from.IsValid() {
		p.src = netip.AddrPortFrom(from, p.src.Port())
	}
	h.net.ledger.note(p.at, p, fateSent)
	switch {
	case h.power.off:
		h.net.drop(at, p, DropHostDown)
	case !from.IsValid(): // the address went away as the packet was written
		h.net.drop(at, p, DropNoRoute)
	case slices.Contains(h.local, p.dst.Addr()):
		h.receive(at, h.port, p)
	default:
		h.port.send(at, p)
	}
}

// receive implements node.
func (h *Host) receive(at int64, _ *iface, p *packet) {
	n := h.net
	switch to := h.open.find(p.dst); {
	case h.power.off:
		n.drop(at, p, DropHostDown)
	case n.partition[[2]*Host{p.origin, h}]:
		n.drop(at, p, DropPartitioned)
	case !slices.Contains(h.local, p.dst.Addr()): // it had the address when the packet left
		n.drop(at, p, DropNoRoute)
	case p.isTCP():
		h.receiveTCP(at, p)
	case to == nil:
		n.drop(at, p, DropNoSocket)
	default:
		to.deliver(at, p)
	}
}
