// Package seeded has the randomness of simulated nodes: as it must be shared by goroutines and must repeat, so that one
// seed is one history.
package seeded

import (
	"io"
	"math/rand/v2"
	"sync"
)

// New returns the bytes that key stands for, without end. Any goroutine may read them.
func New(key [32]byte) io.Reader { return &reader{source: rand.NewChaCha8(key)} }

type reader struct {
	mu     sync.Mutex
	source *rand.ChaCha8
}

func (r *reader) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.source.Read(b)
}
