package relaymesh

import (
	"context"
	"time"
)

// drainPause is the least time between two rounds of Run, so that packets leave in batches however high the limit is. A bucket
// holds what comes in ten times as long.
const drainPause = 500 * time.Microsecond

// hold lets a copy of a packet wait. ready is how long that takes at least. The caller has the lock.
func (s *Switch) hold(now time.Time, e *entry, p []byte, ready time.Duration) {
	if len(p) > maxTransit {
		s.dropped(e, &s.stats.Overflow)
		return
	}
	w := s.buffer()
	if w == nil {
		s.dropped(e, &s.stats.Overflow)
		return
	}
	w.entry, w.since, w.n = e, now, copy(w.buf[:], p)
	e.conn.push(w, e.side)
	s.stats.Queued++
	for at := &e.conn.flow; at != nil; at = at.above {
		for at.queued > at.most() {
			s.release(s.overflow(at))
		}
	}
	// Without a wait of its own, the packet waits for others, and Run knows when.
	if at := now.Add(ready); ready > 0 && (s.due.IsZero() || at.Before(s.due)) {
		s.due = at
		s.signal()
	}
}

// signal has Run look when something is due.
func (s *Switch) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// buffer returns one for a packet that is to wait: a free or a new one, or else that of a packet of the fullest circuit.
func (s *Switch) buffer() *waiting {
	switch w := s.free; {
	case w != nil:
		s.free, w.next = w.next, nil
		return w
	case s.made < s.cfg.QueuePackets:
		s.made++
		return &waiting{}
	case s.total.queued > 0:
		return s.overflow(&s.total)
	}
	return nil // all are being sent
}

// overflow drops a packet of the fullest circuit of a flow.
func (s *Switch) overflow(f *flow) *waiting {
	circuit, side := f.fullest()
	w := circuit.drop(side)
	s.stats.Queued--
	s.dropped(w.entry, &s.stats.Overflow)
	return w
}

func (s *Switch) dropped(e *entry, why *uint64) {
	*why++
	e.conn.dropped++
	e.conn.account.dropped++
}

// release gives a buffer back.
func (s *Switch) release(w *waiting) {
	w.entry, w.next = nil, s.free
	s.free = w
}

// discard drops all that waits for a circuit, which has ended.
func (s *Switch) discard(f *flow) {
	for side := range f.lines {
		for f.lines[side].head != nil {
			s.release(f.drop(Side(side)))
			s.stats.Queued--
		}
	}
}

// Run sends what a limit made wait, until ctx ends, and returns its error. While nothing waits it does nothing. It is called once.
func (s *Switch) Run(ctx context.Context) error {
	var batch departure
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			if wait, any := s.drain(&batch); any {
				timer.Reset(max(wait, drainPause))
			}
		case <-s.wake:
			s.mu.Lock()
			wait := time.Until(s.due)
			s.mu.Unlock()
			timer.Reset(wait)
		}
	}
}

// departure is a batch that Run sends.
type departure struct {
	list [forwardBatch]*waiting
	out  parcels
}

// drain sends all that may leave now. It reports how long it takes until more may, if there is more.
func (s *Switch) drain(d *departure) (wait time.Duration, more bool) {
	for {
		now := time.Now()
		s.mu.Lock()
		n, wait := s.depart(now, d)
		if n == 0 {
			more = s.total.queued > 0
			s.due = time.Time{}
			if more {
				s.due = now.Add(wait)
			}
			s.mu.Unlock()
			return wait, more
		}
		s.mu.Unlock()
		s.unwritten(d.out.write(s.cfg.Write))
		s.mu.Lock()
		for i, w := range d.list[:n] {
			w.entry.conn.leaving--
			s.release(w)
			d.list[i] = nil
		}
		s.mu.Unlock()
	}
}

// depart takes a batch out of the queues. The caller has the lock.
func (s *Switch) depart(now time.Time, d *departure) (n int, wait time.Duration) {
	s.batches++
	d.out.number = s.batches
	for n < forwardBatch && s.total.queued > 0 {
		circuit, side, _, ready := s.total.peek(now)
		if circuit == nil {
			return n, ready
		}
		w := circuit.lines[side].head
		if now.Sub(w.since) > circuit.patience() && w.next != nil {
			circuit.drop(side)
			s.stats.Queued--
			s.dropped(w.entry, &s.stats.Late)
			s.release(w)
			continue
		}
		_, marked := circuit.take(now, side)
		s.stats.Queued--
		to := w.entry.to.Addr()
		if !to.IsValid() {
			s.stats.Unready++
			s.release(w)
			continue
		}
		if marked || s.cfg.Congested(to) {
			w.buf[0] = typeRelayedMarked
			s.stats.Marked++
		}
		circuit.leaving++
		d.list[n] = w
		d.out.add(&w.entry.place, w.bytes(), to)
		n++
		s.carried(w.entry.conn, 1, w.n)
	}
	return n, 0
}
