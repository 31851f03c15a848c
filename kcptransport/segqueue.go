package kcptransport

import "sync"

const segChunk = 64 << 10

var segChunks = sync.Pool{New: func() any { return new([segChunk]byte) }}

// segQueue holds copies of KCP segments until the pacer lets them go, in pooled chunks: empty, it holds no memory to
// speak of. The zero value is ready for use.
type segQueue struct {
	items  []queuedSegment
	head   int               // items before this one have left
	chunks []*[segChunk]byte // the bytes of the items, none of which spans two chunks
	used   int               // of the last chunk
	size   int               // bytes that wait
}

type queuedSegment struct {
	conv *conversation
	at   int // offset in its chunk; 0 means that a chunk begins
	size int
}

func (q *segQueue) empty() bool { return q.head == len(q.items) }

// bytes returns how many bytes wait.
func (q *segQueue) bytes() int { return q.size }

// push appends a copy of segment.
func (q *segQueue) push(c *conversation, segment []byte) {
	if len(q.chunks) == 0 || q.used+len(segment) > segChunk {
		q.chunks = append(q.chunks, segChunks.Get().(*[segChunk]byte))
		q.used = 0
	}
	if q.head > 64 && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, queuedSegment{conv: c, at: q.used, size: len(segment)})
	q.used += copy(q.chunks[len(q.chunks)-1][q.used:], segment)
	q.size += len(segment)
}

// front returns the first segment, which stays valid until the next push or pop.
func (q *segQueue) front() (*conversation, []byte) {
	item := q.items[q.head]
	return item.conv, q.chunks[0][item.at : item.at+item.size]
}

// pop removes the first segment.
func (q *segQueue) pop() {
	q.size -= q.items[q.head].size
	q.items[q.head] = queuedSegment{}
	q.head++
	switch {
	case q.head == len(q.items):
		q.items, q.head = q.items[:0], 0
		if cap(q.items) > 4096 {
			q.items = nil
		}
		q.dropChunk()
	case q.items[q.head].at == 0:
		q.dropChunk()
	}
}

func (q *segQueue) dropChunk() {
	segChunks.Put(q.chunks[0])
	n := copy(q.chunks, q.chunks[1:])
	q.chunks[n] = nil
	q.chunks = q.chunks[:n]
}
