package netsim

import (
	"cmp"
	"slices"
	"syscall"
)

// input takes a segment in. What it calls for is sent in the stream's next turn, at
// this instant, when everything has arrived that arrives now.
func (c *TCPConn) input(at int64, p *packet) {
	h := p.tcp
	c.refreshed(at)
	c.ask(at)
	switch {
	case h.has(flagRST):
		c.wasReset(at, h)
	case c.state == tcpAsking:
		c.wasAnswered(at, p)
	case h.has(flagSYN):
		if c.state == tcpAnswering && c.rcv == 0 {
			c.irs, c.rcv = h.seq, h.seq+1
			c.heardSYN(h)
			return
		}
		c.challenge(at) // it did not get ours, or it is not the one whom we know
		c.resend = c.state == tcpAnswering
	case !h.has(flagACK):
	default:
		if c.acknowledge(at, p) {
			c.take(at, p)
		}
	}
}

// challenge answers what cannot be of this stream, so that its sender may reset it; not
// often, as it may think the same of our answer (RFC 5961, section 7).
func (c *TCPConn) challenge(at int64) {
	if at >= c.challenged {
		c.owesAck = true
		c.challenged = at + int64(challengeEvery)
	}
}

// heardSYN keeps what the peer tells of itself.
func (c *TCPConn) heardSYN(h tcpHeader) {
	c.mss = int(h.mss)
	c.edge = c.isn + 1 + uint64(h.window)
	c.offered = c.rcv + tcpWindow
}

// wasReset is for a RST. It has to be about this stream, not an older one (RFC 9293,
// section 3.5.3).
func (c *TCPConn) wasReset(at int64, h tcpHeader) {
	switch {
	case c.state == tcpAsking:
		if h.has(flagACK) && h.ack == c.isn+1 {
			c.fail(at, syscall.ECONNREFUSED)
		}
	case h.seq+tcpWindow >= c.rcv && h.seq <= c.rcv+tcpWindow:
		c.fail(at, syscall.ECONNRESET)
	}
}

// wasAnswered is for what comes after our SYN.
func (c *TCPConn) wasAnswered(at int64, p *packet) {
	h := p.tcp
	if !h.has(flagACK) {
		return
	}
	if !h.has(flagSYN) || h.ack != c.isn+1 { // of an older stream
		c.host.refuse(at, c.local, c.remote, h, len(p.data))
		return
	}
	c.irs, c.rcv = h.seq, h.seq+1
	c.heardSYN(h)
	c.opened(at)
	c.owesAck = true
}

// opened ends the handshake: our SYN was acknowledged.
func (c *TCPConn) opened(at int64) {
	c.state = tcpOpen
	c.una, c.next = c.isn+1, c.isn+1
	c.retries, c.rtoAt = 0, never
	c.send.acked(at, c.una, 0, c.mss)
	c.send.opened(c.mss)
	c.tellNews(at, func(v *news) { v.open = true })
}

// acknowledge takes an acknowledgement. It reports whether the segment belongs to the
// stream.
func (c *TCPConn) acknowledge(at int64, p *packet) bool {
	h := p.tcp
	if h.ack > c.top || h.ack+4*tcpWindow < c.una || h.seq > c.rcv+4*tcpWindow || h.seq+4*tcpWindow < c.rcv {
		c.challenge(at)
		return false
	}
	if c.state == tcpAnswering {
		if h.ack != c.isn+1 {
			return false
		}
		c.opened(at)
		if !c.listener.established(at, c) {
			c.abandon(at)
			return false
		}
	}
	edge := max(c.edge, h.ack+uint64(h.window))
	switch {
	case h.ack > c.una:
		size := int(h.ack - c.una)
		c.una, c.next = h.ack, max(c.next, h.ack)
		c.retries, c.rtoAt = 0, never
		c.resend = c.send.acked(at, h.ack, size, c.mss)
		acked := min(c.una-c.isn-1, c.wishes.seen(at).written)
		c.tellNews(at, func(v *news) { v.acked = acked })
	case h.ack == c.una && c.una < c.top && edge == c.edge && len(p.data) == 0 && !h.has(flagFIN):
		c.resend = c.send.duplicate(c.una, c.top, c.mss) || c.resend
	}
	c.edge = edge
	return true
}

// take takes the data of a segment, and the end.
func (c *TCPConn) take(at int64, p *packet) {
	h := p.tcp
	s := span{h.seq, h.seq + uint64(len(p.data))}
	if s.from == s.to && !h.has(flagFIN) {
		c.owesAck = c.owesAck || s.from < c.rcv // a probe, which wants an answer
		return
	}
	c.owesAck = true
	if h.has(flagFIN) {
		c.end, c.endIsKnown = s.to, true
	}
	read := c.wishes.seen(at).read
	limit := c.irs + 1 + read + tcpWindow
	s = span{max(s.from, c.rcv), min(s.to, limit)}
	if s.from < s.to {
		if !c.keep(s) {
			return
		}
		c.in.put(read, s.from-c.irs-1, p.data[s.from-h.seq:s.to-h.seq])
	}
	c.advance(at)
}

// keep notes a span that has come, and reports false when there are too many gaps.
func (c *TCPConn) keep(s span) bool {
	if len(c.early) >= maxEarly && s.from > c.rcv {
		return false
	}
	c.early = append(c.early, s)
	slices.SortFunc(c.early, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	merged := c.early[:1]
	for _, o := range c.early[1:] {
		if last := &merged[len(merged)-1]; o.from <= last.to {
			last.to = max(last.to, o.to)
		} else {
			merged = append(merged, o)
		}
	}
	c.early = merged
	return true
}

// advance tells calls what has come without a gap.
func (c *TCPConn) advance(at int64) {
	if len(c.early) > 0 && c.early[0].from <= c.rcv {
		c.rcv = c.early[0].to
		c.early = slices.Delete(c.early, 0, 1)
		received := c.rcv - c.irs - 1
		c.tellNews(at, func(v *news) { v.received = received })
	}
	if c.endIsKnown && !c.peerEnded && c.rcv == c.end {
		c.rcv++
		c.peerEnded = true
		c.first = c.fin
		c.tellNews(at, func(v *news) { v.ended = true })
	}
}
