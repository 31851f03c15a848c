package netsim

// A change is something other than a packet that happens to the network: a
// link that gets worse, a router that restarts, a socket that opens.
//
// The packets see it one nanosecond after the call, before those written at the
// same instant. Otherwise a call that coincides with the arrival of a packet
// would come before or after it, as the goroutines happen to run.
type change struct {
	at int64 // of the call
	do func()
}

// changes are in the order in which they were made.
type changes struct {
	list []change
	done int
}

// due returns when the next change is to be made, or never.
func (c *changes) due() int64 {
	if c.done == len(c.list) {
		return never
	}
	return c.list[c.done].at + 1
}

// next makes the next change.
func (c *changes) next() {
	do := c.list[c.done].do
	c.list[c.done].do = nil
	if c.done++; c.done == len(c.list) {
		c.list, c.done = c.list[:0], 0
	}
	do()
}

// later makes a change to what the packets see. n.mu is held, then and now.
func (n *Network) later(do func()) {
	n.changes.list = append(n.changes.list, change{n.now(), do})
	n.poke()
}
