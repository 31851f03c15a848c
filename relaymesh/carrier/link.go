package carrier

import (
	"encoding/binary"
	"net/netip"
	"sync"
)

// A stream moves packets over a connection. Its methods are called from one goroutine
// each, and close makes both return.
type stream interface {
	read(b []byte) (int, error) // one packet
	write(frames []byte) error  // packets, each behind its length
	close()
}

// link is a connection at work: one goroutine reads, one writes.
type link struct {
	addr     netip.AddrPort
	stream   stream
	limit    int
	accepted bool

	mu      sync.Mutex
	pending []byte // frames that wait
	wake    chan struct{}
	ended   chan struct{}
	once    sync.Once
}

// add starts a link. It reports false when the Conn is closed or has too many.
func (c *Conn) add(s stream, accepted bool) (netip.AddrPort, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || (accepted && c.accepted >= c.cfg.Conns) {
		return netip.AddrPort{}, false
	}
	l := &link{
		addr: c.address(), stream: s, limit: c.cfg.Queue, accepted: accepted,
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	c.links[l.addr] = l
	c.open.Add(1)
	if accepted {
		c.accepted++
	}
	c.done.Add(2)
	go c.readFrom(l)
	go func() {
		defer c.done.Done()
		l.writeAll()
	}()
	return l.addr, true
}

// readFrom takes in what comes by a link until it ends.
func (c *Conn) readFrom(l *link) {
	defer c.done.Done()
	b := make([]byte, maxPacket)
	for {
		n, err := l.stream.read(b)
		if err != nil {
			break
		}
		c.arrived(b[:n], l.addr)
	}
	l.close()
	c.mu.Lock()
	delete(c.links, l.addr)
	if l.accepted {
		c.accepted--
	}
	c.mu.Unlock()
	c.open.Add(-1)
	if c.cfg.OnClose != nil {
		c.done.Go(func() { c.cfg.OnClose(l.addr) })
	}
}

// enqueue takes a packet when there is room.
func (l *link) enqueue(b []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending)+2+len(b) > l.limit {
		return false
	}
	l.pending = binary.BigEndian.AppendUint16(l.pending, uint16(len(b)))
	l.pending = append(l.pending, b...)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

// writeAll writes what waits until the link ends.
func (l *link) writeAll() {
	var frames []byte
	for {
		select {
		case <-l.wake:
		case <-l.ended:
			return
		}
		l.mu.Lock()
		frames, l.pending = l.pending, frames[:0]
		l.mu.Unlock()
		if err := l.stream.write(frames); err != nil {
			l.close()
			return
		}
	}
}

func (l *link) close() {
	l.once.Do(func() {
		close(l.ended)
		l.stream.close()
	})
}
