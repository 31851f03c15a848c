package netsim

import (
	"fmt"
	"time"
)

// A Link says how packets travel in one direction between a host or router and
// its segment. The zero value is a link that is instant, endless and perfect.
//
// A packet waits in the queue, takes its time to be sent at Rate, and is lost or
// arrives after Delay and Jitter. What is left to chance is drawn from the
// network's seed, and only for what is on: a link with nothing to draw changes
// nothing for the others.
type Link struct {
	Delay  time.Duration // one way
	Jitter time.Duration // added at random, 0 to this, never so that packets overtake each other
	Loss   float64       // share of packets lost at random, 0 to 1
	Rate   int64         // bits per second, headers of IP and UDP included; 0 means no limit
	Queue  int           // bytes that wait when Rate is reached; 0 means 100 ms worth, 64 KiB at least
	MTU    int           // bytes of the largest IP packet; 0 means 1500. Larger ones are dropped, not fragmented
	Hops   int           // routers on the way that do nothing but take one off the time to live

	// Burst makes losses come in bursts of this many packets on average, so that
	// Loss is still their share (the model of Gilbert and Elliott: the link is good,
	// or bad and loses all). 0 means that each packet is lost or not by itself. To
	// lose more than every other packet takes bursts of at least Loss/(1-Loss).
	Burst float64

	// Reorder is the share of packets, 0 to 1, that are held up for up to ReorderBy
	// (1 ns at least), at random, while those behind go on.
	Reorder   float64
	ReorderBy time.Duration

	// Duplicate is the share of packets, 0 to 1, that arrive twice. The second one
	// does not count for Rate, and has a Jitter of its own.
	Duplicate float64

	// DownEvery makes the link go down again and again: at the end of each such time
	// since the network's start, for DownFor. It drops what enters it then. 0 means
	// never.
	DownEvery, DownFor time.Duration

	// Corrupt is the share of packets, 0 to 1, of which a bit flips. In the headers
	// it costs the packet; in the data it arrives, as from a router with bad memory
	// that makes the checksum anew, so that the program has to notice.
	Corrupt float64
}

const (
	defaultMTU   = 1500
	defaultQueue = 64 << 10
)

func (l Link) withDefaults() Link {
	if l.MTU == 0 {
		l.MTU = defaultMTU
	}
	if l.Queue == 0 {
		l.Queue = max(defaultQueue, int(l.Rate/8/10))
	}
	return l
}

// mustBeSound panics when the fields of a link make no sense: shares given in percent
// are the usual mistake.
func (l Link) mustBeSound() {
	for _, share := range []float64{l.Loss, l.Reorder, l.Duplicate, l.Corrupt} {
		if !(share >= 0 && share <= 1) {
			panic(fmt.Sprintf("netsim: a link has a share of %v, which is not 0 to 1", share))
		}
	}
	least := min(l.Delay, l.Jitter, l.ReorderBy, l.DownFor, l.DownEvery-l.DownFor)
	if least < 0 || !(l.Burst >= 0) || min(l.Rate, int64(l.Queue), int64(l.MTU), int64(l.Hops)) < 0 {
		panic(fmt.Sprintf("netsim: a link has something negative, or is down for longer than DownEvery: %+v", l))
	}
}

// pipe is one direction of a link at work.
type pipe struct {
	Link
	to   place
	line packetQueue // packets under way
	busy int64       // until when the bits of accepted packets take
	last int64       // when the last packet arrives, which none overtakes
	bad  bool        // in a burst of losses

	downUntil int64

	tap *tap // what captures see of it, or nil
}

func newPipe(l Link) *pipe { return &pipe{Link: l.withDefaults()} }

// setLink changes both directions of an interface's link.
func (i *iface) setLink(up, down Link) {
	i.up.Link, i.down.Link = up.withDefaults(), down.withDefaults()
}

// enqueue returns when the last bit of a packet has left, or false when the
// queue is full. A packet that finds the link idle is never too large for it.
func (l *pipe) enqueue(at int64, size int) (departs int64, ok bool) {
	if l.Rate <= 0 {
		return at, true
	}
	l.busy = max(l.busy, at)
	waiting := int(float64(l.busy-at) * float64(l.Rate) / 8e9)
	if waiting > 0 && waiting+size > l.Queue {
		return 0, false
	}
	l.busy += int64(size) * 8 * int64(time.Second) / l.Rate
	return l.busy, true
}

// carry sends p to the other end of a pipe, or drops it. n.mu is held.
func (n *Network) carry(at int64, l *pipe, p *packet) {
	l.tap.see(at, p)
	if l.isDown(at) {
		n.drop(at, p, DropLinkDown)
		return
	}
	p.clamp(l.MTU)
	size := p.size()
	if size > l.MTU {
		n.drop(at, p, DropMTU)
		return
	}
	if p.ttl -= l.Hops; p.ttl <= 0 {
		n.drop(at, p, DropTTL)
		return
	}
	departs, ok := l.enqueue(at, size)
	if !ok {
		n.drop(at, p, DropQueue)
		return
	}
	if l.loses(n.rand) {
		n.drop(at, p, DropLoss)
		return
	}
	if chance(n.rand, l.Corrupt) && !p.damage(n.rand) {
		n.drop(at, p, DropCorrupt)
		return
	}
	var twin *packet
	if chance(n.rand, l.Duplicate) {
		twin = n.duplicate(at, p) // now, as p may be at its end after travel
	}
	l.tap.leaves(p)
	n.travel(at, departs, l, p)
	if twin != nil {
		n.travel(at, departs, l, twin)
	}
}

// travel lets a packet that left at departs, now or later, arrive at the other end.
func (n *Network) travel(at, departs int64, l *pipe, p *packet) {
	arrives := departs + int64(l.Delay)
	if l.Jitter > 0 {
		arrives += n.rand.Int64N(int64(l.Jitter) + 1)
	}
	if chance(n.rand, l.Reorder) {
		n.arrivals.addLate(arrives+1+n.rand.Int64N(max(1, int64(l.ReorderBy))), p, l)
		return
	}
	arrives = max(arrives, l.last)
	l.last = arrives
	if arrives == at && l.line.empty() {
		l.to.arrive(at, p)
		return
	}
	n.arrivals.add(arrives, p, l)
}
