package netsim

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// receiveBuffer is how many bytes of datagrams wait in a socket, as many as a
// program that asks for a large buffer gets from a real kernel.
const receiveBuffer = 4 << 20

// A Conn is a UDP socket of a [Host]. It is a net.PacketConn, has the
// netip methods of *net.UDPConn, and can move batches. It may be used from
// several goroutines.
type Conn struct {
	host     *Host
	local    netip.AddrPort
	readable sync.Cond // L is the network's mutex
	queue    []*packet // received and not read
	head     int       // of queue
	buffered int
	inReady  bool
	closed   bool

	deadline time.Time // of reads
	alarm    *time.Timer
	writeBy  time.Time // deadline of writes
}

var _ net.PacketConn = (*Conn)(nil)

func newConn(h *Host, local netip.AddrPort) *Conn {
	c := &Conn{host: h, local: local}
	c.readable.L = &h.net.mu
	return c
}

// covers reports whether packets to an address are for this socket.
func (c *Conn) covers(a netip.Addr) bool {
	l := c.local.Addr()
	return l == a || (l.IsUnspecified() && (l.Is6() || a.Is4()))
}

// deliver puts a packet into the receive buffer. The network's mutex is held.
func (c *Conn) deliver(at int64, p *packet) {
	n := c.host.net
	if c.buffered+len(p.data) > receiveBuffer {
		n.drop(p, DropBuffer)
		return
	}
	n.ledger.delivered++
	n.ledger.note(at, p)
	c.buffered += len(p.data)
	c.queue = append(c.queue, p)
	if !c.inReady {
		c.inReady = true
		n.ready = append(n.ready, c)
	}
}

// take removes the oldest packet. The network's mutex is held.
func (c *Conn) take() *packet {
	p := c.queue[c.head]
	c.queue[c.head] = nil
	c.head++
	if c.head == len(c.queue) {
		c.queue, c.head = c.queue[:0], 0
	}
	c.buffered -= len(p.data)
	return p
}

// wait blocks until there is a packet. The network's mutex is held.
func (c *Conn) wait() error {
	for {
		switch {
		case c.closed:
			return net.ErrClosed
		case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
			return os.ErrDeadlineExceeded
		case c.head < len(c.queue):
			return nil
		}
		c.readable.Wait()
	}
}

// ReadBatch waits for at least one datagram and returns as many as are there
// and fit: the i-th is bufs[i][:sizes[i]] from addrs[i]. What a buffer is too
// short for is cut off.
func (c *Conn) ReadBatch(bufs [][]byte, sizes []int, addrs []netip.AddrPort) (int, error) {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := c.wait(); err != nil {
		return 0, c.opError("read", err)
	}
	i := 0
	for ; i < len(bufs) && c.head < len(c.queue); i++ {
		p := c.take()
		sizes[i] = copy(bufs[i], p.data)
		addrs[i] = p.src
		n.recycle(p)
	}
	return i, nil
}

// WriteBatch sends bufs[i] to addrs[i]. It returns how many were sent, and the
// first error; one destination that cannot be reached does not stop the others.
func (c *Conn) WriteBatch(bufs [][]byte, addrs []netip.AddrPort) (sent int, err error) {
	n := c.host.net
	n.mu.Lock()
	defer n.poke()
	defer n.mu.Unlock()
	for i, b := range bufs {
		if e := c.write(b, addrs[i], defaultTTL); e == nil {
			sent++
		} else if err == nil {
			err = c.opError("write", e)
		}
	}
	return sent, err
}

// WriteTTL sends one datagram with a time to live: each router takes one off
// and drops the packet at zero.
func (c *Conn) WriteTTL(b []byte, to netip.AddrPort, ttl int) error {
	n := c.host.net
	n.mu.Lock()
	defer n.poke()
	defer n.mu.Unlock()
	if err := c.write(b, to, ttl); err != nil {
		return c.opError("write", err)
	}
	return nil
}

// write enqueues a datagram for the scheduler. The network's mutex is held.
func (c *Conn) write(b []byte, to netip.AddrPort, ttl int) error {
	n := c.host.net
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	switch {
	case c.closed:
		return net.ErrClosed
	case !c.writeBy.IsZero() && !time.Now().Before(c.writeBy):
		return os.ErrDeadlineExceeded
	case !to.IsValid() || to.Port() == 0 || to.Addr().IsUnspecified():
		return syscall.EINVAL
	case len(b) > maxDatagram:
		return syscall.EMSGSIZE
	}
	from := c.local.Addr()
	if from.IsUnspecified() {
		if from.Is4() && !to.Addr().Is4() {
			return syscall.EAFNOSUPPORT
		}
		var err error
		if from, err = c.host.source(to.Addr()); err != nil {
			return err
		}
	} else if from.Is4() != to.Addr().Is4() {
		return syscall.EAFNOSUPPORT
	}
	p := n.newPacket(b)
	c.host.seq++
	p.src, p.dst, p.ttl = netip.AddrPortFrom(from, c.local.Port()), to, ttl
	p.origin, p.seq, p.at = c.host, c.host.seq, n.now()
	n.written = append(n.written, p)
	return nil
}

// ReadFromUDPAddrPort reads one datagram, as the method of *net.UDPConn does.
func (c *Conn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := c.wait(); err != nil {
		return 0, netip.AddrPort{}, c.opError("read", err)
	}
	p := c.take()
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

// LocalAddr returns the address the socket is bound to.
func (c *Conn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

// SetDeadline implements net.PacketConn.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.PacketConn. It wakes reads that wait.
func (c *Conn) SetReadDeadline(t time.Time) error {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed {
		return c.opError("set", net.ErrClosed)
	}
	c.deadline = t
	if c.alarm != nil {
		c.alarm.Stop()
		c.alarm = nil
	}
	if !t.IsZero() {
		c.alarm = time.AfterFunc(time.Until(t), func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			c.readable.Broadcast()
		})
	}
	c.readable.Broadcast()
	return nil
}

// SetWriteDeadline implements net.PacketConn. Writes never wait, so only those
// after the deadline fail.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed {
		return c.opError("set", net.ErrClosed)
	}
	c.writeBy = t
	return nil
}

// Close closes the socket and wakes reads that wait. What was written before
// is still sent.
func (c *Conn) Close() error {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.close()
	c.host.forget(c)
	return nil
}

// close does what Close and the closing of the network have in common. The
// network's mutex is held.
func (c *Conn) close() {
	c.closed = true
	if c.alarm != nil {
		c.alarm.Stop()
	}
	for c.head < len(c.queue) {
		c.host.net.recycle(c.take())
	}
	c.readable.Broadcast()
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: net.UDPAddrFromAddrPort(c.local), Err: err}
}
