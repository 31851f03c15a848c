package netsim

import (
	"cmp"
	"slices"
	"time"
)

// An event is a packet that reaches a place at a time.
type event struct {
	at     int64
	order  uint64
	packet *packet
	place  place
}

// A place takes packets in: a segment, or the interface of a host or router.
type place interface {
	arrive(at int64, p *packet)
}

// eventHeap is a binary heap by time, then by order.
type eventHeap []event

func (e event) before(o event) bool {
	return e.at < o.at || (e.at == o.at && e.order < o.order)
}

func (h *eventHeap) push(e event) {
	*h = append(*h, e)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if !s[i].before(s[up]) {
			return
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

func (h *eventHeap) pop() event {
	s := *h
	top := s[0]
	last := len(s) - 1
	s[0] = s[last]
	s[last] = event{}
	s = s[:last]
	*h = s
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < last; c++ {
			if s[c].before(s[least]) {
				least = c
			}
		}
		if least == i {
			return top
		}
		s[i], s[least] = s[least], s[i]
		i = least
	}
}

// schedule lets p arrive at a place later. n.mu is held.
func (n *Network) schedule(at int64, p *packet, where place) {
	n.order++
	n.events.push(event{at: at, order: n.order, packet: p, place: where})
}

// run is the scheduler: it moves packets until the network closes.
func (n *Network) run() {
	defer close(n.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		n.mu.Lock()
		if n.closed {
			n.mu.Unlock()
			return
		}
		next := n.turn()
		pause := time.Duration(next - n.now())
		n.mu.Unlock()
		if next < 0 {
			<-n.wake
			continue
		}
		if pause <= 0 {
			continue
		}
		timer.Reset(pause)
		select {
		case <-n.wake:
		case <-timer.C:
		}
	}
}

// turn does what is due and returns when the next thing is, or -1.
func (n *Network) turn() (next int64) {
	now := n.now()
	n.takeWritten(now)
	for len(n.events) > 0 && n.events[0].at <= now {
		e := n.events.pop()
		e.place.arrive(e.at, e.packet)
	}
	for i, c := range n.ready {
		c.readable.Broadcast()
		c.inReady = false
		n.ready[i] = nil
	}
	n.ready = n.ready[:0]
	next = -1
	if len(n.events) > 0 {
		next = n.events[0].at
	}
	for _, p := range n.written {
		if next < 0 || p.at+1 < next {
			next = p.at + 1
		}
	}
	return next
}

// takeWritten sends what was written before this instant on its way, in an
// order that does not depend on the order in which goroutines ran: by time,
// host, socket and destination. Packets of one socket to one destination keep
// the order in which they were written.
func (n *Network) takeWritten(now int64) {
	if len(n.written) == 0 {
		return
	}
	slices.SortFunc(n.written, func(a, b *packet) int {
		if c := cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.origin.id, b.origin.id), cmp.Compare(a.src.Port(), b.src.Port())); c != 0 {
			return c
		}
		return cmp.Or(a.dst.Compare(b.dst), a.src.Compare(b.src), cmp.Compare(a.seq, b.seq))
	})
	taken := 0
	for _, p := range n.written {
		if p.at >= now {
			break
		}
		taken++
		n.ledger.sent++
		n.ledger.note(p.at, p)
		p.origin.depart(p.at+1, p)
	}
	n.written = slices.Delete(n.written, 0, taken)
}
