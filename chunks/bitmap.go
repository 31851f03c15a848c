package chunks

import "math/bits"

// bitmap is a set of small numbers. Its size is fixed when it is made. Callers lock.
type bitmap []uint64

func newBitmap(n int) bitmap { return make(bitmap, (n+63)/64) }

func (b bitmap) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bitmap) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitmap) clear(i int)    { b[i/64] &^= 1 << (i % 64) }

func (b bitmap) fill(n int) {
	for i := range n {
		b.set(i)
	}
}

// nextCommon returns the lowest number that is at least from and in both sets, or -1. A nil other has every number.
func (b bitmap) nextCommon(other bitmap, from int) int {
	for w := from / 64; w < len(b); w++ {
		word := b[w]
		if other != nil {
			word &= other[w]
		}
		if w == from/64 {
			word &= ^uint64(0) << (from % 64)
		}
		if word != 0 {
			return w*64 + bits.TrailingZeros64(word)
		}
	}
	return -1
}

// bytes returns the first n bits, the lowest number in the lowest bit of the first byte, as they travel.
func (b bitmap) bytes(n int) []byte {
	out := make([]byte, (n+7)/8)
	for i := range out {
		out[i] = byte(b[i/8] >> (i % 8 * 8))
	}
	return out
}

// bitmapFrom reads n bits. Bits beyond n are ignored; it reports false when there are too few or too many bytes.
func bitmapFrom(p []byte, n int) (bitmap, bool) {
	if len(p) != (n+7)/8 {
		return nil, false
	}
	b := newBitmap(n)
	for i, v := range p {
		b[i/8] |= uint64(v) << (i % 8 * 8)
	}
	if n%64 != 0 {
		b[len(b)-1] &= 1<<(n%64) - 1
	}
	return b, true
}
