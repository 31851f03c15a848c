package relaymesh

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"
)

// run is what holds for packets with one label and from one address that come one after the other: it is found out for the
// first of them, and they are counted at the end.
type run struct {
	label uint32
	from  netip.AddrPort
	entry *entry
	lost  *uint64        // where packets are counted that go nowhere
	to    netip.AddrPort // invalid when that is not known

	congested bool // what goes there waits for long behind the socket

	credit         int // bytes that may pass before anything else is asked
	packets, bytes int // that did, by the credit, and are not counted yet
}

// begin starts a run. The caller has the lock.
func (s *Switch) begin(now time.Time, label uint32, from netip.AddrPort) run {
	r := run{label: label, from: from, entry: s.entries[label]}
	switch {
	case r.entry == nil:
		r.lost = &s.stats.Unknown
	case !r.entry.from.From(from):
		r.lost = &s.stats.Strange
	default:
		r.to = r.entry.to.Addr()
		r.credit = r.entry.credit(now, r.to)
		r.congested = s.cfg.Congested(r.to)
	}
	return r
}

// settle counts what passed by the credit of a run, and pays for it. The caller has the lock.
func (s *Switch) settle(r *run) {
	if r.packets == 0 {
		return
	}
	c := r.entry.conn
	for at := &c.flow; at != nil; at = at.above {
		at.bucket.take(r.bytes)
	}
	s.carried(c, r.packets, r.bytes)
	r.packets, r.bytes = 0, 0
}

// carried counts packets that leave.
func (s *Switch) carried(c *Connection, packets, bytes int) {
	s.stats.Packets += uint64(packets)
	s.stats.Bytes += uint64(bytes)
	c.packets += uint64(packets)
	c.bytes += uint64(bytes)
	c.account.packets += uint64(packets)
	c.account.bytes += uint64(bytes)
}

// unwritten counts packets that were to leave, and were not written.
func (s *Switch) unwritten(n int, err error) {
	if n == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Packets -= min(uint64(n), s.stats.Packets)
	if err != nil {
		s.stats.Unready += uint64(n)
	} else { // a connection had no room for them
		s.stats.Overflow += uint64(n)
	}
}

// credit returns how many bytes may pass to an address before another packet has to [Switch.ask]. It may be less than that would allow.
func (e *entry) credit(now time.Time, to netip.AddrPort) int {
	c := e.conn
	if e.remote == 0 || !to.IsValid() {
		return 0
	}
	n := c.mayPass(now)
	if c.next > 0 {
		n = int(min(uint64(n), c.next-min(c.next, c.bytes+uint64(c.queued))))
	}
	return n
}

// ask decides on one packet of a run that has no credit for it. It reports whether the packet is to be sent at once, and is paid for
// and counted then. The caller has the lock.
func (s *Switch) ask(now time.Time, r *run, p []byte) bool {
	s.settle(r)
	e, c := r.entry, r.entry.conn
	if !c.spend(len(p)) {
		r.lost = &s.stats.Unknown // what comes behind it
		return false
	}
	if e.remote == 0 || !r.to.IsValid() {
		s.stats.Unready++
		return false
	}
	ok, ready := c.admit(now, len(p))
	if ok {
		s.carried(c, 1, len(p))
	} else {
		binary.BigEndian.PutUint32(p[1:], e.remote)
		s.hold(now, e, p, ready)
	}
	r.credit = e.credit(now, r.to)
	return ok
}

// mayPass returns how many bytes [flow.admit] would let pass now, in packets of any size.
func (f *flow) mayPass(now time.Time) int {
	if f.queued > 0 || f.leaving > 0 {
		return 0
	}
	n := math.MaxInt
	for at := f; at != nil; at = at.above {
		switch {
		case at.queued == 0:
			at.starved = false
		case at.starved:
			return 0
		}
		n = min(n, at.bucket.has(now))
	}
	return n
}
