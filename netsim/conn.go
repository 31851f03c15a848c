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
// several goroutines. Its errors are *net.OpError, and wrap net.ErrClosed,
// os.ErrDeadlineExceeded or a syscall.Errno, as those of real sockets do.
type Conn struct {
	host     *Host
	local    netip.AddrPort
	readable sync.Cond // L is the network's mutex
	queue    packetQueue
	limit    int  // of the queue, in bytes with headers
	inReady  bool // is in the network's list of those to be woken
	closed   bool
	dies     int64 // when its host crashes, or never
	settled  bool  // see SettledConn
	loops    int
	readBy   deadline
	writeBy  time.Time
}

func newConn(h *Host, local netip.AddrPort) *Conn {
	c := &Conn{host: h, local: local, limit: receiveBuffer, dies: never}
	c.readable.L = &h.net.mu
	return c
}

// covers reports whether packets to an address are for this socket.
func (c *Conn) covers(a netip.Addr) bool { return covers(c.local.Addr(), a) }

func covers(local, a netip.Addr) bool {
	return local == a || (local.IsUnspecified() && (local.Is6() || a.Is4()))
}

// deliver puts a packet into the receive buffer. The network's mutex is held.
func (c *Conn) deliver(at int64, p *packet) {
	n := c.host.net
	if c.queue.bytes+p.size() > c.limit {
		n.drop(at, p, DropBuffer)
		return
	}
	p.passes()
	n.ledger.delivered++
	n.ledger.note(at, p, fateDelivered)
	if c.closed { // at this very instant
		n.recycle(p)
		return
	}
	c.queue.push(p)
	if !c.inReady {
		c.inReady = true
		if c.settled {
			n.wakeAt = at + at&1
		}
		n.ready = append(n.ready, c)
	}
}

// wait blocks until there is a packet. The network's mutex is held.
func (c *Conn) wait() error {
	for {
		switch err := c.err(); {
		case err != nil:
			return err
		case c.host.paused():
		case c.readBy.passed():
			return os.ErrDeadlineExceeded
		case !c.queue.empty():
			return nil
		}
		c.readable.Wait()
	}
}

// ReadBatch waits for at least one datagram and returns as many as are there
// and fit: the i-th is bufs[i][:sizes[i]] from addrs[i]. What a buffer is too
// short for is cut off. The slices must be of one length; with none it returns
// at once.
func (c *Conn) ReadBatch(bufs [][]byte, sizes []int, addrs []netip.AddrPort) (int, error) {
	if len(bufs) == 0 {
		return 0, nil
	}
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := c.wait(); err != nil {
		return 0, c.opError("read", err)
	}
	i := 0
	for ; i < len(bufs) && !c.queue.empty(); i++ {
		p := c.queue.pop()
		sizes[i] = copy(bufs[i], p.data)
		addrs[i] = p.src
		n.recycle(p)
	}
	return i, nil
}

// WriteBatch sends bufs[i] to addrs[i]. It returns how many were sent, and the
// first error; one destination that cannot be reached does not stop the others.
// It keeps none of the buffers, and blocks only while the host is paused.
func (c *Conn) WriteBatch(bufs [][]byte, addrs []netip.AddrPort) (sent int, err error) {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if e := c.writable(); e != nil {
		return 0, c.opError("write", e)
	}
	now := n.now()
	for i, b := range bufs {
		if e := c.write(now, b, addrs[i], defaultTTL); e == nil {
			sent++
		} else if err == nil {
			err = c.opError("write", e)
		}
	}
	n.poke()
	return sent, err
}

// WriteTTL sends one datagram with a time to live, 1 to 255; 0 means 64. Each
// router takes one off, and drops the packet at zero.
func (c *Conn) WriteTTL(b []byte, to netip.AddrPort, ttl int) error {
	if ttl == 0 {
		ttl = defaultTTL
	}
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	err := c.writable()
	if err == nil {
		err = c.write(n.now(), b, to, ttl)
	}
	if err != nil {
		return c.opError("write", err)
	}
	n.poke()
	return nil
}

// writable returns why nothing can be written at all, as soon as the host is not
// paused. The network's mutex is held.
func (c *Conn) writable() error {
	for c.err() == nil && c.host.paused() {
		c.readable.Wait()
	}
	switch err := c.err(); {
	case err != nil:
		return err
	case !c.writeBy.IsZero() && !time.Now().Before(c.writeBy):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// write enqueues a datagram for the scheduler. The network's mutex is held.
func (c *Conn) write(now int64, b []byte, to netip.AddrPort, ttl int) error {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	switch {
	case !to.IsValid() || to.Port() == 0 || to.Addr().IsUnspecified() || ttl < 0 || ttl > maxTTL:
		return syscall.EINVAL
	case len(b) > maxDatagram:
		return syscall.EMSGSIZE
	}
	if err := c.host.sendable(c.local.Addr(), to.Addr()); err != nil {
		return err
	}
	n := c.host.net
	p := n.newPacket(b)
	c.host.seq++
	p.src, p.dst, p.ttl = c.local, to, ttl
	p.origin, p.seq, p.at = c.host, c.host.seq, now
	n.ledger.sent++
	n.outbox.add(p)
	return nil
}

// LocalAddr returns the address the socket is bound to, a *net.UDPAddr.
func (c *Conn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

// SetReadBuffer sets how many bytes of datagrams, headers included, wait to be
// read; more are dropped. The default is 4 MiB.
func (c *Conn) SetReadBuffer(bytes int) error {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := c.err(); err != nil {
		return c.opError("set", err)
	}
	n.later(func() { c.limit = bytes })
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
	c.host.bound.remove(c)
	n.later(func() { c.host.open.remove(c) })
	return nil
}

// close does what Close and the closing of the network have in common. The
// network's mutex is held.
func (c *Conn) close() {
	c.closed = true
	c.discard()
}

// discard forgets what the socket holds, and wakes who waits for it.
func (c *Conn) discard() {
	c.readBy.stop()
	for !c.queue.empty() {
		c.host.net.recycle(c.queue.pop())
	}
	c.readable.Broadcast()
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: net.UDPAddrFromAddrPort(c.local), Err: err}
}
