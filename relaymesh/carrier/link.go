package carrier

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"
)

// A stream moves packets over a connection. Its methods are called from one goroutine
// each, and close makes both return.
type stream interface {
	read(b []byte, within time.Duration) (int, error) // one packet
	write(frames []byte) error                        // packets, each behind its length
	close()
}

// link is a connection at work: one goroutine reads, one writes.
type link struct {
	addr     netip.AddrPort
	stream   stream
	limit    int
	accepted bool
	source   netip.Addr // from where it was accepted; invalid when that is not known

	mu      sync.Mutex
	pending []byte    // frames that wait
	came    time.Time // when the first of them did
	leaving int       // bytes of frames that are being written
	left    time.Time // when the first of these came
	lost    bool      // one found no room since congested was asked
	wake    chan struct{}
	ended   chan struct{}
	once    sync.Once
}

// accept starts a link for who connected from an address, as net.Conn and http.Request tell it. It reports false when there are too many.
func (c *Conn) accept(s stream, remote string) bool {
	a, _ := netip.ParseAddrPort(remote) // whoever has none counts as one source
	_, ok := c.add(s, true, a.Addr().Unmap().WithZone(""))
	return ok
}

// network returns what is counted as one source: an IPv4 address or an IPv6 /64.
func network(a netip.Addr) netip.Prefix {
	p, _ := a.Prefix(min(64, a.BitLen()))
	return p
}

// add starts a link. It reports false when the Conn is closed or has too many.
func (c *Conn) add(s stream, accepted bool, source netip.Addr) (netip.AddrPort, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := network(source)
	full := c.accepted >= c.cfg.Conns || (c.cfg.ConnsPerIP > 0 && c.perIP[from] >= c.cfg.ConnsPerIP)
	if c.closed || (accepted && full) {
		return netip.AddrPort{}, false
	}
	l := &link{
		addr: c.address(), stream: s, limit: c.cfg.Queue, accepted: accepted, source: source,
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	c.links[l.addr] = l
	c.open.Add(1)
	if accepted {
		c.accepted++
		c.perIP[from]++
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
	b, within := make([]byte, maxPacket), idleTimeout
	if l.accepted {
		within = firstTimeout
	}
	for {
		n, err := l.stream.read(b, within)
		if err != nil {
			break
		}
		within = idleTimeout
		c.arrived(b[:n], l.addr)
	}
	l.close()
	c.mu.Lock()
	delete(c.links, l.addr)
	if l.accepted {
		c.accepted--
		from := network(l.source)
		if c.perIP[from]--; c.perIP[from] == 0 {
			delete(c.perIP, from)
		}
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
	if l.leaving+len(l.pending)+2+len(b) > l.limit {
		l.lost = true
		return false
	}
	if len(l.pending) == 0 {
		l.came = time.Now()
	}
	l.pending = binary.BigEndian.AppendUint16(l.pending, uint16(len(b)))
	l.pending = append(l.pending, b...)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

// congested reports whether packets wait for long, or find little room, or found none.
func (l *link) congested(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.came
	if l.leaving > 0 {
		first = l.left
	}
	n := l.leaving + len(l.pending)
	congested := l.lost || n > l.limit/4*3 || n > 0 && now.Sub(first) > longWait
	l.lost = false
	return congested
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
		l.leaving, l.left = len(frames), l.came
		l.mu.Unlock()
		if err := l.writePortions(frames); err != nil {
			l.close()
			return
		}
	}
}

// writePortions writes frames a few at a time, so that it is known how many wait.
func (l *link) writePortions(frames []byte) error {
	for len(frames) > 0 {
		end := 0
		for end < len(frames) && end < writePortion {
			end += 2 + int(binary.BigEndian.Uint16(frames[end:]))
		}
		if err := l.stream.write(frames[:end]); err != nil {
			return err
		}
		frames = frames[end:]
		l.mu.Lock()
		l.leaving -= end
		l.mu.Unlock()
	}
	return nil
}

func (l *link) close() {
	l.once.Do(func() {
		close(l.ended)
		l.stream.close()
	})
}
