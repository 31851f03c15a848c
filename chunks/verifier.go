package chunks

import (
	"fmt"
)

// verifier checks a chunk of a file against the file's hash, 16 KiB at a time.
type verifier struct {
	hash     cv
	at       place
	groups   []cv // proven; empty for a chunk of at most 16 KiB, which is proven as a whole
	siblings []cv
	leaf     cv // the chunk's value, once it is proven
}

// newVerifier proves the values that came before the bytes of a chunk. So not one byte is read for a false proof.
func newVerifier(hash [32]byte, at place, r response) (*verifier, error) {
	v := &verifier{hash: cvFrom(hash[:]), at: at}
	var ok, ok2 bool
	v.siblings, ok = cvsFrom(r.Proof)
	v.groups, ok2 = cvsFrom(r.Groups)
	want := (at.size + groupSize - 1) / groupSize
	if want == 1 {
		want = 0
	}
	if !ok || !ok2 || int64(r.Body) != int64(at.size) || len(v.groups) != want {
		return nil, fmt.Errorf("%w: an answer of the wrong shape", errWire)
	}
	if want == 0 {
		return v, nil
	}
	v.leaf = joinGroups(v.groups, at.count == 1)
	if !v.proven() {
		return nil, fmt.Errorf("%w: the proof does not lead to the file's hash", errBad)
	}
	return v, nil
}

func (v *verifier) proven() bool {
	return verifyProof(v.hash, v.at.index, v.at.count, v.leaf, v.siblings)
}

// group reports whether the next 16 KiB, at offset within the chunk, are right.
func (v *verifier) group(data []byte, offset int) bool {
	var one [1]cv
	whole := len(v.groups) == 0
	got := hashGroups(one[:0], data, v.at.offset+int64(offset), whole && v.at.count == 1)[0]
	if !whole {
		return got == v.groups[offset/groupSize]
	}
	v.leaf = got
	return v.proven()
}
