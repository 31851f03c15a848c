package api

import "time"

// Limits of what is remembered of broadcasts.
const (
	maxOrigins = 4096            // authors remembered; the longest silent one is forgotten first
	maxBoots   = 4               // runs remembered of one author, who could fill the table with them
	maxHeld    = 64              // broadcasts of one author held back for an earlier one
	maxHeldSum = 8 << 20         // bytes held back of all authors together
	holdFor    = 2 * time.Second // how long a gap is waited for
)

// An origin identifies one run of one author's playground.
type origin struct {
	peer [32]byte
	boot uint64
}

// broadcastOrder delivers each broadcast of an author once and in the author's
// order, though copies arrive by several ways. It is pure: the caller gives the
// time and does what it returns. The zero value is ready. Not for concurrent use.
type broadcastOrder struct {
	origins map[origin]*originState
	held    int // bytes of payload held back
}

type originState struct {
	next uint64 // number of the next broadcast to deliver
	held map[uint64]*envelope
	due  time.Time // when to give up on the gap before the held ones; zero when none is held
	seen time.Time
}

// add takes in broadcast e, which was verified. It returns what may be
// delivered now, in order, and whether e was new (and so is to be passed on).
func (b *broadcastOrder) add(now time.Time, o origin, e *envelope) (ready []*envelope, fresh bool) {
	st := b.state(now, o, e.Number)
	st.seen = now
	if e.Number < st.next || st.held[e.Number] != nil {
		return nil, false
	}
	st.held[e.Number] = e
	b.held += len(e.Payload)
	if len(st.held) > maxHeld || b.held > maxHeldSum {
		st.skip()
	}
	ready = b.drain(st)
	switch {
	case len(st.held) == 0:
		st.due = time.Time{}
	case st.due.IsZero() || len(ready) > 0:
		st.due = now.Add(holdFor)
	}
	return ready, true
}

// expire returns what was held back too long, and when to call it next (zero
// when nothing is held).
func (b *broadcastOrder) expire(now time.Time) (ready []*envelope, next time.Time) {
	for _, st := range b.origins {
		if st.due.IsZero() {
			continue
		}
		if !now.Before(st.due) {
			st.skip()
			ready = append(ready, b.drain(st)...)
			st.due = time.Time{}
			if len(st.held) > 0 {
				st.due = now.Add(holdFor)
			}
		}
		next = sooner(next, st.due)
	}
	return ready, next
}

func (b *broadcastOrder) state(now time.Time, o origin, first uint64) *originState {
	if st := b.origins[o]; st != nil {
		return st
	}
	if b.origins == nil {
		b.origins = map[origin]*originState{}
	}
	if run, n := b.oldest(func(other origin) bool { return other.peer == o.peer }); n >= maxBoots {
		b.forget(run)
	} else if len(b.origins) >= maxOrigins {
		oldest, _ := b.oldest(func(origin) bool { return true })
		b.forget(oldest)
	}
	st := &originState{next: first, held: map[uint64]*envelope{}, seen: now}
	b.origins[o] = st
	return st
}

// oldest returns the longest silent of the origins that pick picks, and how many there are.
func (b *broadcastOrder) oldest(pick func(origin) bool) (oldest origin, n int) {
	var at time.Time
	for o, st := range b.origins {
		if !pick(o) {
			continue
		}
		if n++; n == 1 || st.seen.Before(at) {
			oldest, at = o, st.seen
		}
	}
	return oldest, n
}

func (b *broadcastOrder) forget(o origin) {
	for _, e := range b.origins[o].held {
		b.held -= len(e.Payload)
	}
	delete(b.origins, o)
}

// skip gives up on the gap before the lowest held broadcast.
func (s *originState) skip() {
	lowest := uint64(0)
	for n := range s.held {
		if lowest == 0 || n < lowest {
			lowest = n
		}
	}
	if lowest > s.next {
		s.next = lowest
	}
}

// drain takes out of s what is next in order.
func (b *broadcastOrder) drain(s *originState) (ready []*envelope) {
	for e := s.held[s.next]; e != nil; e = s.held[s.next] {
		delete(s.held, s.next)
		b.held -= len(e.Payload)
		ready = append(ready, e)
		s.next++
	}
	return ready
}
