package netsim

import (
	"net"
	"net/netip"
	"syscall"
)

var _ net.PacketConn = (*Conn)(nil)

// ReadFromUDPAddrPort reads one datagram, as the method of *net.UDPConn does.
// What b is too short for is cut off.
func (c *Conn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := c.wait(); err != nil {
		return 0, netip.AddrPort{}, c.opError("read", err)
	}
	p := c.queue.pop()
	defer n.recycle(p)
	return copy(b, p.data), p.src, nil
}

// WriteToUDPAddrPort sends one datagram, as the method of *net.UDPConn does.
func (c *Conn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if err := c.WriteTTL(b, to, defaultTTL); err != nil {
		return 0, err
	}
	return len(b), nil
}

// ReadFrom implements net.PacketConn.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// WriteTo implements net.PacketConn; to must be a *net.UDPAddr.
func (c *Conn) WriteTo(b []byte, to net.Addr) (int, error) {
	a, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, c.opError("write", syscall.EINVAL)
	}
	return c.WriteToUDPAddrPort(b, a.AddrPort())
}
