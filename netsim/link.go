package netsim

import "time"

// A Link says how packets travel in one direction between a host or router and
// its segment. The zero value is a link that is instant, endless and perfect.
type Link struct {
	Delay  time.Duration // one way
	Jitter time.Duration // added at random, 0 to this, never so that packets overtake each other
	Loss   float64       // share of packets lost at random, 0 to 1
	Rate   int64         // bits per second, headers of IP and UDP included; 0 means no limit
	Queue  int           // bytes that wait when Rate is reached; 0 means 100 ms worth, 64 KiB at least
	MTU    int           // bytes of the largest IP packet; 0 means 1500
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
	busy int64 // until when the bits of accepted packets take
	last int64 // when the last packet arrives, which none overtakes
}

func newPipe(l Link) *pipe { return &pipe{Link: l.withDefaults()} }

// carry sends p to where it arrives, or drops it. n.mu is held.
func (n *Network) carry(at int64, l *pipe, p *packet, where place) {
	size := p.size()
	switch {
	case size > l.MTU:
		n.drop(p, DropMTU)
		return
	case l.Loss > 0 && n.rand.Float64() < l.Loss:
		n.drop(p, DropLoss)
		return
	}
	depart := at
	if l.Rate > 0 {
		l.busy = max(l.busy, at)
		if waiting := float64(l.busy-at) * float64(l.Rate) / 8e9; int(waiting)+size > l.Queue && waiting >= 1 {
			n.drop(p, DropQueue)
			return
		}
		l.busy += int64(size) * 8 * int64(time.Second) / l.Rate
		depart = l.busy
	}
	arrive := depart + int64(l.Delay)
	if l.Jitter > 0 {
		arrive += n.rand.Int64N(int64(l.Jitter))
	}
	arrive = max(arrive, l.last)
	l.last = arrive
	if arrive == at {
		where.arrive(at, p)
		return
	}
	n.schedule(arrive, p, where)
}
