package kcptransport

import (
	"math"
	"time"
)

const (
	handPortion  = 16                    // segments a stream hands over before it is another's turn, at most
	pacerQueue   = 12 * time.Millisecond // at most so much waits for the pacer, or KCP would take it for lost
	pacerMinimum = 8                     // segments that may wait for it in any case
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
	m.restStep()
}

// The lists. A conversation is in each at most once.

func (m *mux) makeReady(c *conversation) {
	if !c.listed.ready && !c.dead {
		c.listed.ready = true
		l := c.level()
		l.ready = append(l.ready, c)
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
	window, queue := m.ctrl.window(), m.pacerQueue()
	room := window - m.log.inflight // what lower levels have queued takes none from higher ones
	for i := range m.levels {
		l := &m.levels[i]
		if room -= l.queued(); len(l.ready) > 0 {
			limit := max(min(room, queue-l.queued()), l.credit/levelShare-l.queued())
			room -= m.fillLevel(l, limit, window, queue)
		}
	}
	for _, c := range m.flushing {
		c.listed.flushing = false
		c.flush()
	}
	clear(m.flushing)
	m.flushing = m.flushing[:0]
	if room > 0 && !m.waiting() && m.handedBytes == 0 && !m.held() {
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

// pacerQueue returns how many bytes of a level may wait for the pacer.
func (m *mux) pacerQueue() int {
	rate := m.ctrl.rate()
	if rate == 0 {
		return math.MaxInt
	}
	return max(int(rate*pacerQueue.Seconds()), pacerMinimum*m.cfg.maxPayload)
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
	gentle := m.ctrl.gentle(m.now)
	for {
		l, q := m.nextQueue()
		if q == nil {
			return dst
		}
		c, raw := q.front()
		if l != nil && !m.pace.allows() || len(dst)+len(raw) > limit {
			return dst
		}
		start := len(dst)
		m.log.gentle = gentle && m.pace.even()
		dst = c.transmit(m.now, dst, raw)
		q.pop()
		if l != nil && q == &l.fresh {
			c.send.inFresh--
		}
		if n := len(dst) - start; n > 0 {
			m.pace.spend(n)
			m.counts.Sent++
			if l != nil {
				m.accountLevel(l, n)
			}
		}
	}
}

// nextQueue returns the queue whose front is next to leave and the level that it belongs to, nil for the urgent one;
// no queue = nothing waits.
func (m *mux) nextQueue() (*sendLevel, *segQueue) {
	if !m.urgent.empty() {
		return nil, &m.urgent
	}
	for i := range m.levels {
		if l := &m.levels[i]; len(l.ready) > 0 && l.fresh.bytes() < pacerMinimum/2*m.cfg.maxPayload {
			m.fill()
			break
		}
	}
	l := m.pickLevel()
	switch {
	case !m.urgent.empty():
		return nil, &m.urgent
	case l == nil:
		return nil, nil
	case !l.resend.empty():
		return l, &l.resend
	}
	return l, &l.fresh
}

// waiting reports whether segments wait for the pacer.
func (m *mux) waiting() bool { return !m.urgent.empty() || m.pickLevel() != nil }

// next returns when advance has something to do; the zero time = never, unless something happens.
func (m *mux) next() time.Time {
	if m.closed || m.noPath {
		return time.Time{}
	}
	t := earliest(earliest(m.lossAt, m.probeAt()), m.restAt)
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
	if noticed || m.handedBytes > 0 || m.waiting() {
		return !m.closed
	}
	for i := range m.levels {
		if len(m.levels[i].ready) > 0 {
			return !m.closed
		}
	}
	for _, c := range m.convs {
		if c.send.outstanding > 0 || c.unsent() {
			return true
		}
	}
	return false
}
