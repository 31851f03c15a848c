package kcptransport

import (
	"time"

	"github.com/xtaci/kcp-go/v5"
)

// restAfter is how long nothing moves before a mux gives back the memory that it can do without.
const restAfter = 5 * time.Second

// stir notes that data moves. The time to rest is put off only when it has come, so that timers need not be set for
// every packet.
func (m *mux) stir() {
	if m.stirred = m.now; m.restAt == 0 {
		m.restAt = m.now + restAfter
	}
}

// restStep has the mux rest if it is time.
func (m *mux) restStep() {
	switch {
	case m.restAt == 0 || m.now < m.restAt:
	case m.now < m.stirred+restAfter:
		m.restAt = m.stirred + restAfter
	default:
		m.restAt = 0
		m.rest()
	}
}

// rest gives back the memory that an idle link can do without: after a file it would keep megabytes.
func (m *mux) rest() {
	m.log.rest()
	m.message, m.scratch = nil, nil
	for _, list := range []*[]*conversation{&m.later, &m.acking, &m.flushing, &m.touched, &m.active, &m.resting, &m.losing} {
		if len(*list) == 0 {
			*list = nil
		}
	}
	m.marks = nil
	for _, c := range m.convs {
		c.rest()
	}
	for i := range m.levels {
		l := &m.levels[i]
		if len(l.ready) == 0 {
			l.ready = nil
		}
		l.resend.rest()
		l.fresh.rest()
	}
	m.urgent.rest()
}

// rest forgets all transmissions if the fate of all is known.
func (l *txLog) rest() {
	if l.inflight == 0 {
		l.advanceOldest()
	}
	if l.oldest == l.next {
		l.ring = nil
	}
}

// rest gives back the list of an empty queue.
func (q *segQueue) rest() {
	if q.empty() {
		q.items, q.head = nil, 0
	}
}

// rest gives the machine back if nothing is in it. The next one begins to count where this one ended.
func (c *conversation) rest() {
	s, r := &c.send, &c.recv
	if c.kcp == nil || s.una != s.handed || s.provoked || r.next != r.consumed || r.highest != r.next || r.pushed || len(r.acks) > 0 {
		return
	}
	c.kcp, c.primed = nil, false
	s.segs, s.tail = nil, nil
	r.arrived, r.acks, r.repeats = nil, nil, nil
	c.startAnew()
	c.account()
}

// startAnew has the next machine begin at the numbers reached.
func (c *conversation) startAnew() {
	c.sendBase, c.recvBase = c.send.una, c.recv.next
	c.send.fed = c.sendBase - kcpReserve
	c.send.marked = c.send.fed
}

// awaken makes a machine if there is none.
func (c *conversation) awaken() {
	if c.kcp != nil {
		return
	}
	c.kcp = kcp.NewKCP(c.id, c.output)
	c.kcp.NoDelay(1, int(kcpTick/time.Millisecond), 2, 1)
	c.kcp.WndSize(sendSpan+kcpKept, recvWindowMax)
	c.kcp.SetMtu(c.mux.cfg.maxPayload)
	c.account()
}
