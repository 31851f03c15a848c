package netsim

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// backlog is how many streams a listener has that nobody has accepted; what comes
// besides is dropped.
const backlog = 128

// A TCPListener accepts streams. It is a net.Listener, and may be used from several
// goroutines.
type TCPListener struct {
	host    *Host
	local   netip.AddrPort
	cond    sync.Cond  // L is the network's mutex
	queue   []*TCPConn // to be accepted, in the order in which they came
	opening int        // streams whose handshake is under way
	closed  bool
	gone    bool // closed, as packets see it
	dies    int64
	by      deadline
}

// ListenTCP waits for streams at an address. As with ListenUDP, an unspecified IPv6
// address or an invalid one takes IPv4 as well, and port 0 takes a free port.
func (h *Host) ListenTCP(laddr netip.AddrPort) (*TCPListener, error) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	addr, port := laddr.Addr().Unmap(), laddr.Port()
	if !addr.IsValid() {
		addr = netip.IPv6Unspecified()
	}
	err := h.usable()
	switch {
	case err != nil:
	case !addr.IsUnspecified() && !slices.Contains(h.addrs, addr):
		err = syscall.EADDRNOTAVAIL
	case port == 0:
		if port = h.tcp.port(); port == 0 {
			err = syscall.EADDRINUSE
		}
	case h.tcp.taken(addr, port):
		err = syscall.EADDRINUSE
	}
	at := netip.AddrPortFrom(addr, port)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(at), Err: err}
	}
	l := &TCPListener{host: h, local: at, dies: never}
	l.cond.L = &n.mu
	h.tcp.bound = append(h.tcp.bound, l)
	h.tcp.take(port)
	n.later(func() { h.tcp.open = append(h.tcp.open, l) })
	return l, nil
}

// usable returns why the host can have no new sockets, or nil.
func (h *Host) usable() error {
	switch {
	case h.net.closed:
		return errNetworkClosed
	case h.power.down:
		return syscall.ENETDOWN
	}
	return nil
}

// Accept implements net.Listener.
func (l *TCPListener) Accept() (net.Conn, error) {
	c, err := l.accept()
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: err}
	}
	return c, nil
}

func (l *TCPListener) accept() (*TCPConn, error) {
	n := l.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		now := n.now()
		switch {
		case l.closed:
			return nil, net.ErrClosed
		case l.dies <= now:
			return nil, syscall.ENETDOWN
		case l.host.paused():
		case l.by.passed():
			return nil, os.ErrDeadlineExceeded
		case len(l.queue) > 0 && l.queue[0].ready < now:
			c := l.queue[0]
			l.queue = slices.Delete(l.queue, 0, 1)
			return c, nil
		}
		l.cond.Wait()
	}
}

// SetDeadline makes Accept fail from an instant on, as the method of *net.TCPListener
// does.
func (l *TCPListener) SetDeadline(t time.Time) error {
	n := l.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	l.by.set(t, &l.cond)
	return nil
}

// Addr implements net.Listener. It is a *net.TCPAddr.
func (l *TCPListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.local) }

// Close implements net.Listener. Streams that nobody has accepted are reset.
func (l *TCPListener) Close() error {
	n := l.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
	l.shut()
	t := &l.host.tcp
	t.bound = slices.DeleteFunc(t.bound, func(o *TCPListener) bool { return o == l })
	if l.dies == never {
		t.giveBack(l.local.Port())
	}
	n.later(func() {
		at := n.now()
		l.gone = true
		t.open = slices.DeleteFunc(t.open, func(o *TCPListener) bool { return o == l })
		for _, c := range l.queue {
			c.abandon(at)
		}
		l.queue = nil
	})
	return nil
}

func (l *TCPListener) shut() {
	l.closed = true
	l.by.stop()
	l.cond.Broadcast()
}

// full reports whether the listener takes no more streams.
func (l *TCPListener) full() bool { return len(l.queue)+l.opening >= backlog }

// answer makes the stream that a SYN asks for.
func (l *TCPListener) answer(at int64, p *packet) *TCPConn {
	c := newTCPConn(l.host, p.dst, p.src)
	c.listener = l
	l.opening++
	c.begin(at, tcpAnswering)
	return c
}

// established takes a stream whose handshake is complete. It reports false when nobody
// is there any more to accept it.
func (l *TCPListener) established(at int64, c *TCPConn) bool {
	l.opening--
	if l.gone {
		return false
	}
	c.ready = at
	l.queue = append(l.queue, c)
	l.host.net.wakeups.add(at, l.cond.Broadcast)
	return true
}
