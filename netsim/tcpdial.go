package netsim

import (
	"context"
	"net"
	"net/netip"
	"syscall"
)

// DialTCP opens a stream to an address, from a free port. Its errors are those of a
// real socket: ECONNREFUSED when nobody listens there, ETIMEDOUT when nobody has
// answered for 127 s, ENETUNREACH when the host has no address of that family.
func (h *Host) DialTCP(ctx context.Context, to netip.AddrPort) (*TCPConn, error) {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	c, err := h.dial(ctx, to)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	return c, nil
}

// DialContext is [Host.DialTCP] with the signature of the method of net.Dialer, for
// http.Transport and the like. The network is tcp, tcp4 or tcp6. There is no DNS: the
// address has to be that of an IP and a port.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	v4 := to.Addr().Unmap().Is4()
	switch {
	case network != "tcp" && network != "tcp4" && network != "tcp6":
		err = net.UnknownNetworkError(network)
	case err != nil:
		err = &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}
	case (network == "tcp4" && !v4) || (network == "tcp6" && v4):
		err = &net.AddrError{Err: "no suitable address", Addr: address}
	default:
		c, err := h.DialTCP(ctx, to)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	return nil, &net.OpError{Op: "dial", Net: network, Err: err}
}

func (h *Host) dial(ctx context.Context, to netip.AddrPort) (*TCPConn, error) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	c, err := h.newDialled(to)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		c.cond.Broadcast()
	})()
	for {
		now := n.now()
		news := c.news.seen(now)
		switch err := c.dead(now); {
		case err != nil:
			return nil, err
		case ctx.Err() != nil:
			c.shut()
			c.tell(now, func(w *wishes) { w.closed = true })
			return nil, ctx.Err()
		case h.paused():
		case news.err != nil:
			c.shut()
			return nil, news.err
		case news.open:
			return c, nil
		}
		c.cond.Wait()
	}
}

// newDialled makes a stream that is about to be opened.
func (h *Host) newDialled(to netip.AddrPort) (*TCPConn, error) {
	if err := h.usable(); err != nil {
		return nil, err
	}
	if !to.IsValid() || to.Port() == 0 || to.Addr().IsUnspecified() {
		return nil, syscall.EINVAL
	}
	unbound := netip.IPv6Unspecified()
	if err := h.sendable(unbound, to.Addr()); err != nil {
		return nil, err
	}
	port := h.tcp.port()
	if port == 0 {
		return nil, syscall.EADDRNOTAVAIL
	}
	from := source(h.addrs, unbound, to.Addr())
	if !from.IsValid() { // it goes at this instant
		from = source(h.local, unbound, to.Addr())
	}
	c := newTCPConn(h, netip.AddrPortFrom(from, port), to)
	c.tell(h.net.now(), func(*wishes) {})
	return c, nil
}
