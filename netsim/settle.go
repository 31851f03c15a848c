package netsim

import (
	"cmp"
	"slices"
	"time"
)

// A SettledConn is a [Conn] for programs in virtual time that are made of loops:
// goroutines that take a turn when something has come or is due. When every loop
// settles before its turns, no two of them have one at the same instant in the whole
// network, and what comes from the network comes in between. So the outcome does not
// depend on which goroutine runs first, nor on the number of processors.
// [Conn.Settled] makes one.
type SettledConn struct{ *Conn }

// Settled returns the socket as one for loops that take turns. In real time there is
// no use for it.
func (c *Conn) Settled() SettledConn {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	c.settled = true
	return SettledConn{c}
}

// Settler returns the function that a loop calls before each of its turns. It
// returns a few nanoseconds later, when the turn is the loop's; see also Config.Wait.
// Loops that ask at one instant take turns in the order of their hosts, sockets and
// calls of Settler, so that the calls for one socket must not race each other.
func (c SettledConn) Settler() func() {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	c.loops++
	who := loopID{c.host.id, c.local.Port(), c.loops}
	return func() { n.settle(who) }
}

// loopID tells loops apart, and orders them.
type loopID struct {
	host int
	port uint16
	loop int
}

func (a loopID) compare(b loopID) int {
	return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(a.port, b.port), cmp.Compare(a.loop, b.loop))
}

// turns are those of loops. They have the odd nanoseconds, and what comes from the
// network the even ones.
type turns struct {
	asked []*turnRequest // at one instant
	at    int64          // that instant
	next  int64          // the first instant that nobody has
}

type turnRequest struct {
	who  loopID
	turn int64
}

// settle waits for the turn of a loop.
func (n *Network) settle(who loopID) {
	r := &turnRequest{who: who}
	n.mu.Lock()
	n.turns.ask(n.now(), r)
	n.mu.Unlock()

	<-time.After(time.Nanosecond) // then everybody who asks at this instant has asked
	n.mu.Lock()
	now := n.now()
	n.turns.give(now)
	n.mu.Unlock()
	if wait := r.turn - now; wait > 0 {
		<-time.After(time.Duration(wait))
	}
	if n.wait != nil {
		n.wait()
	}
}

func (t *turns) ask(now int64, r *turnRequest) {
	t.give(now)
	t.at = now
	t.asked = append(t.asked, r)
}

// give gives turns to those who asked before now.
func (t *turns) give(now int64) {
	if len(t.asked) == 0 || t.at >= now {
		return
	}
	slices.SortFunc(t.asked, func(a, b *turnRequest) int { return a.who.compare(b.who) })
	t.next = max(t.next, t.at+1) | 1
	for _, r := range t.asked {
		r.turn = t.next
		t.next += 2
	}
	clear(t.asked)
	t.asked = t.asked[:0]
}
