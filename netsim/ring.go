package netsim

// A ring holds the bytes of a stream from one position to another, and grows as these
// come apart. Positions count from the stream's beginning.
type ring struct{ buf []byte } // its length is a power of two, or 0

const firstRing = 4096

// put puts bytes at a position. Those from keep on stay.
func (r *ring) put(keep, at uint64, b []byte) {
	if need := int(at-keep) + len(b); need > len(r.buf) {
		bigger := ring{make([]byte, firstRing)}
		for len(bigger.buf) < need {
			bigger.buf = make([]byte, 2*len(bigger.buf))
		}
		for i := range uint64(len(r.buf)) {
			bigger.buf[(keep+i)&bigger.mask()] = r.buf[(keep+i)&r.mask()]
		}
		*r = bigger
	}
	n := copy(r.buf[at&r.mask():], b)
	copy(r.buf, b[n:])
}

// get copies bytes from a position on.
func (r *ring) get(at uint64, b []byte) {
	n := copy(b, r.buf[at&r.mask():])
	copy(b[n:], r.buf)
}

func (r *ring) mask() uint64 { return uint64(len(r.buf)) - 1 }
