package chunks

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipeConfig is one direction of a stream in memory. The zero value is instant.
type pipeConfig struct {
	delay  time.Duration
	rate   float64 // bytes per second; 0: no limit
	buffer int     // bytes written and not read; 0: 4 MiB
}

// newPipe returns the two ends of a stream. up is from the first to the second.
func newPipe(up, down pipeConfig) (a, b *pipeEnd) {
	u, d := newHalf(up), newHalf(down)
	return &pipeEnd{r: d, w: u}, &pipeEnd{r: u, w: d}
}

// pipeEnd is a Stream. It works in real and in virtual time.
type pipeEnd struct{ r, w *half }

func (e *pipeEnd) Read(b []byte) (int, error)  { return e.r.read(b) }
func (e *pipeEnd) Write(b []byte) (int, error) { return e.w.write(b) }
func (e *pipeEnd) CloseWrite() error           { e.w.end(); return nil }

func (e *pipeEnd) Close() error {
	e.w.end()
	e.r.abandon()
	e.w.setDeadline(time.Unix(1, 0), true)
	return nil
}

func (e *pipeEnd) SetDeadline(t time.Time) error {
	e.r.setDeadline(t, false)
	e.w.setDeadline(t, true)
	return nil
}

type segment struct {
	at   time.Time
	data []byte // nil: the end
}

// half is one direction.
type half struct {
	cfg pipeConfig

	mu        sync.Mutex
	cond      *sync.Cond
	segments  []segment
	buffered  int
	freeAt    time.Time // when the line has sent what is on it
	ended     bool      // no more writes
	abandoned bool      // no more reads
	deadline  [2]time.Time
	timers    [2]*time.Timer
}

func newHalf(cfg pipeConfig) *half {
	if cfg.buffer == 0 {
		cfg.buffer = 4 << 20
	}
	h := &half{cfg: cfg}
	h.cond = sync.NewCond(&h.mu)
	return h
}

func (h *half) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cond.Broadcast()
}

func (h *half) setDeadline(t time.Time, write bool) {
	i := 0
	if write {
		i = 1
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deadline[i] = t
	if h.timers[i] != nil {
		h.timers[i].Stop()
		h.timers[i] = nil
	}
	if !t.IsZero() {
		h.timers[i] = time.AfterFunc(time.Until(t), h.wake)
	}
	h.cond.Broadcast()
}

func (h *half) late(i int) bool {
	return !h.deadline[i].IsZero() && !time.Now().Before(h.deadline[i])
}

func (h *half) read(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.abandoned:
			return 0, net.ErrClosed
		case h.late(0):
			return 0, os.ErrDeadlineExceeded
		case len(h.segments) > 0 && !time.Now().Before(h.segments[0].at):
			s := &h.segments[0]
			if s.data == nil {
				return 0, io.EOF
			}
			n := copy(b, s.data)
			s.data = s.data[n:]
			if len(s.data) == 0 {
				h.segments = h.segments[1:]
			}
			h.buffered -= n
			h.cond.Broadcast()
			return n, nil
		}
		h.cond.Wait()
	}
}

func (h *half) write(b []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n < len(b) {
		switch {
		case h.ended || h.abandoned:
			return n, net.ErrClosed
		case h.late(1):
			return n, os.ErrDeadlineExceeded
		case h.buffered >= h.cfg.buffer:
			h.cond.Wait()
			continue
		}
		k := min(16<<10, len(b)-n, h.cfg.buffer-h.buffered)
		h.put(append([]byte(nil), b[n:n+k]...))
		n += k
	}
	return n, nil
}

// put sends a segment on its way.
func (h *half) put(data []byte) {
	now := time.Now()
	if h.freeAt.Before(now) {
		h.freeAt = now
	}
	if h.cfg.rate > 0 {
		h.freeAt = h.freeAt.Add(time.Duration(float64(len(data)) / h.cfg.rate * float64(time.Second)))
	}
	at := h.freeAt.Add(h.cfg.delay)
	h.segments = append(h.segments, segment{at, data})
	h.buffered += len(data)
	if at.After(now) {
		time.AfterFunc(at.Sub(now), h.wake)
	}
	h.cond.Broadcast()
}

func (h *half) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ended {
		h.ended = true
		h.put(nil)
	}
}

func (h *half) abandon() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.abandoned = true
	h.cond.Broadcast()
}
