package kcptransport

import (
	"sync"
	"time"
)

// What is kept of the packets that were sent, while there is a circuit to send them by once more.
const (
	maxRecent    = 4096            // packets, which is as much as 480 Mbit/s have in flight in 100 ms
	recentLife   = 2 * time.Second // after the last one
	resendBurst  = 8               // packets that are sent once more at a time, of each part, at least
	resendBursts = 64              // and at most
	resendPause  = 4 * time.Millisecond
)

// recentPackets keeps the packets that a link sent and that are not acknowledged, sealed as they were, the oldest first. When
// the path fails they are sent once more by a circuit: nobody has to find out first what got lost, because the peer drops what it
// has by packet number.
type recentPackets struct {
	list []recentPacket
	head int // of list; what is in front of it was given back

	again [2]span // to be sent once more, counted from the head
}

// span is a part of a list that is stepped through.
type span struct{ next, end int }

type recentPacket struct {
	at  time.Time
	n   int
	buf *[maxMaxPacket]byte
}

var recentBufs = sync.Pool{New: func() any { return new([maxMaxPacket]byte) }}

func (r *recentPackets) len() int { return len(r.list) - r.head }

// add keeps a copy of a packet.
func (r *recentPackets) add(now time.Time, packet []byte) {
	if r.len() == maxRecent {
		r.drop()
	}
	p := recentPacket{at: now, buf: recentBufs.Get().(*[maxMaxPacket]byte)}
	p.n = copy(p.buf[:], packet)
	r.list = append(r.list, p)
}

// drop gives the oldest back.
func (r *recentPackets) drop() {
	recentBufs.Put(r.list[r.head].buf)
	r.list[r.head] = recentPacket{}
	if r.head++; r.head > 64 && 2*r.head > len(r.list) {
		n := copy(r.list, r.list[r.head:])
		clear(r.list[n:])
		r.list, r.head = r.list[:n], 0
	}
}

// acked forgets what was sent before a time.
func (r *recentPackets) acked(before time.Time) {
	for r.len() > 0 && r.list[r.head].at.Before(before) {
		r.drop()
	}
}

// since returns how many packets were sent before a time.
func (r *recentPackets) since(at time.Time) int {
	for i, p := range r.list[r.head:] {
		if !p.at.Before(at) {
			return i
		}
	}
	return r.len()
}

// rewind begins to hand out again what was sent since a time. For half a round trip after that, some of it may have
// arrived, with only the acknowledgements lost, and what follows may be what the peer waits for: so it takes turns.
func (r *recentPackets) rewind(since time.Time, half time.Duration) {
	a, n := r.since(since), r.len()
	b := n
	if a < n {
		b = r.since(r.list[r.head+a].at.Add(half))
	}
	r.again = [2]span{{a, b}, {b, n}}
}

// next returns the next packet of the part whose turn it is, or of the other one; nil when none is left.
func (r *recentPackets) next() []byte {
	for i := range r.again {
		if s := &r.again[i]; s.next < s.end {
			p := r.list[r.head+s.next]
			s.next++
			return p.buf[:p.n]
		}
	}
	return nil
}

// turn makes it the other part's turn.
func (r *recentPackets) turn() { r.again[0], r.again[1] = r.again[1], r.again[0] }

// expires returns when nothing of it is of use any more; zero: there is nothing.
func (r *recentPackets) expires() time.Time {
	if r.len() == 0 {
		return time.Time{}
	}
	return r.list[len(r.list)-1].at.Add(recentLife)
}

// clear forgets all.
func (r *recentPackets) clear() {
	for r.len() > 0 {
		r.drop()
	}
	*r = recentPackets{}
}
