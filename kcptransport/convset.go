package kcptransport

// convSpan is how far the conversation numbers of a peer may run ahead of the lowest that was never seen. A peer opens
// them in order, so only those whose first packets are under way at the same time can be out of order.
const convSpan = 4096

// convSet remembers which conversations of a peer were ever opened, in constant memory: everything below a watermark,
// and a bitmap of those above it. The zero value has seen nothing. Conversations are counted from 0 here, without
// their parity.
type convSet struct {
	low  uint32 // all below were seen
	bits [convSpan / 64]uint64
}

func (s *convSet) seen(k uint32) bool {
	return before(k, s.low) || k-s.low < convSpan && s.bits[k%convSpan/64]&(1<<(k%64)) != 0
}

// fits reports whether k may be added: it is neither seen nor too far ahead.
func (s *convSet) fits(k uint32) bool { return !before(k, s.low) && k-s.low < convSpan && !s.seen(k) }

// add marks k, which must fit.
func (s *convSet) add(k uint32) {
	s.bits[k%convSpan/64] |= 1 << (k % 64)
	for s.bits[s.low%convSpan/64]&(1<<(s.low%64)) != 0 {
		s.bits[s.low%convSpan/64] &^= 1 << (s.low % 64)
		s.low++
	}
}
