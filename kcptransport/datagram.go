package kcptransport

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// maxDatagramQueue bounds the datagrams that wait, in each direction.
const maxDatagramQueue = 256

// datagramQueues hold the datagrams of a link that wait to be sent and to be fetched.
type datagramQueues struct {
	wake    func()
	arrived chan struct{} // holds a token when in is not empty

	mu      sync.Mutex
	err     error // the link ended
	out, in [][]byte

	dropped atomic.Uint64 // of in
}

func (q *datagramQueues) init(wake func()) {
	q.wake = wake
	q.arrived = make(chan struct{}, 1)
}

// SendDatagram sends b once, without acknowledgement or order; it arrives or does not. It is at most MaxDatagram
// bytes long and copied. It fails with [ErrQueueFull] when it cannot leave soon.
func (l *Link) SendDatagram(b []byte) error {
	if len(b) > l.MaxDatagram() {
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(b), l.MaxDatagram())
	}
	q := &l.datagrams
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.err != nil:
		return q.err
	case len(q.out) >= maxDatagramQueue:
		return ErrQueueFull
	}
	q.out = append(q.out, append(make([]byte, 0, len(b)), b...))
	q.wake()
	return nil
}

// ReceiveDatagram waits for a datagram of the peer and returns it; it belongs to the caller. When more than 256 wait,
// the oldest is dropped.
func (l *Link) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	q := &l.datagrams
	for {
		b, err := q.fetch()
		if b != nil || err != nil {
			return b, err
		}
		select {
		case <-q.arrived:
		case <-ctx.Done():
			return nil, fmt.Errorf("kcptransport: no datagram from %s: %w", l.peer.Short(), ctx.Err())
		}
	}
}

// MaxDatagram returns the size of the largest datagram that fits into a packet, in bytes.
func (l *Link) MaxDatagram() int { return l.ep.cfg.maxFrames() - sizedFrameHeader }

// fetch returns the oldest received datagram, or nil and why no other will come.
func (q *datagramQueues) fetch() ([]byte, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.in) == 0 {
		if q.err != nil {
			q.ring() // for the next who waits
		}
		return nil, q.err
	}
	b := q.in[0]
	q.in[0] = nil
	q.in = q.in[1:]
	if len(q.in) > 0 {
		q.ring()
	}
	return b, nil
}

func (q *datagramQueues) ring() {
	select {
	case q.arrived <- struct{}{}:
	default:
	}
}

// received queues a copy of b for ReceiveDatagram.
func (q *datagramQueues) received(b []byte) {
	b = append(make([]byte, 0, len(b)), b...)
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.in) >= maxDatagramQueue {
		q.in[0] = nil
		q.in = q.in[1:]
		q.dropped.Add(1)
	}
	q.in = append(q.in, b)
	q.ring()
}

// next returns the next datagram to send if it has at most room bytes.
func (q *datagramQueues) next(room int) ([]byte, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.out) == 0 || len(q.out[0]) > room {
		return nil, false
	}
	b := q.out[0]
	q.out[0] = nil
	if q.out = q.out[1:]; len(q.out) == 0 {
		q.out = nil
	}
	return b, true
}

// pending reports whether a datagram waits to be sent.
func (q *datagramQueues) pending() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.out) > 0
}

// close ends all waiting. What was received can still be fetched.
func (q *datagramQueues) close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err, q.out = err, nil
	q.ring()
}
