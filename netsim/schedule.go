package netsim

import (
	"math"
	"time"
)

// never is later than everything.
const never = math.MaxInt64

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
		if next == never {
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

// turn does what is due, in the order of time, and returns when the next thing
// is, or never. What coincides goes by kind: changes, packets written, packets
// under way, streams, wakeups.
func (n *Network) turn() (next int64) {
	now := n.now()
	n.outbox.settle(now)
	for {
		change, write, arrival := n.changes.due(), n.outbox.due(), n.arrivals.due()
		stream, wake := n.streams.due(), n.wakeups.due()
		switch next = min(change, write, arrival, stream, wake); {
		case next > now && n.wakeAt > now:
			return min(next, n.wakeAt)
		case next > now:
			n.wakeReaders()
			return next
		case next == change:
			n.changes.next()
		case next == write:
			p := n.outbox.take()
			p.origin.depart(next, p)
		case next == arrival:
			p, l := n.arrivals.next()
			l.to.arrive(next, p)
		case next == stream:
			n.streams[0].turn(next)
		default:
			n.wakeups.next()
		}
	}
}

// wakeReaders wakes those who wait for the packets delivered in this turn: all
// at once, so that the batches they read do not depend on when they run.
func (n *Network) wakeReaders() {
	for i, c := range n.ready {
		c.readable.Broadcast()
		c.inReady = false
		n.ready[i] = nil
	}
	n.ready = n.ready[:0]
}
