package netsim

import (
	"cmp"
	"slices"
)

// An outbox holds what sockets wrote until the scheduler takes it, one
// nanosecond later. What was written at one instant is taken in an order that
// does not depend on which goroutine ran first: by host, socket and
// destination. Packets of one socket to one destination keep the order in which
// they were written.
type outbox struct {
	packets []*packet // by time; the first ones in the order to be taken
	settled int       // how many are in that order
	taken   int       // of the settled ones
}

func (o *outbox) add(p *packet) { o.packets = append(o.packets, p) }

// settle fixes the order of what was written before now: nothing can be added
// to that any more.
func (o *outbox) settle(now int64) {
	if o.taken > 0 {
		o.packets = slices.Delete(o.packets, 0, o.taken)
		o.settled -= o.taken
		o.taken = 0
	}
	first := o.settled
	for o.settled < len(o.packets) && o.packets[o.settled].at < now {
		o.settled++
	}
	slices.SortFunc(o.packets[first:o.settled], compareWritten)
}

func compareWritten(a, b *packet) int {
	if c := cmp.Compare(a.at, b.at); c != 0 {
		return c
	}
	if c := cmp.Or(cmp.Compare(a.origin.id, b.origin.id), cmp.Compare(a.src.Port(), b.src.Port())); c != 0 {
		return c
	}
	return cmp.Or(a.dst.Compare(b.dst), a.src.Compare(b.src), cmp.Compare(a.seq, b.seq))
}

// waiting returns how many packets are still to be taken.
func (o *outbox) waiting() int { return len(o.packets) - o.taken }

// due returns when the next packet is to be taken, or never.
func (o *outbox) due() int64 {
	if o.waiting() == 0 {
		return never
	}
	return o.packets[o.taken].at + 1
}

func (o *outbox) take() *packet {
	p := o.packets[o.taken]
	o.taken++
	return p
}
