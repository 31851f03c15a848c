package relaymesh

import "time"

// What waits at a relay: short queues, since a long one only delays.
const (
	queueTime  = 20 * time.Millisecond // no packet waits longer, except the last one of a queue, and where packets take long
	queueSlots = 4                     // packets, that may wait there for up to twice the time
	markAfter  = 5 * time.Millisecond  // a packet that waited longer is marked, where one takes no longer than that
	queueBytes = 8 * maxTransit        // what may wait where the rate is so low that 20 ms are less
	quantum    = maxTransit            // of the round robin: one packet at least
	maxTransit = 1500                  // bytes of a packet that can wait

	networkShares = 16 // shares of the total that the peers of one network get at most, however many they are
)

// waiting is a packet that waits, in a buffer of the pool.
type waiting struct {
	next  *waiting
	entry *entry
	since time.Time
	n     int
	buf   [maxTransit]byte
}

func (w *waiting) bytes() []byte { return w.buf[:w.n] }

// flow is one node of a tree of four levels: all that a switch carries, what it carries for the peers of one network, for one peer,
// and one circuit. All but networks have a limit of their own. Peers share the total evenly, whatever they send and on however many circuits, and the
// circuits of a peer share what is the peer's: deficit round robin, by bytes (Shreedhar and Varghese, 1995). A network has as many shares
// as peers, up to 16: keys cost nothing, and who has thousands of them in one place is not to have all.
//
// Time is passed in, and the caller locks.
type flow struct {
	parent *flow
	above  *flow // the next one that has a limit, which networks have not
	bucket bucket
	shares int // of the parent's turns: 0 is one

	queued  int  // bytes that wait here and below
	starved bool // what waits here waits for this level's bucket

	busy       *flow // the first of a ring of those below that have something waiting: its turn
	prev, next *flow // in the parent's ring
	deficit    int   // bytes that this one may still send in its turn
	turn       bool  // it has got the deficit of its turn

	lines   [2]line // of a circuit: one for each direction
	first   Side    // the line whose turn it is
	leaving int     // packets of a circuit that were taken out and are not sent yet: later ones must not overtake them
}

// line is a queue of packets.
type line struct {
	head, tail *waiting
	bytes      int
	lost       bool // packets that were dropped since one left
}

func (l *line) push(w *waiting) {
	if l.tail == nil {
		l.head = w
	} else {
		l.tail.next = w
	}
	l.tail = w
	l.bytes += w.n
}

func (l *line) pop() *waiting {
	w := l.head
	if l.head = w.next; l.head == nil {
		l.tail = nil
	}
	w.next = nil
	l.bytes -= w.n
	return w
}

// most returns how many bytes may wait here and below.
func (f *flow) most() int {
	if f.bucket.rate == 0 {
		return 1 << 30 // the pool of buffers ends before
	}
	return max(int(f.bucket.rate*queueTime.Seconds()), queueBytes)
}

// slot returns how long a packet takes at the narrowest limit from here up; 0 where there is none.
func (f *flow) slot() (d time.Duration) {
	for at := f; at != nil; at = at.above {
		if at.bucket.rate > 0 {
			d = max(d, time.Duration(maxTransit/at.bucket.rate*float64(time.Second)))
		}
	}
	return d
}

// patience returns how long a packet may wait, unless it is the last one. A sender has two in flight, at least, and others are between.
func (f *flow) patience() time.Duration { return max(queueTime, min(queueSlots*f.slot(), 2*queueTime)) }

// admit reports whether a packet may pass at once. It may not while what belongs before it waits. When it may not, ready is how
// long it takes at least until one may.
func (f *flow) admit(now time.Time, n int) (ok bool, ready time.Duration) {
	ok = f.queued == 0 && f.leaving == 0
	for at := f; at != nil; at = at.above {
		if at.queued == 0 {
			at.starved = false
		}
		if d := at.bucket.wait(now, n); d > 0 {
			at.starved = true
			ready = max(ready, d)
		}
		ok = ok && !at.starved
	}
	if !ok {
		return false, ready
	}
	for at := f; at != nil; at = at.above {
		at.bucket.take(n)
	}
	return true, 0
}

// push lets a packet wait at a circuit.
func (f *flow) push(w *waiting, side Side) {
	f.lines[side].push(w)
	for at := f; at != nil; at = at.parent {
		if at.queued == 0 && at.parent != nil {
			at.join()
		}
		at.queued += w.n
	}
}

// join puts a flow at the end of its parent's ring.
func (f *flow) join() {
	f.deficit, f.turn = 0, false
	first := f.parent.busy
	if first == nil {
		f.parent.busy, f.prev, f.next = f, f, f
		return
	}
	f.prev, f.next = first.prev, first
	f.prev.next, f.next.prev = f, f
}

// leave takes a flow out of its parent's ring.
func (f *flow) leave() {
	if f.parent.busy == f {
		f.parent.busy = f.next
	}
	if f.next == f {
		f.parent.busy = nil
	}
	f.prev.next, f.next.prev = f.next, f.prev
	f.prev, f.next = nil, nil
}

// peek finds the packet that is to leave next and may, and returns its circuit, which line it is in, and how large it is. When none
// may, the circuit is nil and ready is how long that takes at least. Until something changes, f.take takes this packet.
func (f *flow) peek(now time.Time) (leaf *flow, side Side, n int, ready time.Duration) {
	leaf, side, n, ready = f.below(now)
	if leaf == nil {
		return nil, 0, 0, ready
	}
	wait := f.bucket.wait(now, n)
	if f.starved = wait > 0; f.starved {
		return nil, 0, 0, wait
	}
	return leaf, side, n, 0
}

// below is peek without the limit of this level.
func (f *flow) below(now time.Time) (leaf *flow, side Side, n int, ready time.Duration) {
	if f.busy == nil {
		side = f.first
		if f.lines[side].head == nil {
			side = 1 - side
		}
		return f, side, f.lines[side].head.n, 0
	}
	var until *flow // the first that was found unable to send: when its turn comes again, all are
	for {
		at := f.busy
		if at == until {
			return nil, 0, 0, ready
		}
		if !at.turn {
			at.turn, at.deficit = true, at.deficit+quantum*max(at.shares, 1)
		}
		leaf, side, n, wait := at.peek(now)
		if leaf != nil && n <= at.deficit {
			return leaf, side, n, 0
		}
		if leaf == nil { // it waits for its own limit, and saves nothing up meanwhile
			at.deficit = 0
			if ready == 0 || wait < ready {
				ready = wait
			}
			if until == nil {
				until = at
			}
		} else {
			until = nil
		}
		at.turn = false
		f.busy = at.next
	}
}

// take takes the first packet of one line out, pays for it and marks it where its sender is to slow down.
func (f *flow) take(now time.Time, side Side) (w *waiting, marked bool) {
	l := &f.lines[side]
	n := l.head.n
	if marked = l.lost || now.Sub(l.head.since) > max(markAfter, f.slot()); marked {
		l.head.buf[0], l.lost = typeRelayedMarked, false
	}
	for at := f; at != nil; at = at.parent {
		at.bucket.take(n)
		at.deficit -= n
	}
	f.first = 1 - side
	return f.remove(side), marked
}

// drop takes the first packet of one line out for nothing.
func (f *flow) drop(side Side) *waiting {
	f.lines[side].lost = true
	return f.remove(side)
}

func (f *flow) remove(side Side) *waiting {
	w := f.lines[side].pop()
	for at := f; at != nil; at = at.parent {
		if at.queued -= w.n; at.queued == 0 && at.parent != nil {
			at.leave()
		}
	}
	return w
}

// fullest returns the circuit that has most waiting among those of the peer that has most waiting in the network that has most for its
// share, and its longer line.
func (f *flow) fullest() (*flow, Side) {
	for f.busy != nil {
		most := f.busy
		for at := most.next; at != f.busy; at = at.next {
			if at.queued*max(most.shares, 1) > most.queued*max(at.shares, 1) {
				most = at
			}
		}
		f = most
	}
	if f.lines[SideB].bytes > f.lines[SideA].bytes {
		return f, SideB
	}
	return f, SideA
}
