package chunks

import (
	"sort"

	"lukechampine.com/blake3"
)

var emptyHash = blake3.Sum256(nil)

// chunksOf returns how many chunks a file of size bytes has.
func chunksOf(size int64, chunkSize int) int64 {
	n := size / int64(chunkSize)
	if size%int64(chunkSize) != 0 {
		n++
	}
	return n
}

// layout numbers the chunks of all files of a manifest from 0, in the order of the files.
type layout struct {
	m     *Manifest
	first []int // chunk number at which each file begins; the last entry is the number of all chunks
}

func newLayout(m *Manifest) layout {
	l := layout{m: m, first: make([]int, len(m.Files)+1)}
	for i, f := range m.Files {
		l.first[i+1] = l.first[i] + int(chunksOf(f.Size, m.ChunkSize))
	}
	return l
}

// place says where a chunk belongs.
type place struct {
	file   int
	index  int   // of the chunk within its file
	count  int   // chunks of the file
	offset int64 // bytes
	size   int   // bytes
}

func (l layout) chunks() int { return l.first[len(l.m.Files)] }

// place finds chunk c, which must be one of the layout's.
func (l layout) place(c int) place {
	file := sort.SearchInts(l.first, c+1) - 1
	p := place{file: file, index: c - l.first[file], count: l.first[file+1] - l.first[file]}
	p.offset = int64(p.index) * int64(l.m.ChunkSize)
	p.size = int(min(int64(l.m.ChunkSize), l.m.Files[file].Size-p.offset))
	return p
}

func (l layout) size(c int) int { return l.place(c).size }
