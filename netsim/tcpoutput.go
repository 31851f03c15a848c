package netsim

import (
	"hash/crc32"
	"syscall"
)

// turn does what there is to do: what calls wish, what segments called for, what is due.
func (c *TCPConn) turn(at int64) {
	w := c.wishes.seen(at)
	c.kick = never
	if c.wishes.since >= at { // a call of this very instant, which counts from the next on
		c.kick = c.wishes.since + 1
	}
	switch c.state {
	case tcpNew:
		if w.closed || c.dies <= at {
			c.vanish()
			return
		}
		c.begin(at, tcpAsking)
		c.openOrRetry(at)
	case tcpAsking, tcpAnswering:
		if w.closed {
			c.abandon(at)
			return
		}
		c.openOrRetry(at)
	default:
		c.work(at, w)
	}
	c.plan()
}

// plan makes the appointment for the next turn.
func (c *TCPConn) plan() {
	if c.state == tcpOver {
		return
	}
	due := min(c.kick, c.rtoAt, c.lingerTo)
	if c.state == tcpOpen && c.rtoAt == never {
		due = min(due, c.heard+int64(keepaliveEvery))
	}
	c.host.net.streams.make(c, due)
}

// openOrRetry sends the SYN, or the answer to one, for the first time or again.
func (c *TCPConn) openOrRetry(at int64) {
	head, tries := tcpHeader{flags: flagSYN, seq: c.isn}, synRetries
	if c.state == tcpAnswering {
		head.flags, tries = flagSYN|flagACK, synAckRetries
	}
	switch {
	case c.top == c.isn:
		c.send.sent(at, c.isn+1)
	case c.rtoAt <= at:
		if c.retries++; c.retries > tries {
			c.fail(at, syscall.ETIMEDOUT)
			return
		}
		c.send.timing = false
		c.send.rto = min(2*c.send.rto, maxRTO)
	case !c.resend:
		return
	}
	c.top = c.isn + 1
	c.resend, c.owesAck = false, false
	c.rtoAt = at + int64(c.send.rto)
	c.transmit(at, head, 0)
}

// work is a turn of a stream that is open.
func (c *TCPConn) work(at int64, w wishes) {
	received := c.rcv - c.irs - 1
	if c.peerEnded {
		received--
	}
	if w.closed && received > w.read { // nobody will read that
		c.abandon(at)
		return
	}
	end := c.isn + 1 + w.written
	c.expire(at, end)
	if c.state == tcpOver {
		return
	}
	c.sendData(at, end, w.ended)
	if room := c.irs + 1 + w.read + tcpWindow; room >= c.offered+tcpWindow/2 {
		c.owesAck = true
	}
	if c.owesAck {
		c.transmit(at, tcpHeader{flags: flagACK, seq: c.top}, 0)
	}
	c.rearm(at, end, w)
}

// expire does what is due.
func (c *TCPConn) expire(at int64, end uint64) {
	switch {
	case c.lingerTo <= at:
		c.vanish()
	case c.rtoAt <= at && c.una == c.top: // no room at the peer, but who knows
		c.send.rto = min(2*c.send.rto, maxRTO)
		c.rtoAt = at + int64(c.send.rto)
		c.probe(at, dataRetries)
	case c.rtoAt <= at:
		if c.retries++; c.retries > dataRetries {
			c.fail(at, syscall.ETIMEDOUT)
			return
		}
		c.send.expired(c.una, c.top, c.mss)
		c.next, c.resend = c.una, false
		c.rtoAt = at + int64(c.send.rto)
	case c.state == tcpOpen && c.rtoAt == never && at-c.heard >= int64(keepaliveEvery):
		c.probe(at, keepaliveTries)
	}
}

// probe asks the peer whether it is there: it has to answer what it has already.
func (c *TCPConn) probe(at int64, tries int) {
	if c.probes++; c.probes > tries {
		c.fail(at, syscall.ETIMEDOUT)
		return
	}
	c.heard = at
	c.transmit(at, tcpHeader{flags: flagACK, seq: c.una - 1}, 0)
}

// sendData sends what may be sent of the data up to end, and the end itself.
func (c *TCPConn) sendData(at int64, end uint64, ended bool) {
	if c.resend {
		c.resend = false
		c.segment(at, c.una, int(min(uint64(c.mss), c.top-c.una)), end)
	}
	limit := min(c.edge, c.una+uint64(c.send.window))
	for c.next < end && c.next < limit {
		size := min(c.mss, int(end-c.next), int(limit-c.next))
		if size < c.mss && c.next+uint64(size) < end && c.next > c.una {
			return // wait for room for a whole one
		}
		c.segment(at, c.next, size, end)
		c.next += uint64(size)
		c.sent(at)
	}
	if ended && c.next == end {
		c.fin = true
		c.first = c.first || !c.peerEnded
		c.next++
		c.transmit(at, tcpHeader{flags: flagFIN | flagACK, seq: end}, 0)
		c.sent(at)
	}
}

// sent notes that everything before next was sent.
func (c *TCPConn) sent(at int64) {
	if c.next > c.top {
		c.top = c.next
		c.send.sent(at, c.top)
		if sent := min(c.top-c.isn-1, c.wishes.seen(at).written); c.notSent > 0 {
			c.tellNews(at, func(v *news) { v.sent = sent })
		}
	}
}

// segment sends data of a size, or the end when that comes next.
func (c *TCPConn) segment(at int64, seq uint64, size int, end uint64) {
	flags := byte(flagACK)
	if c.fin && seq+uint64(size) > end {
		flags |= flagFIN
		size--
	}
	if size > 0 && seq+uint64(size) == end {
		flags |= flagPSH
	}
	c.transmit(at, tcpHeader{flags: flags, seq: seq}, size)
}

// transmit sends a segment with data of a size, which begins at its sequence number.
func (c *TCPConn) transmit(at int64, h tcpHeader, size int) {
	read := c.wishes.seen(at).read
	n := c.host.net
	p := n.newPacket(nil)
	if size > 0 {
		p.data = p.data[:size]
		c.out.get(h.seq-c.isn-1, p.data)
		p.sum = crc32.Checksum(p.data, castagnoli)
	}
	p.dst = c.remote
	if h.has(flagSYN) {
		h.mss = uint16(min(c.mss, defaultMTU-p.headers()))
		h.window = tcpWindow
	}
	if h.has(flagACK) {
		h.ack = c.rcv
		c.owesAck = false
		if !h.has(flagSYN) {
			c.offered = max(c.irs+1+read+tcpWindow, c.rcv)
			h.window = uint32(c.offered-c.rcv) &^ (1<<tcpScale - 1)
		}
	}
	c.host.emit(at, p, c.local, c.remote, h)
}

// rearm sets the timers.
func (c *TCPConn) rearm(at int64, end uint64, w wishes) {
	switch {
	case c.una < c.top || c.next < end:
		if c.rtoAt == never {
			c.rtoAt = at + int64(c.send.rto)
		}
		return
	default:
		c.rtoAt = never
	}
	if !c.fin || c.una != c.top || c.lingerTo != never {
		return
	}
	switch { // our end has been acknowledged
	case c.peerEnded && !c.first:
		c.vanish()
	case c.peerEnded:
		c.state = tcpLingering
		c.lingerTo = at + int64(lingerFor)
	case w.closed: // and if the peer says nothing more, we do not wait for long
		c.lingerTo = at + int64(lingerFor)
	}
}
