package roam

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	messageSize = 200
	cadence     = 5 * time.Millisecond
)

// flow is a stream of numbered messages in one direction.
type flow struct {
	sent     uint64
	arrivals []time.Time // of each message, in order
	done     chan error  // how it ended
}

// start has a node send numbered messages to the other until stop is closed.
func (n *node) start(stop <-chan struct{}) *flow {
	f := &flow{done: make(chan error, 1)}
	s, err := n.link.OpenStream(n.w.ctx, "numbers")
	if err != nil {
		n.w.t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() { failed <- f.send(s, stop) }()
	go func() {
		r, err := n.other().link.AcceptStream(n.w.ctx)
		if err == nil {
			err = f.receive(r)
			_ = r.Close()
		}
		err = errors.Join(err, <-failed)
		_ = s.Close()
		if got := uint64(len(f.arrivals)); err == nil && got != f.sent {
			err = fmt.Errorf("%d of %d messages arrived", got, f.sent)
		}
		f.done <- err
	}()
	return f
}

func (f *flow) send(s interface {
	io.Writer
	CloseWrite() error
}, stop <-chan struct{}) error {
	b := make([]byte, messageSize)
	for tick := time.NewTicker(cadence); ; {
		binary.BigEndian.PutUint64(b, f.sent)
		if _, err := s.Write(b); err != nil {
			return err
		}
		f.sent++
		select {
		case <-tick.C:
		case <-stop:
			tick.Stop()
			return s.CloseWrite()
		}
	}
}

// receive notes when each message comes; the one that is expected must come, and no other.
func (f *flow) receive(r io.Reader) error {
	b := make([]byte, messageSize)
	for want := uint64(0); ; want++ {
		if _, err := io.ReadFull(r, b); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("after %d messages: %w", want, err)
		}
		if got := binary.BigEndian.Uint64(b); got != want {
			return fmt.Errorf("message %d came where %d should", got, want)
		}
		f.arrivals = append(f.arrivals, time.Now())
	}
}

// gap returns the longest time without a message from a moment on.
func (f *flow) gap(since time.Time) (longest time.Duration) {
	for i := 1; i < len(f.arrivals); i++ {
		if f.arrivals[i].After(since) {
			longest = max(longest, f.arrivals[i].Sub(f.arrivals[i-1]))
		}
	}
	return longest
}
