package netsim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Config configures a network. The zero value will do.
type Config struct {
	Seed uint64 // decides loss, jitter and random ports

	// Wait is called by each [SettledConn] when a loop has its turn, so that it begins
	// only after everything else of that instant, such as the timers of the program.
	// Give it testing/synctest.Wait, and call that nowhere else in the bubble. Without
	// it, what the program does by timers of its own may race turns, when they
	// fire at the very nanosecond of one.
	Wait func()
}

// A Network is one virtual internet. Its methods, and those of everything in
// it, may be called from any goroutine.
type Network struct {
	mu        sync.Mutex // guards everything below and everything in the network
	start     time.Time
	rand      *rand.Rand
	wait      func()
	internet  *Segment
	hosts     []*Host
	changes   changes
	outbox    outbox
	arrivals  arrivals
	streams   appointments
	wakeups   wakeups
	free      *packet
	pooled    int     // packets in free
	ready     []*Conn // that got packets in this turn
	partition map[[2]*Host]bool
	wires     []wire
	captures  []*capture
	wakeAt    int64 // and when they may know
	turns     turns
	ledger    ledger
	closed    bool

	wake chan struct{} // holds one token when there is news for the scheduler
	done chan struct{} // closed when the scheduler has ended
}

// New starts a network. It must be closed.
func New(cfg Config) *Network {
	n := &Network{
		start:     time.Now(),
		wait:      cfg.Wait,
		rand:      rand.New(rand.NewPCG(cfg.Seed, 0x78707067)),
		partition: map[[2]*Host]bool{},
		wake:      make(chan struct{}, 1),
		done:      make(chan struct{}),
	}
	n.internet = n.NewSegment("internet")
	go n.run()
	return n
}

// Internet returns the segment of public addresses.
func (n *Network) Internet() *Segment { return n.internet }

// Close closes every socket and stops the network. Packets under way count as
// dropped. It returns an error when the ledger does not balance or a capture could
// not be written; called again, it returns nil.
func (n *Network) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		<-n.done
		return nil
	}
	n.closed = true
	for _, h := range n.hosts {
		for _, c := range h.bound.all() {
			c.close()
		}
		h.tcp.close()
	}
	n.mu.Unlock()
	n.poke()
	<-n.done

	n.mu.Lock()
	defer n.mu.Unlock()
	for n.outbox.waiting() > 0 {
		n.drop(n.now(), n.outbox.take(), DropClosed)
	}
	for n.arrivals.packets > 0 {
		p, _ := n.arrivals.next()
		n.drop(n.now(), p, DropClosed)
	}
	errs := []error{n.ledger.check()}
	for _, c := range n.captures {
		errs = append(errs, c.err)
	}
	return errors.Join(errs...)
}

// now is the network's time: since its start, in nanoseconds.
func (n *Network) now() int64 { return int64(time.Since(n.start)) }

func (n *Network) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

var errNetworkClosed = fmt.Errorf("netsim: the network is closed: %w", net.ErrClosed)
