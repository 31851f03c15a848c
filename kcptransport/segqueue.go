package kcptransport

// segQueue holds copies of KCP segments until the pacer lets them go. The zero value is ready for use.
type segQueue struct {
	buf   []byte
	items []queuedSegment
	head  int // items before this one have left
	start int // offset in buf of the first item
}

type queuedSegment struct {
	conv *conversation
	size int
}

func (q *segQueue) empty() bool { return q.head == len(q.items) }

// bytes returns how many bytes wait.
func (q *segQueue) bytes() int { return len(q.buf) - q.start }

// push appends a copy of segment.
func (q *segQueue) push(c *conversation, segment []byte) {
	if q.start > 4096 && q.start > len(q.buf)/2 {
		q.compact()
	}
	q.buf = append(q.buf, segment...)
	q.items = append(q.items, queuedSegment{conv: c, size: len(segment)})
}

func (q *segQueue) compact() {
	q.buf = q.buf[:copy(q.buf, q.buf[q.start:])]
	q.start = 0
	n := copy(q.items, q.items[q.head:])
	clear(q.items[n:])
	q.items = q.items[:n]
	q.head = 0
}

// front returns the first segment, which stays valid until the next push.
func (q *segQueue) front() (*conversation, []byte) {
	item := q.items[q.head]
	return item.conv, q.buf[q.start : q.start+item.size]
}

// pop removes the first segment.
func (q *segQueue) pop() {
	q.start += q.items[q.head].size
	q.items[q.head] = queuedSegment{}
	q.head++
	if q.head == len(q.items) {
		q.items, q.buf, q.head, q.start = q.items[:0], q.buf[:0], 0, 0
		if cap(q.buf) > 1<<20 { // a burst is over
			q.buf, q.items = nil, nil
		}
	}
}
