package state

import (
	"context"
	"sync"
	"time"
)

// patientStream gives each step of an exchange its time, until a context ends:
// from then on every read and write fails, whatever the peer does.
type patientStream struct {
	Stream
	mu    sync.Mutex
	ended bool
}

// endWith makes the stream fail when ctx ends, until stop is called.
func (p *patientStream) endWith(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ended = true
		_ = p.SetDeadline(time.Unix(1, 0))
	})
}

// until sets the time by which the next step must be done; zero is no limit.
func (p *patientStream) until(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		_ = p.SetDeadline(t)
	}
}

// goOn gives the next step its time.
func (p *patientStream) goOn() { p.until(time.Now().Add(syncTimeout)) }

// Write gives every write its time.
func (p *patientStream) Write(b []byte) (int, error) {
	p.goOn()
	return p.Stream.Write(b)
}
