package kcptransport

import (
	"sync"
	"sync/atomic"
)

const (
	memoryShare   = 8         // of all memory, one link may have one part in so many,
	scarceBuffer  = 64 << 10  // and a stream may hold so much of what is written to it when that is used up
	machineMemory = 14 << 10  // bytes of a KCP machine
	segmentMemory = 1500 + 64 // bytes of a segment that came and is in it
)

// memoryPool bounds what all links of an endpoint hold for their streams: what the application has not read, what came out
// of order, what the peer does not take, and the machines.
type memoryPool struct {
	limit int
	used  atomic.Int64
}

// memoryAccount is what one link holds of a pool. Any goroutine may use it.
type memoryAccount struct {
	pool *memoryPool

	mu     sync.Mutex
	held   int
	closed bool
}

// add takes bytes, or gives them back when negative.
func (a *memoryAccount) add(bytes int) {
	if bytes == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.held += bytes
		a.pool.used.Add(int64(bytes))
	}
}

// fits reports whether the link may take so many bytes more: its share is limited, and when memory gets scarce it may not
// have more than half of what is left for others.
func (a *memoryAccount) fits(bytes int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	free := a.pool.limit - int(a.pool.used.Load())
	return a.held+bytes <= min(a.pool.limit/memoryShare, free/2)
}

// close gives everything back. What the application still holds of a link that has ended does not count.
func (a *memoryAccount) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pool.used.Add(-int64(a.held))
	a.held, a.closed = 0, true
}

// account brings the books up to date on what the machine of c holds of the peer's data.
func (c *conversation) account() {
	r := &c.recv
	held := r.inside * segmentMemory
	if c.kcp != nil {
		held += machineMemory
	}
	if c.dead {
		held = 0
	}
	c.mux.memory.add(held - r.held)
	r.held = held
}

// takes reports whether there is memory for one more segment of the peer. A stream that holds nothing always gets the next
// one, so that who reads gets on.
func (c *conversation) takes(sn uint32) bool {
	r := &c.recv
	if sn == r.next && r.next == r.consumed && (c.stream == nil || c.stream.unread() == 0) {
		return true
	}
	return c.mux.memory.fits(r.inside*segmentMemory + segmentMemory - r.held)
}
