package udp

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// maxKnownAddrs bounds the converted addresses that are kept.
const maxKnownAddrs = 1024

// newGeneric makes an engine of any packet connection.
func newGeneric(pc net.PacketConn, refused *atomic.Uint64) engine {
	if c, ok := pc.(addrPortConn); ok {
		return &single{conn: c, refused: refused}
	}
	return &single{conn: &converting{pc: pc, addrs: make(map[netip.AddrPort]net.Addr)}, refused: refused}
}

// converting gives a connection that knows only net.Addr the methods of addrPortConn.
type converting struct {
	pc net.PacketConn

	mu    sync.Mutex
	addrs map[netip.AddrPort]net.Addr // of earlier writes
}

func (c *converting) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, from, err := c.pc.ReadFrom(b)
	if err != nil {
		return n, netip.AddrPort{}, err
	}
	if u, ok := from.(interface{ AddrPort() netip.AddrPort }); ok {
		return n, u.AddrPort(), nil
	}
	addr, err := netip.ParseAddrPort(from.String())
	if err != nil {
		return n, netip.AddrPort{}, fmt.Errorf("udp: read: source %q of a %s connection is not an IP address with a port",
			from, from.Network())
	}
	return n, addr, nil
}

func (c *converting) WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error) {
	return c.pc.WriteTo(b, c.netAddr(addr))
}

func (c *converting) netAddr(addr netip.AddrPort) net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a, ok := c.addrs[addr]; ok {
		return a
	}
	if len(c.addrs) >= maxKnownAddrs {
		clear(c.addrs)
	}
	a := net.UDPAddrFromAddrPort(addr)
	c.addrs[addr] = a
	return a
}
