package netsim

import "time"

// A Link says how packets travel in one direction between a host or router and
// its segment. The zero value is a link that is instant, endless and perfect.
//
// A packet waits in the queue, takes its time to be sent at Rate, and is lost or
// arrives after Delay and Jitter.
type Link struct {
	Delay  time.Duration // one way
	Jitter time.Duration // added at random, 0 to this, never so that packets overtake each other
	Loss   float64       // share of packets lost at random, 0 to 1
	Rate   int64         // bits per second, headers of IP and UDP included; 0 means no limit
	Queue  int           // bytes that wait when Rate is reached; 0 means 100 ms worth, 64 KiB at least
	MTU    int           // bytes of the largest IP packet; 0 means 1500. Larger ones are dropped, not fragmented
	Hops   int           // routers on the way that do nothing but take one off the time to live
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

// pipe is one direction of a link at work.
type pipe struct {
	Link
	to   place
	line packetQueue // packets under way
	busy int64       // until when the bits of accepted packets take
	last int64       // when the last packet arrives, which none overtakes
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
	size := p.size()
	if size > l.MTU {
		n.drop(at, p, DropMTU)
		return
	}
	if p.ttl -= l.Hops; p.ttl <= 0 {
		n.drop(at, p, DropTTL)
		return
	}
	arrives, ok := l.enqueue(at, size)
	if !ok {
		n.drop(at, p, DropQueue)
		return
	}
	if l.Loss > 0 && n.rand.Float64() < l.Loss {
		n.drop(at, p, DropLoss)
		return
	}
	arrives += int64(l.Delay)
	if l.Jitter > 0 {
		arrives += n.rand.Int64N(int64(l.Jitter) + 1)
	}
	arrives = max(arrives, l.last)
	l.last = arrives
	if arrives == at && l.line.empty() {
		l.to.arrive(at, p)
		return
	}
	n.arrivals.add(arrives, p, l)
}
