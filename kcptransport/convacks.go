package kcptransport

// onAcks takes una and the window, which every segment carries, and the acknowledgement in an ACK.
func (c *conversation) onAcks(seg kcpSegment) error {
	s := &c.send
	if before(s.emitted, seg.una) || seg.cmd == kcpAck && !before(seg.sn, s.emitted) {
		return errSegmentRange
	}
	if seg.cmd == kcpAck {
		c.onAckOf(seg.sn, seg.ts)
	}
	if s.stopped {
		if before(s.una, seg.una) {
			s.una = seg.una
		}
		return nil
	}
	moved := before(s.una, seg.una)
	for ; before(s.una, seg.una); s.una++ {
		if st := s.at(s.una); !st.acked {
			c.covered(s.una, st)
		}
	}
	edge := seg.una + min(uint32(seg.wnd), recvWindowMax)
	if before(s.edge, edge) {
		s.edge = edge
		s.persistAt = 0
		moved = true
	}
	if moved {
		if s.backlog {
			s.backlog = false
			c.mux.makeReady(c)
		}
		if int32(s.una-s.fed) > kcpKept || s.outstanding == 0 {
			c.mux.flushLater(c)
		}
	}
	return nil
}

// covered notes that segment sn arrived, as una says, which does not tell when.
func (c *conversation) covered(sn uint32, st *sentSegment) {
	c.arrived(sn, st)
	t := c.mux.log.get(st.tx)
	switch {
	case t == nil:
	case st.again && t.state == txFlying && c.mux.now-t.sentAt < c.mux.trip.min: // it was an earlier transmission
		c.mux.log.forget(t)
	default:
		c.mux.log.ack(c.mux.now, t, false)
	}
}

// onAckOf notes the acknowledgement of the transmission ts of segment sn.
func (c *conversation) onAckOf(sn, ts uint32) {
	log := &c.mux.log
	if t := log.get(ts); t != nil && t.conv == c.id && t.sn == sn {
		log.ack(c.mux.now, t, true)
	}
	if !c.send.has(sn) || c.send.stopped {
		return
	}
	st := c.send.at(sn)
	if st.acked {
		return
	}
	if t := log.get(st.tx); t != nil && t.state == txFlying { // an earlier transmission arrived after all
		log.forget(t)
	}
	if sn != c.send.una { // the one at una is acknowledged by moving una
		c.mux.marks = append(c.mux.marks, ackMark{c, sn})
	}
	c.arrived(sn, st)
	if before(c.send.maxAcked, sn) || before(c.send.maxAcked, c.send.una) {
		c.send.maxAcked = sn
		if c.send.lost > 0 {
			c.repairLater() // what is before it can be sent again now
		}
	}
}

func (c *conversation) arrived(sn uint32, st *sentSegment) {
	c.unlose(st)
	st.acked = true
	c.send.outstanding--
	if c.send.outstanding == 0 || sn == c.send.tailSN {
		c.send.tail = c.send.tail[:0]
	}
}
