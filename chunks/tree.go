package chunks

import (
	"encoding/binary"

	"lukechampine.com/blake3/guts"
)

// groupSize is the number of bytes that are verified at once on arrival: 16 KiB, 16 BLAKE3 chunks.
const groupSize = guts.MaxSIMD * guts.ChunkSize

// cv is a chaining value of the BLAKE3 tree. The zero cv stands for "not known".
type cv = [8]uint32

// hashGroups appends the chaining values of the 16 KiB groups of data, which begins at offset (a multiple of 16 KiB)
// of its file. With root set, data is the only group of the file and its value is the file's root.
func hashGroups(dst []cv, data []byte, offset int64, root bool) []cv {
	counter := uint64(offset) / guts.ChunkSize
	for len(data) > 0 {
		n := min(len(data), groupSize)
		var node guts.Node
		if n == groupSize {
			node = guts.CompressBuffer((*[groupSize]byte)(data), n, &guts.IV, counter, 0)
		} else {
			var tail [groupSize]byte
			copy(tail[:], data)
			node = guts.CompressBuffer(&tail, n, &guts.IV, counter, 0)
		}
		if root {
			node.Flags |= guts.FlagRoot
		}
		dst = append(dst, guts.ChainingValue(node))
		data = data[n:]
		counter += guts.MaxSIMD
	}
	return dst
}

// parentCV joins two neighbours; root marks the top of a file's tree.
func parentCV(left, right cv, root bool) cv {
	var flags uint32
	if root {
		flags = guts.FlagRoot
	}
	return guts.ChainingValue(guts.ParentNode(left, right, &guts.IV, flags))
}

// mergeLevel returns the level above: neighbours joined in pairs, an odd last one carried up unchanged. Repeated, this
// gives exactly BLAKE3's tree, whose left halves are the largest powers of two.
func mergeLevel(dst, level []cv, root bool) []cv {
	root = root && len(level) == 2
	for i := 0; i+1 < len(level); i += 2 {
		dst = append(dst, parentCV(level[i], level[i+1], root))
	}
	if len(level)%2 == 1 {
		dst = append(dst, level[len(level)-1])
	}
	return dst
}

// mergeAll reduces a level (which it destroys) to the value above all of it.
func mergeAll(level []cv, root bool) cv {
	for len(level) > 1 {
		level = mergeLevel(level[:0], level, root)
	}
	return level[0]
}

// chunkCV hashes one chunk: its groups' values, for the receiver, and the value of the whole chunk. With root set the
// chunk is the whole file and its value the file's root.
func chunkCV(groups []cv, data []byte, offset int64, root bool) ([]cv, cv) {
	groups = hashGroups(groups[:0], data, offset, root && len(data) <= groupSize)
	return groups, joinGroups(groups, root)
}

// joinGroups returns the value of a chunk from those of its groups, of which there is at least one.
func joinGroups(groups []cv, root bool) cv {
	if len(groups) == 1 {
		return groups[0]
	}
	var buf [maxChunk / groupSize]cv
	return mergeAll(append(buf[:0], groups...), root)
}

// tree holds what is known of the BLAKE3 tree above the chunks of one file with at least two chunks. levels[0] are the
// chunks' values; unknown values are zero. Callers lock.
type tree struct{ levels [][]cv }

func newTree(leaves int) *tree {
	t := &tree{}
	for n := leaves; ; n = (n + 1) / 2 {
		t.levels = append(t.levels, make([]cv, n))
		if n == 1 {
			return t
		}
	}
}

// buildTree makes a complete tree from the values of all chunks.
func buildTree(leaves []cv) *tree {
	t := &tree{levels: [][]cv{leaves}}
	for level := leaves; len(level) > 1; {
		level = mergeLevel(make([]cv, 0, (len(level)+1)/2), level, true)
		t.levels = append(t.levels, level)
	}
	return t
}

// proof appends the siblings on the way from chunk i to the root, lowest first.
func (t *tree) proof(dst []cv, i int) []cv {
	for _, level := range t.levels {
		if i^1 < len(level) {
			dst = append(dst, level[i^1])
		}
		i >>= 1
	}
	return dst
}

// verifyProof reports whether leaf is chunk i of a file with n chunks and that root, given its siblings lowest first.
func verifyProof(root cv, i, n int, leaf cv, siblings []cv) bool {
	for ; n > 1; n, i = (n+1)/2, i>>1 {
		if i^1 >= n {
			continue // odd and last: carried up
		}
		if len(siblings) == 0 {
			return false
		}
		left, right := leaf, siblings[0]
		if i&1 == 1 {
			left, right = right, left
		}
		leaf, siblings = parentCV(left, right, n == 2), siblings[1:]
	}
	return len(siblings) == 0 && leaf == root
}

// node is a value and its place in a file's tree.
type node struct {
	level, index int
	value        cv
}

// learn records a verified leaf and its siblings and appends to dst those that were not known.
func (t *tree) learn(dst []node, i int, leaf cv, siblings []cv) []node {
	put := func(level, index int, value cv) {
		if t.levels[level][index] == (cv{}) {
			t.levels[level][index] = value
			dst = append(dst, node{level, index, value})
		}
	}
	put(0, i, leaf)
	for k, level := range t.levels {
		if i^1 < len(level) {
			put(k, i^1, siblings[0])
			siblings = siblings[1:]
		}
		i >>= 1
	}
	return dst
}

// settle keeps, of values that were read from a journal, those that lead up to root, and forgets the rest.
func (t *tree) settle(root cv) {
	top := len(t.levels) - 1
	for k := range top { // parents that were not written follow from their children
		for i, parent := range t.levels[k+1] {
			if parent == (cv{}) {
				t.levels[k+1][i] = t.above(k, i)
			}
		}
	}
	t.levels[top][0] = root
	for k := top - 1; k >= 0; k-- {
		for i, parent := range t.levels[k+1] {
			if parent != (cv{}) && t.above(k, i) == parent {
				continue
			}
			clear(t.levels[k][2*i : min(2*i+2, len(t.levels[k]))])
		}
	}
}

// above computes the value of node i of level k+1 from level k, or zero when a child is not known.
func (t *tree) above(k, i int) cv {
	level := t.levels[k]
	left := level[2*i]
	if 2*i+1 == len(level) {
		return left
	}
	right := level[2*i+1]
	if left == (cv{}) || right == (cv{}) {
		return cv{}
	}
	return parentCV(left, right, len(level) == 2)
}

func appendCV(dst []byte, v cv) []byte {
	for _, w := range v {
		dst = binary.LittleEndian.AppendUint32(dst, w)
	}
	return dst
}

func cvFrom(p []byte) (v cv) {
	for i := range v {
		v[i] = binary.LittleEndian.Uint32(p[4*i:])
	}
	return v
}

// cvsFrom reads the values that travel one after another; it reports false when p is cut.
func cvsFrom(p []byte) ([]cv, bool) {
	if len(p)%32 != 0 {
		return nil, false
	}
	out := make([]cv, 0, len(p)/32)
	for ; len(p) > 0; p = p[32:] {
		out = append(out, cvFrom(p))
	}
	return out, true
}

func appendCVs(dst []byte, values []cv) []byte {
	for _, v := range values {
		dst = appendCV(dst, v)
	}
	return dst
}
