package kcptransport

import (
	"sync"
	"time"
)

// What is kept of the packets that were sent, while there is a circuit to send them by once more.
const (
	maxRecent   = 256             // packets
	recentLife  = 2 * time.Second // after the last one
	resendBurst = 8               // packets that are sent once more at a time, of each part
	resendPause = 4 * time.Millisecond
)

// recentPackets keeps the packets that a link sent last, sealed as they were. When the path fails they are sent once more by a
// circuit: nobody has to find out first what got lost, because the peer drops what it has by packet number.
type recentPackets struct {
	list  []recentPacket // a ring once it is full
	first int

	again [2]span // of the list, counted from the oldest: to be sent once more
}

// span is a part of a list that is stepped through.
type span struct{ next, end int }

type recentPacket struct {
	at  time.Time
	n   int
	buf *[maxMaxPacket]byte
}

var recentBufs = sync.Pool{New: func() any { return new([maxMaxPacket]byte) }}

// add keeps a copy of a packet, instead of the oldest one when there are too many.
func (r *recentPackets) add(now time.Time, packet []byte) {
	if len(r.list) < maxRecent {
		r.list = append(r.list, recentPacket{buf: recentBufs.Get().(*[maxMaxPacket]byte)})
		p := &r.list[len(r.list)-1]
		p.at, p.n = now, copy(p.buf[:], packet)
		return
	}
	p := &r.list[r.first]
	p.at, p.n = now, copy(p.buf[:], packet)
	r.first = (r.first + 1) % maxRecent
}

// at returns packet i, the oldest first.
func (r *recentPackets) at(i int) recentPacket { return r.list[(r.first+i)%len(r.list)] }

// rewind begins to hand out again what was sent since a time. For half a round trip after that, some of it may have
// arrived, with only the acknowledgements lost, and what follows may be what the peer waits for: so it takes turns.
func (r *recentPackets) rewind(since time.Time, half time.Duration) {
	a, n := r.since(since), len(r.list)
	b := n
	if a < n {
		b = r.since(r.at(a).at.Add(half))
	}
	r.again = [2]span{{a, b}, {b, n}}
}

// next returns the next packet of the part whose turn it is, or of the other one; nil when none is left.
func (r *recentPackets) next() []byte {
	for i := range r.again {
		if s := &r.again[i]; s.next < s.end {
			p := r.at(s.next)
			s.next++
			return p.buf[:p.n]
		}
	}
	return nil
}

// turn makes it the other part's turn.
func (r *recentPackets) turn() { r.again[0], r.again[1] = r.again[1], r.again[0] }

// since returns the index of the first packet that was sent at a time or later.
func (r *recentPackets) since(at time.Time) int {
	for i := range r.list {
		if !r.at(i).at.Before(at) {
			return i
		}
	}
	return len(r.list)
}

// expires returns when nothing of it is of use any more; zero: there is nothing.
func (r *recentPackets) expires() time.Time {
	if len(r.list) == 0 {
		return time.Time{}
	}
	return r.at(len(r.list) - 1).at.Add(recentLife)
}

// clear forgets all.
func (r *recentPackets) clear() {
	for _, p := range r.list {
		recentBufs.Put(p.buf)
	}
	*r = recentPackets{}
}
