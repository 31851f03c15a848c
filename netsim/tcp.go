package netsim

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// tcpWindow is how many bytes of a stream wait to be sent or acknowledged, and how
// many wait to be read.
const tcpWindow = 256 << 10

// A TCPConn is a stream between two hosts: reliable and in order, made of segments of
// TCP that cross links, queues and routers as datagrams do. It is a net.Conn, and may
// be used from several goroutines. Its errors are *net.OpError, and wrap io.EOF,
// net.ErrClosed, os.ErrDeadlineExceeded or a syscall.Errno, as those of real sockets do.
//
// It is a small TCP: cumulative acknowledgements, each at once, retransmission after
// max(200 ms, 2 RTT) or three duplicate acknowledgements, the congestion control of
// RFC 5681, keepalives each 15 s as Go's sockets send them. There are no selective
// acknowledgements, no Nagle, no urgent data and no simultaneous opening.
type TCPConn struct {
	host          *Host
	local, remote netip.AddrPort
	cond          sync.Cond // L is the network's mutex
	wishes        delayed[wishes]
	news          delayed[news]

	// Of calls.
	closed  bool
	writing bool  // a Write is under way, and others wait for it
	notSent int   // bytes that may wait to be sent; 0: as many as have room
	dies    int64 // when its host crashes, or never
	readBy  deadline
	writeBy deadline

	// Of both: bytes from what was acknowledged to what was written, and from what was
	// read to what has come.
	out, in ring

	// Of packets.
	listener *TCPListener // of one whose handshake is under way
	ready    int64        // when it came to be accepted
	due      int64        // when it has something to do
	place    int          // among the appointments; -1: none
	kick     int64        // when its next turn is asked for, or never
	tcpState
}

// wishes are what calls have done to a stream.
type wishes struct {
	written, read uint64 // bytes since its beginning
	ended, closed bool   // nothing more will be written; nor read
}

// news are what packets have done to a stream.
type news struct {
	open            bool   // the handshake is complete
	received, acked uint64 // bytes since its beginning
	sent            uint64 // the same, where notSent is set
	ended           bool   // the peer has sent its last byte
	err             error  // why it is over
}

func newTCPConn(h *Host, local, remote netip.AddrPort) *TCPConn {
	c := &TCPConn{host: h, local: local, remote: remote, dies: never, place: -1, kick: never, due: never}
	c.cond.L = &h.net.mu
	h.tcp.made[c] = struct{}{}
	h.tcp.take(local.Port())
	return c
}

// tell changes the wishes of calls, which packets see a nanosecond later.
func (c *TCPConn) tell(now int64, change func(*wishes)) {
	w := c.wishes.last
	change(&w)
	c.wishes.set(now, w)
	c.ask(now + 1)
	c.host.net.poke()
}

// ask asks for a turn, unless there is nothing to be done ever again.
func (c *TCPConn) ask(at int64) {
	if c.state == tcpOver {
		return
	}
	c.kick = min(c.kick, at)
	c.host.net.streams.make(c, min(c.due, c.kick))
}

// dead returns why nothing can be done with the stream from here, or nil.
func (c *TCPConn) dead(now int64) error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.dies <= now:
		return syscall.ENETDOWN
	}
	return nil
}

// Read implements net.Conn.
func (c *TCPConn) Read(b []byte) (int, error) {
	n, err := c.read(b)
	if err != nil && err != io.EOF { //nolint:errorlint // it is bare here, and has to be for callers
		err = c.opError("read", err)
	}
	return n, err
}

func (c *TCPConn) read(b []byte) (int, error) {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		now := n.now()
		news, from := c.news.seen(now), c.wishes.last.read
		switch err := c.dead(now); {
		case err != nil:
			return 0, err
		case c.host.paused():
		case c.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		case news.received > from:
			size := int(min(uint64(len(b)), news.received-from))
			c.in.get(from, b[:size])
			c.tell(now, func(w *wishes) { w.read += uint64(size) })
			return size, nil
		case news.err != nil:
			return 0, news.err
		case news.ended:
			return 0, io.EOF
		}
		c.cond.Wait()
	}
}

// Write implements net.Conn. It blocks while 256 KiB wait to be acknowledged.
func (c *TCPConn) Write(b []byte) (int, error) {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	written := 0
	mine := false
	for {
		now := n.now()
		err := c.writable(now)
		switch {
		case err != nil || (mine && written == len(b)):
			if mine {
				c.writing = false
				c.cond.Broadcast()
			}
			if err != nil {
				err = c.opError("write", err)
			}
			return written, err
		case c.host.paused() || (!mine && c.writing):
		default:
			mine, c.writing = true, true
			if size := c.write(now, b[written:]); size > 0 || len(b) == 0 {
				written += size
				continue
			}
		}
		c.cond.Wait()
	}
}

// writable returns why nothing can be written.
func (c *TCPConn) writable(now int64) error {
	switch err := c.dead(now); {
	case err != nil:
		return err
	case c.host.paused():
		return nil
	case c.writeBy.passed():
		return os.ErrDeadlineExceeded
	case c.wishes.last.ended:
		return syscall.EPIPE
	}
	return c.news.seen(now).err
}

// write takes as many bytes as there is room for.
func (c *TCPConn) write(now int64, b []byte) int {
	seen, written := c.news.seen(now), c.wishes.last.written
	acked := seen.acked
	size := min(len(b), int(acked+tcpWindow-written))
	if c.notSent > 0 {
		size = min(size, c.notSent-int(written-seen.sent))
	}
	if size > 0 {
		c.out.put(acked, written, b[:size])
		c.tell(now, func(w *wishes) { w.written += uint64(size) })
	}
	return size
}

// SetNotSent has Write block while so many bytes wait to be sent for the first time, as the option TCP_NOTSENT_LOWAT of real sockets
// does. 0, as at first, lets as many wait as there is room for. It is set before anything is written.
func (c *TCPConn) SetNotSent(bytes int) error {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	c.notSent = bytes
	return nil
}

// CloseWrite sends the end of the stream behind what was written. Reading goes on.
func (c *TCPConn) CloseWrite() error {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.now()
	if err := c.dead(now); err != nil {
		return c.opError("close", err)
	}
	c.tell(now, func(w *wishes) { w.ended = true })
	c.cond.Broadcast()
	return nil
}

// Close implements net.Conn. What was written before is still sent, unless something
// came that was not read: that resets the stream, as with a real socket.
func (c *TCPConn) Close() error {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.shut()
	c.tell(n.now(), func(w *wishes) { w.ended, w.closed = true, true })
	return nil
}

// shut ends all calls.
func (c *TCPConn) shut() {
	c.closed = true
	c.readBy.stop()
	c.writeBy.stop()
	c.cond.Broadcast()
}

// LocalAddr implements net.Conn. It is a *net.TCPAddr.
func (c *TCPConn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.local) }

// RemoteAddr implements net.Conn. It is a *net.TCPAddr.
func (c *TCPConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// SetDeadline implements net.Conn.
func (c *TCPConn) SetDeadline(t time.Time) error { return c.setDeadlines(t, &c.readBy, &c.writeBy) }

// SetReadDeadline implements net.Conn.
func (c *TCPConn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.readBy) }

// SetWriteDeadline implements net.Conn.
func (c *TCPConn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.writeBy) }

func (c *TCPConn) setDeadlines(t time.Time, which ...*deadline) error {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := c.dead(n.now()); err != nil {
		return c.opError("set", err)
	}
	for _, d := range which {
		d.set(t, &c.cond)
	}
	return nil
}

func (c *TCPConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
