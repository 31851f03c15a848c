package kcptransport

import "slices"

const (
	priorityLevels = 3
	// levelShare is the part of the rate, one in so many, that a level keeps while those above it want it all.
	levelShare = 16
	// maxLevelCredit bounds what a level saves up of its share, in segments.
	maxLevelCredit = 4
)

// sendLevel is what the streams of one priority have to send. Lower levels wait for higher ones, except for their share:
// for every byte that a higher level sends, they are due a sixteenth of one. The streams of a level take turns by bytes
// (deficit round robin, Shreedhar and Varghese, 1995).
type sendLevel struct {
	ready         []*conversation // to hand messages over, in turn
	resend, fresh segQueue        // for the pacer: what was lost, and what was not sent yet
	handed        int             // bytes given to KCP and not yet let go
	credit        int             // of the level's share: bytes times levelShare
}

func (l *sendLevel) waiting() bool { return !l.resend.empty() || !l.fresh.empty() }

// busy reports whether the level has anything to send.
func (l *sendLevel) busy() bool { return l.waiting() || l.handed > 0 || len(l.ready) > 0 }

// queued returns how many bytes are on the way from the streams to their first sending.
func (l *sendLevel) queued() int { return l.fresh.bytes() + l.handed }

// pickLevel returns the level that sends next, nil when nothing waits: the highest, unless a lower one is due its share.
func (m *mux) pickLevel() *sendLevel {
	var pick *sendLevel
	for i := range m.levels {
		l := &m.levels[i]
		if l.waiting() && (pick == nil || l.credit >= levelShare*m.cfg.maxPayload) {
			pick = l
		}
	}
	return pick
}

// accountLevel notes that l sent so many bytes.
func (m *mux) accountLevel(l *sendLevel, bytes int) {
	l.credit = max(l.credit-levelShare*bytes, 0)
	for i := len(m.levels) - 1; &m.levels[i] != l; i-- {
		lower := &m.levels[i]
		if lower.credit = min(lower.credit+bytes, maxLevelCredit*levelShare*m.cfg.maxPayload); !lower.busy() {
			lower.credit = 0
		}
	}
}

// fillLevel has the streams of l hand over up to limit bytes, and returns how many they did. Who has more to give than
// its turn gets in line again. window and queue are what may be in flight, and wait for the pacer.
func (m *mux) fillLevel(l *sendLevel, limit, window, queue int) (total int) {
	most := handPortion * m.cfg.maxPayload
	turn := min(max(window/32, 2*m.cfg.maxPayload), most)
	portion := min(window/8, most, queue/2) // what a stream with little reserve hands over at once
	saving := false
	done := 0
	for total < limit && done < len(l.ready) {
		c := l.ready[done]
		most := c.send.turn
		if c.hasMuch() {
			saves := c.saves()
			if saving = saving || saves && limit-total < portion; saving { // all who have much wait, in order
				m.later = append(m.later, c)
				done++
				continue
			}
			if saves {
				most = max(most, portion)
			}
		}
		n, more := 0, true
		if c.send.turn > 0 {
			n, more = m.fillFrom(c, min(limit-total, most))
			c.send.turn -= n
			total += n
		}
		if more && c.send.turn > 0 { // goes on when there is room again
			break
		}
		done++
		c.listed.ready = false
		if more {
			c.send.turn += turn
			m.makeReady(c)
		} else {
			c.send.turn = min(c.send.turn, 0) // turns cannot be saved up
		}
	}
	m.later = append(m.later, l.ready[done:]...)
	clear(l.ready)
	l.ready = append(l.ready[:0], m.later...)
	clear(m.later)
	m.later = m.later[:0]
	return total
}

func (m *mux) fillFrom(c *conversation, limit int) (total int, more bool) {
	if c.dead {
		return 0, false
	}
	total, more = c.handOver(limit)
	if total > 0 {
		m.flushLater(c)
		m.activate(c)
	}
	return total, more
}

// setLevel moves c to another level. What is already queued for the pacer stays where it is.
func (c *conversation) setLevel(level int) {
	old, l := c.level(), &c.mux.levels[level]
	if old == l {
		return
	}
	old.handed -= c.send.handedBytes
	l.handed += c.send.handedBytes
	c.levelIndex = uint8(level)
	if c.listed.ready {
		old.ready = slices.DeleteFunc(old.ready, func(other *conversation) bool { return other == c })
		l.ready = append(l.ready, c)
	}
}

func (c *conversation) level() *sendLevel { return &c.mux.levels[c.levelIndex] }

// hand accounts for bytes given to KCP, or, when negative, let go by it.
func (c *conversation) hand(bytes int) {
	c.send.handedBytes += bytes
	c.mux.handedBytes += bytes
	c.level().handed += bytes
}

// overtakes reports whether c may send a segment of so many bytes ahead of all levels, and accounts for it: streams that
// send little may, unless they would overtake a higher level.
func (c *conversation) overtakes(size int) bool {
	if c.levelIndex == uint8(PriorityBulk.level()) {
		return false
	}
	for i := range c.levelIndex {
		if c.mux.levels[i].busy() {
			return false
		}
	}
	return c.mux.sparse.take(c.mux.now, &c.send, size, c.mux.pace.rate)
}
