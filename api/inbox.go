package api

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/2xppg/xppg/kcptransport"
)

// Bounds of what waits for handlers.
const (
	inboxBytes    = 4 << 20  // of one sender
	strangerBytes = 32 << 20 // of all senders we have no link to, together
	messageCost   = 512      // what an empty message counts
)

// An inbox runs the handlers: one message of a sender at a time and in order,
// senders independent of each other. A goroutine exists for a sender only while
// messages of it wait or a handler runs.
type inbox struct {
	handle func(*Message) // runs the handler; must not panic

	mu        sync.Mutex
	queues    map[kcptransport.PeerID]*inQueue
	strangers int
	wg        sync.WaitGroup
	closed    bool
}

type inQueue struct {
	waiting []*Message
	room    *semaphore.Weighted // bytes
	users   int                 // messages waiting or handled, and callers in push
	running bool                // a goroutine takes from waiting
}

var errInboxClosed = errors.New("api: the playground is closed")

func newInbox(handle func(*Message)) *inbox {
	return &inbox{handle: handle, queues: map[kcptransport.PeerID]*inQueue{}}
}

// push queues m behind what m.From sent before, waiting for room: a slow
// handler slows its own sender down.
//
// Nothing is queued once ctx has ended, not even when there is room. So whoever
// ends the ctx of a link before its successor pushes keeps their order.
func (in *inbox) push(ctx context.Context, m *Message) error {
	q, err := in.enter(m.From)
	if err != nil {
		return err
	}
	cost := m.cost()
	if err := q.room.Acquire(ctx, cost); err != nil {
		in.leave(m.From, q)
		return err
	}
	return in.append(ctx, q, m)
}

// waitRoom waits until there is room for m, so that a tryPush that follows is
// likely to find it.
func (in *inbox) waitRoom(ctx context.Context, m *Message) error {
	q, err := in.enter(m.From)
	if err != nil {
		return err
	}
	defer in.leave(m.From, q)
	if err := q.room.Acquire(ctx, m.cost()); err != nil {
		return err
	}
	q.room.Release(m.cost())
	return nil
}

// tryPush is push for messages that came by way of others: it never waits, and
// reports whether there was room.
func (in *inbox) tryPush(m *Message) bool {
	q, err := in.enter(m.From)
	if err != nil {
		return false
	}
	cost := m.cost()
	in.mu.Lock()
	full := in.strangers+int(cost) > strangerBytes
	if !full {
		in.strangers += int(cost)
	}
	in.mu.Unlock()
	if full {
		in.leave(m.From, q)
		return false
	}
	m.stranger = true
	if !q.room.TryAcquire(cost) {
		in.release(m)
		in.leave(m.From, q)
		return false
	}
	return in.append(context.Background(), q, m) == nil
}

func (in *inbox) enter(from kcptransport.PeerID) (*inQueue, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil, errInboxClosed
	}
	q := in.queues[from]
	if q == nil {
		q = &inQueue{room: semaphore.NewWeighted(inboxBytes)}
		in.queues[from] = q
	}
	q.users++
	return q, nil
}

func (in *inbox) leave(from kcptransport.PeerID, q *inQueue) {
	in.mu.Lock()
	defer in.mu.Unlock()
	q.users--
	if q.users == 0 {
		delete(in.queues, from)
	}
}

func (in *inbox) append(ctx context.Context, q *inQueue, m *Message) error {
	in.mu.Lock()
	err := ctx.Err()
	if in.closed {
		err = errInboxClosed
	}
	if err != nil {
		in.mu.Unlock()
		q.room.Release(m.cost())
		in.release(m)
		in.leave(m.From, q)
		return err
	}
	defer in.mu.Unlock()
	q.waiting = append(q.waiting, m)
	if !q.running {
		q.running = true
		in.wg.Add(1)
		go in.run(m.From, q)
	}
	return nil
}

// run handles the messages of one sender until none is left.
func (in *inbox) run(from kcptransport.PeerID, q *inQueue) {
	defer in.wg.Done()
	for {
		in.mu.Lock()
		if len(q.waiting) == 0 || in.closed {
			q.running = false
			in.mu.Unlock()
			return
		}
		m := q.waiting[0]
		q.waiting[0] = nil
		q.waiting = q.waiting[1:]
		in.mu.Unlock()

		in.handle(m)

		q.room.Release(m.cost())
		in.release(m)
		in.leave(from, q)
	}
}

func (in *inbox) release(m *Message) {
	if !m.stranger {
		return
	}
	in.mu.Lock()
	in.strangers -= int(m.cost())
	in.mu.Unlock()
}

// close drops what waits. Handlers that run are neither interrupted nor waited for.
func (in *inbox) close() {
	in.mu.Lock()
	in.closed = true
	in.mu.Unlock()
}
