package netsim

import (
	"hash/crc32"
	"math/rand/v2"
)

// chance reports true with probability p, and draws nothing when that is 0: old
// seeds keep their outcomes when there is one more thing that can happen.
func chance(r *rand.Rand, p float64) bool { return p > 0 && r.Float64() < p }

// loses reports whether the link loses the next packet.
//
// A burst ends after each packet with probability 1/b, so it has b packets on
// average; there are g of the others between two bursts on average, as one of them
// begins after each of these with probability 1/g. The share of lost ones is
// b/(b+g), so g = b*(1-Loss)/Loss, which must be 1 at least.
func (l *pipe) loses(r *rand.Rand) bool {
	if l.Burst <= 0 || l.Loss <= 0 {
		l.bad = false
		return chance(r, l.Loss)
	}
	if l.Loss >= 1 {
		return true
	}
	b := max(l.Burst, 1, l.Loss/(1-l.Loss))
	if l.bad {
		l.bad = !chance(r, 1/b)
	} else {
		l.bad = chance(r, l.Loss/(b*(1-l.Loss)))
	}
	return l.bad
}

// damage flips a bit of a packet. It reports false when that is in the headers, or in
// a segment of TCP, whose checksum counts.
func (p *packet) damage(r *rand.Rand) bool {
	bit := r.IntN(8*p.size()) - 8*(p.size()-len(p.data))
	if bit < 0 || p.isTCP() {
		return false
	}
	p.data[bit/8] ^= 1 << (bit % 8)
	p.sum = crc32.Checksum(p.data, castagnoli)
	return true
}

// duplicate makes another packet of p. n.mu is held.
func (n *Network) duplicate(at int64, p *packet) *packet {
	twin := n.newPacket(p.data)
	twin.src, twin.dst, twin.ttl = p.src, p.dst, p.ttl
	twin.origin, twin.at, twin.seq = p.origin, p.at, p.seq
	twin.tcp, twin.extra = p.tcp, p.extra
	n.ledger.duplicated++
	n.ledger.note(at, twin, fateDuplicated)
	return twin
}
