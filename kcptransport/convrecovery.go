package kcptransport

// overdue reports whether the fate of a segment was overlooked for so long that the machine's own timer is to be believed.
func (c *conversation) overdue(st *sentSegment) bool {
	t := c.mux.log.get(st.tx)
	if t == nil || t.state != txFlying {
		return true
	}
	return c.mux.probes == 0 && c.mux.now-t.sentAt > kcpFallback+4*c.mux.trip.probeTimeout()
}

// sendAgain queues segment sn for one more transmission.
func (c *conversation) sendAgain(sn uint32, raw []byte) {
	st := c.send.at(sn)
	if t := c.mux.log.get(st.tx); t != nil {
		c.mux.log.lose(t)
	}
	c.unlose(st)
	st.queued, st.again = true, true
	c.mux.counts.Retransmitted++
	if c.overtakes(len(raw)) {
		c.mux.urgent.push(c, raw)
		return
	}
	c.level().resend.push(c, raw)
}

// lost notes that the latest transmission of segment sn was lost.
func (c *conversation) lost(t *transmission) {
	s := &c.send
	if !s.has(t.sn) || s.at(t.sn).tx != t.num || s.stopped {
		return
	}
	st := s.at(t.sn)
	if st.acked || st.queued {
		return
	}
	if s.lost == 0 || before(s.lossTS, st.kcpTS) {
		s.lossTS = st.kcpTS
	}
	if !st.lost {
		st.lost = true
		s.lost++
	}
	c.repairLater()
}

func (c *conversation) unlose(st *sentSegment) {
	if st.lost {
		st.lost = false
		c.send.lost--
	}
}

// provokable reports whether KCP can be made to send again what was lost: only when later data was acknowledged.
func (c *conversation) provokable() bool {
	return c.send.has(c.send.maxAcked) && c.send.at(c.send.maxAcked).acked
}

func (c *conversation) repairLater() {
	if !c.listed.losing {
		c.listed.losing = true
		c.mux.losing = append(c.mux.losing, c)
	}
}

// repair has lost segments sent again.
func (c *conversation) repair() {
	c.listed.losing = false
	s := &c.send
	s.lossAt = 0
	if c.dead || s.lost == 0 {
		return
	}
	s.lossAt = c.mux.now + c.mux.trip.probeTimeout()
	c.mux.activate(c)
	if s.has(s.tailSN) && len(s.tail) > 0 && s.at(s.tailSN).lost {
		c.sendAgain(s.tailSN, s.tail)
	}
	if c.provokable() {
		c.provoke(s.maxAcked, s.lossTS)
		s.provoked = true
		c.mux.flushLater(c)
	}
}

// probe sends something again because the acknowledgement of t, the oldest transmission in flight, is overdue.
func (c *conversation) probe(t *transmission) {
	s := &c.send
	if !s.has(t.sn) || s.at(t.sn).tx != t.num || s.stopped {
		c.mux.log.forget(t)
		return
	}
	if len(s.tail) > 0 && s.has(s.tailSN) { // its acknowledgement will tell what else was lost
		if !s.at(s.tailSN).queued {
			c.sendAgain(s.tailSN, s.tail)
		}
		return
	}
	c.mux.log.lose(t)
	c.lost(t)
	c.repair()
	c.mux.activate(c)
}

// forgetFlights takes what this conversation has in flight out of the books.
func (c *conversation) forgetFlights() {
	s := &c.send
	for sn := s.una; sn != s.emitted; sn++ {
		if t := c.mux.log.get(s.at(sn).tx); t != nil && t.state == txFlying && t.conv == c.id && t.sn == sn {
			c.mux.log.forget(t)
		}
	}
	c.hand(-s.handedBytes)
	s.handed = s.emitted
	s.outstanding, s.lost, s.lossAt = 0, 0, 0
	s.tail = s.tail[:0]
}
