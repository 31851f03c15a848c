package kcptransport

import (
	"encoding/binary"
	"io"
	"math/bits"
	"net/netip"
	"time"
)

// Cookies that an endpoint under load sends, per second and at once.
const (
	newcomersPerSecond = 1000 // to addresses that come for the first time
	newcomersBurst     = 500
	knownPerSecond     = 20_000 // to those that come again
	knownBurst         = 2000
)

// Sizes of what is remembered of a crowd, and times.
const (
	sightingBits = 1 << 18 // for 20,000 newcomers a second, 2 or 3 of 100 of whom are then taken for known
	sightingSpan = time.Second
	networkCount = 1 << 12
	networkSpan  = time.Second
)

// crowd chooses whom an endpoint under load sends a cookie: sending is what costs most in a flood. Who means well and gets
// none sends the same again from the same address, a quarter of a second later. Who forges addresses and does the
// same gets half as many of them. So most cookies are for those who come again; newcomers get some as well, so that in a
// small flood nobody has to. Of both kinds no network gets more than is left for others.
//
// Its size is fixed: about 80 KiB.
type crowd struct {
	sightings        sightings
	newcomers, known shares
}

func newCrowd(random io.Reader) (*crowd, error) {
	c := &crowd{
		newcomers: shares{rate: newcomersPerSecond, burst: newcomersBurst},
		known:     shares{rate: knownPerSecond, burst: knownBurst},
	}
	var b [32]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return nil, err
	}
	for i := range c.sightings.key {
		c.sightings.key[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return c, nil
}

// serves reports whether an address that has sent a first message gets a cookie.
func (c *crowd) serves(now time.Time, from netip.AddrPort) bool {
	hi, lo := halves(from.Addr())
	kind := &c.newcomers
	if c.sightings.add(now, c.sightings.key.hash(hi, lo, uint64(from.Port()))) {
		kind = &c.known
	}
	hi, lo = networkOf(from.Addr(), hi, lo)
	return kind.take(now, c.sightings.key, hi, lo)
}

func halves(a netip.Addr) (hi, lo uint64) {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])
}

// networkOf returns the halves of the IPv4 /24 or IPv6 /48 of an address, whose owner can send from all of it.
func networkOf(a netip.Addr, hi, lo uint64) (uint64, uint64) {
	if a.Is4() || a.Is4In6() {
		return hi, lo >> 8
	}
	return hi >> 16, 0
}

// hashKey makes places in tables hard to guess. More is not needed: who found out two addresses with one place could have one
// spoil the other's chances for a second.
type hashKey [4]uint64

func (k *hashKey) hash(a, b, c uint64) uint64 {
	return mix(mix(a^k[0], b^k[1])^k[2], c^k[3])
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// sightings knows what was added to it in the last one to two seconds, and a few things more: it is two Bloom filters.
type sightings struct {
	key    hashKey
	since  time.Time // when the newer began
	newer  int
	filter [2][sightingBits / 64]uint64
}

// add notes the hash of an address, and reports whether it was noted before.
func (s *sightings) add(now time.Time, h uint64) bool {
	for n := 0; now.Sub(s.since) >= sightingSpan; n++ {
		if n == 2 {
			s.since = now
			break
		}
		s.newer, s.since = 1-s.newer, s.since.Add(sightingSpan)
		clear(s.filter[s.newer][:])
	}
	newer, older := &s.filter[s.newer], &s.filter[1-s.newer]
	i, j := h%sightingBits, h>>32%sightingBits
	iBit, jBit := uint64(1)<<(i%64), uint64(1)<<(j%64)
	i, j = i/64, j/64
	known := newer[i]&iBit != 0 && newer[j]&jBit != 0 || older[i]&iBit != 0 && older[j]&jBit != 0
	newer[i] |= iBit
	newer[j] |= jBit
	return known
}

// shares is a budget, so many a second, of which in each second no network gets more than is left for others. So floods from a few
// networks leave something for the rest, and one from all of them leaves it to chance.
type shares struct {
	rate, burst float64
	left        float64
	at          time.Time // of left
	taken       [networkCount]uint16
	since       time.Time // of taken
	number      uint64    // of these seconds: in each of them others share a place
}

// take takes one for a network, if it may have it.
func (s *shares) take(now time.Time, key hashKey, hi, lo uint64) bool {
	s.left = min(s.burst, s.left+s.rate*now.Sub(s.at).Seconds()) // s.at is zero at first: full
	s.at = now
	if now.Sub(s.since) >= networkSpan {
		s.since = now
		s.number++
		clear(s.taken[:])
	}
	taken := &s.taken[key.hash(hi, lo, s.number)%networkCount]
	if s.left < 1 || s.left <= float64(*taken) {
		return false
	}
	s.left--
	*taken++
	return true
}
