package relaymesh

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// half is one direction of a pipe in memory.
type half struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change
	buf     []byte
	limit   int
	ended   bool // the writer will write no more
	broken  bool // one side has closed the whole pipe
}

func newHalf(limit int) *half { return &half{changed: make(chan struct{}), limit: limit} }

func (h *half) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	close(h.changed)
	h.changed = make(chan struct{})
}

// end is one end of a pipe in memory; it satisfies Stream.
type end struct {
	kind    string
	in, out *half
	mu      sync.Mutex
	closed  bool
	until   time.Time
	moved   chan struct{} // closed and replaced when until changes
}

// pipe returns the two ends of a stream that buffers limit bytes in each direction.
func pipe(kind string, limit int) (*end, *end) {
	x, y := newHalf(limit), newHalf(limit)
	a := &end{kind: kind, in: x, out: y, moved: make(chan struct{})}
	return a, &end{kind: kind, in: y, out: x, moved: make(chan struct{})}
}

func (e *end) Kind() string { return e.kind }

func (e *end) SetDeadline(t time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return net.ErrClosed
	}
	e.until = t
	close(e.moved)
	e.moved = make(chan struct{})
	return nil
}

// wait waits for a change of h or the deadline; h is locked and is locked again after it.
func (e *end) wait(h *half) error {
	e.mu.Lock()
	until, moved, closed := e.until, e.moved, e.closed
	e.mu.Unlock()
	if closed {
		return net.ErrClosed
	}
	var expired <-chan time.Time
	if !until.IsZero() {
		if d := time.Until(until); d <= 0 {
			return os.ErrDeadlineExceeded
		} else {
			t := time.NewTimer(d)
			defer t.Stop()
			expired = t.C
		}
	}
	changed := h.changed
	h.mu.Unlock()
	defer h.mu.Lock()
	select {
	case <-changed:
	case <-moved:
	case <-expired:
	}
	return nil
}

func (e *end) Read(b []byte) (int, error) {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	for len(e.in.buf) == 0 {
		if e.in.ended {
			return 0, io.EOF
		}
		if err := e.wait(e.in); err != nil {
			return 0, err
		}
	}
	n := copy(b, e.in.buf)
	e.in.buf = e.in.buf[n:]
	close(e.in.changed)
	e.in.changed = make(chan struct{})
	return n, nil
}

func (e *end) Write(b []byte) (n int, err error) {
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	for len(b) > 0 {
		if e.out.ended || e.out.broken {
			return n, io.ErrClosedPipe
		}
		if room := min(e.out.limit-len(e.out.buf), len(b)); room > 0 {
			e.out.buf = append(e.out.buf, b[:room]...)
			b, n = b[room:], n+room
			close(e.out.changed)
			e.out.changed = make(chan struct{})
			continue
		}
		if err := e.wait(e.out); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (e *end) CloseWrite() error {
	e.out.change(func() { e.out.ended = true })
	return nil
}

func (e *end) Close() error {
	e.mu.Lock()
	e.closed = true
	close(e.moved)
	e.moved = make(chan struct{})
	e.mu.Unlock()
	e.out.change(func() { e.out.ended = true })
	e.in.change(func() { e.in.broken = true })
	return nil
}
