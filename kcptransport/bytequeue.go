package kcptransport

import "sync"

const queueChunk = 8 << 10

var queueChunks = sync.Pool{New: func() any { return new([queueChunk]byte) }}

// byteQueue is a first-in first-out buffer of bytes made of pooled chunks: empty, it holds no memory to speak of. The
// zero value is ready for use. It is not safe for concurrent use and has no limit of its own.
type byteQueue struct {
	chunks []*[queueChunk]byte
	first  int // chunks before this one were read and given back
	read   int // offset of the next byte to read in the first chunk
	size   int
}

func (q *byteQueue) len() int { return q.size }

// memory returns how many bytes the queue takes up.
func (q *byteQueue) memory() int { return (len(q.chunks) - q.first) * queueChunk }

// write appends p, which it copies.
func (q *byteQueue) write(p []byte) {
	for len(p) > 0 {
		used := (q.read + q.size) % queueChunk
		if q.first+(q.read+q.size)/queueChunk == len(q.chunks) {
			q.chunks = append(q.chunks, queueChunks.Get().(*[queueChunk]byte))
		}
		n := copy(q.chunks[len(q.chunks)-1][used:], p)
		q.size += n
		p = p[n:]
	}
}

// readInto moves up to len(p) bytes from the front of the queue into p.
func (q *byteQueue) readInto(p []byte) (n int) {
	for n < len(p) && q.size > 0 {
		part := q.chunks[q.first][q.read:]
		if len(part) > q.size {
			part = part[:q.size]
		}
		k := copy(p[n:], part)
		n += k
		q.size -= k
		q.read += k
		if q.read == queueChunk {
			q.dropFirst()
		}
	}
	if q.size == 0 {
		q.reset()
	}
	return n
}

func (q *byteQueue) dropFirst() {
	queueChunks.Put(q.chunks[q.first])
	q.chunks[q.first] = nil
	q.first++
	q.read = 0
	if q.first > 64 && q.first*2 > len(q.chunks) {
		kept := copy(q.chunks, q.chunks[q.first:])
		clear(q.chunks[kept:])
		q.chunks = q.chunks[:kept]
		q.first = 0
	}
}

// reset forgets everything in the queue and gives its memory back.
func (q *byteQueue) reset() {
	for _, c := range q.chunks[q.first:] {
		queueChunks.Put(c)
	}
	clear(q.chunks)
	if cap(q.chunks) > 16 {
		q.chunks = nil
	}
	q.chunks = q.chunks[:0]
	q.first, q.read, q.size = 0, 0, 0
}
