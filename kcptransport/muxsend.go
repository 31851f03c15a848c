package kcptransport

import "time"

const (
	handPortion  = 16                    // messages a stream hands over before it is another's turn
	pacerQueue   = 12 * time.Millisecond // at most so much waits for the pacer, or KCP would take it for lost
	pacerMinimum = 32                    // segments that may wait for it in any case
)

// advance does what time, and the calls of users, made due.
func (m *mux) advance(now time.Time) {
	m.setNow(now)
	if m.closed {
		return
	}
	m.lookAtNoticed()
	if m.noPath {
		return
	}
	if m.lossAt != 0 && m.lossAt <= m.now {
		m.findLosses()
	}
	if at := m.probeAt(); at != 0 && at <= m.now {
		m.probe()
	}
	m.active, m.resting = m.resting[:0], m.active
	for _, c := range m.resting {
		c.listed.active = false
		if c.tick(m.now) {
			m.activate(c)
		}
	}
	clear(m.resting)
	m.fill()
}

// The lists. A conversation is in each at most once.

func (m *mux) makeReady(c *conversation) {
	if !c.listed.ready && !c.dead {
		c.listed.ready = true
		m.ready = append(m.ready, c)
	}
}

func (m *mux) acknowledgeLater(c *conversation) {
	if !c.listed.acking {
		c.listed.acking = true
		m.acking = append(m.acking, c)
	}
}

func (m *mux) flushLater(c *conversation) {
	if !c.listed.flushing {
		c.listed.flushing = true
		m.flushing = append(m.flushing, c)
	}
}

func (m *mux) activate(c *conversation) {
	if !c.listed.active && !c.dead {
		c.listed.active = true
		m.active = append(m.active, c)
	}
}

// fill moves data of users into KCP, as far as the controller and the pacer's queue allow, and lets KCP send.
func (m *mux) fill() {
	limit := m.ctrl.window() - m.log.inflight
	if rate := m.ctrl.rate(); rate > 0 {
		limit = min(limit, max(int(rate*pacerQueue.Seconds()), pacerMinimum*m.cfg.maxPayload))
	}
	limit -= m.fresh.bytes() + m.handedBytes
	quantum := min(m.ctrl.window()/8, handPortion*m.cfg.maxPayload)
	done := 0
	for limit > 0 && done < len(m.ready) { // who has more to give gets in line again
		if c := m.ready[done]; limit < quantum && c.saves() {
			m.later = append(m.later, c)
		} else {
			limit -= m.fillFrom(c, limit)
		}
		done++
	}
	left := copy(m.ready, m.ready[done:])
	left += copy(m.ready[left:], m.later)
	clear(m.ready[left:])
	m.ready = m.ready[:left]
	clear(m.later)
	m.later = m.later[:0]
	for _, c := range m.flushing {
		c.listed.flushing = false
		c.flush()
	}
	clear(m.flushing)
	m.flushing = m.flushing[:0]
	if limit > 0 && !m.waiting() && m.handedBytes == 0 && !m.held() {
		m.log.idle()
	}
}

// held reports whether there is data that waits only for losses to be repaired.
func (m *mux) held() bool {
	for _, c := range m.active {
		if c.send.backlog && c.send.has(c.send.maxAcked) {
			return true
		}
	}
	return false
}

func (m *mux) fillFrom(c *conversation, limit int) int {
	c.listed.ready = false
	if c.dead {
		return 0
	}
	n, more := c.handOver(handPortion, limit)
	if n > 0 {
		m.flushLater(c)
		m.activate(c)
	}
	if more {
		m.makeReady(c)
	}
	return n
}

// poll appends the segments of one packet that may leave now. It is called until it says that there is none.
func (m *mux) poll(now time.Time, dst []byte) ([]byte, bool) {
	m.setNow(now)
	if m.closed || m.noPath {
		return dst, false
	}
	start := len(dst)
	limit := start + m.cfg.maxPayload
	dst, room := m.pollAcks(dst, limit)
	if room {
		dst = m.pollData(dst, limit)
	}
	return dst, len(dst) > start
}

// pollAcks appends what is not paced. It reports whether there may be room left.
func (m *mux) pollAcks(dst []byte, limit int) (_ []byte, room bool) {
	for i, c := range m.acking {
		var done bool
		if dst, done = c.appendAcks(dst, limit); !done {
			n := copy(m.acking, m.acking[i:])
			clear(m.acking[n:])
			m.acking = m.acking[:n]
			return dst, false
		}
		c.listed.acking = false
	}
	clear(m.acking)
	m.acking = m.acking[:0]
	return dst, true
}

// pollData appends data as far as the pacer allows: what is sent again first.
func (m *mux) pollData(dst []byte, limit int) []byte {
	m.pace.refill(m.now, m.ctrl.rate())
	for {
		q := m.nextQueue()
		if q == nil {
			return dst
		}
		c, raw := q.front()
		if q != &m.urgent && !m.pace.allows() || len(dst)+len(raw) > limit {
			return dst
		}
		start := len(dst)
		dst = c.transmit(m.now, dst, raw)
		q.pop()
		if q == &m.fresh {
			c.send.inFresh--
		}
		if n := len(dst) - start; n > 0 {
			m.pace.spend(n)
			m.counts.Sent++
		}
	}
}

// nextQueue returns the queue whose front is next to leave, nil = nothing waits.
func (m *mux) nextQueue() *segQueue {
	switch {
	case !m.urgent.empty():
		return &m.urgent
	case !m.resend.empty():
		return &m.resend
	}
	if len(m.ready) > 0 && m.fresh.bytes() < pacerMinimum/2*m.cfg.maxPayload {
		m.fill()
		if !m.urgent.empty() {
			return &m.urgent
		}
	}
	if m.fresh.empty() {
		return nil
	}
	return &m.fresh
}

// waiting reports whether segments wait for the pacer.
func (m *mux) waiting() bool { return !m.urgent.empty() || !m.resend.empty() || !m.fresh.empty() }

// next returns when advance has something to do; the zero time = never, unless something happens.
func (m *mux) next() time.Time {
	if m.closed || m.noPath {
		return time.Time{}
	}
	t := earliest(m.lossAt, m.probeAt())
	if m.waiting() {
		t = earliest(t, m.pace.when())
	}
	for _, c := range m.active {
		t = earliest(t, c.due())
	}
	if t == 0 {
		return time.Time{}
	}
	return m.start.Add(t)
}

// blocked says whether there is no path. Without one nothing leaves.
func (m *mux) blocked(blocked bool) {
	if m.noPath == blocked {
		return
	}
	m.noPath = blocked
	if !blocked {
		m.retry()
	}
}

// pending reports whether something waits to be sent or acknowledged.
func (m *mux) pending() bool {
	m.mu.Lock()
	noticed := len(m.noticed) > 0
	m.mu.Unlock()
	if noticed || m.handedBytes > 0 || m.waiting() || len(m.ready) > 0 {
		return !m.closed
	}
	for _, c := range m.convs {
		if c.send.outstanding > 0 || c.unsent() {
			return true
		}
	}
	return false
}
