package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/2xppg/xppg/kcptransport"
)

// outboxBytes bounds what one peer was not sent yet, or has not acknowledged; past it Send and Post wait.
const outboxBytes = 4 << 20

// An outbox sends our messages to one peer over one stream, which is opened
// with the first of them, and matches acknowledgements and replies to callers.
type outbox struct {
	peer kcptransport.PeerID
	open func(ctx context.Context) (stream, error)

	room *semaphore.Weighted
	wake chan struct{} // holds one token when queue grew

	mu      sync.Mutex
	seq     uint64
	queue   []*outgoing
	waiting map[uint64]*outgoing // written and not answered
	err     error                // set once, when the peer is gone
}

type outgoing struct {
	env    *envelope
	cost   int64
	answer chan answer // has room for one; nil when nobody waits
}

type answer struct {
	env *envelope
	err error
}

func newOutbox(peer kcptransport.PeerID, open func(ctx context.Context) (stream, error)) *outbox {
	return &outbox{
		peer: peer, open: open,
		room:    semaphore.NewWeighted(outboxBytes),
		wake:    make(chan struct{}, 1),
		waiting: map[uint64]*outgoing{},
	}
}

// send queues e, waits until the peer took it in (or replied, to a request),
// and returns its answer.
func (o *outbox) send(ctx context.Context, e envelope) (*envelope, error) {
	g := newOutgoing(e)
	if err := o.queueUp(ctx, g); err != nil {
		return nil, err
	}
	return o.await(ctx, g)
}

// queueUp queues g as soon as there is room.
func (o *outbox) queueUp(ctx context.Context, g *outgoing) error {
	if err := o.room.Acquire(ctx, g.cost); err != nil {
		return fmt.Errorf("api: %s takes in no more messages: %w", o.peer.Short(), err)
	}
	return o.push(g)
}

// await waits until the peer has answered.
func (o *outbox) await(ctx context.Context, g *outgoing) (*envelope, error) {
	select {
	case a := <-g.answer:
		return a.env, a.err
	case <-ctx.Done():
		o.forget(g)
		return nil, fmt.Errorf("api: no answer from %s to %q: %w", o.peer.Short(), g.env.Kind, ctx.Err())
	}
}

// post queues e without waiting for anything and reports whether there was room.
func (o *outbox) post(e envelope) bool {
	g := newOutgoing(e)
	g.answer = nil
	return o.room.TryAcquire(g.cost) && o.push(g) == nil
}

func newOutgoing(e envelope) *outgoing {
	return &outgoing{env: &e, cost: int64(min(len(e.Payload)+messageCost, outboxBytes)), answer: make(chan answer, 1)}
}

// holdsRoom reports whether a message counts as in line until it is answered: nobody need wait for what was posted, so that a peer which
// reads and never acknowledges could have us keep any number. Who asks waits.
func (g *outgoing) holdsRoom() bool { return g.answer != nil && g.env.Type != typeRequest }

// answered forgets a message that was written. The caller has the lock.
func (o *outbox) answered(g *outgoing) {
	delete(o.waiting, g.env.Seq)
	if g.holdsRoom() {
		o.room.Release(g.cost)
	}
}

func (o *outbox) push(g *outgoing) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		o.room.Release(g.cost)
		return o.err
	}
	o.seq++
	g.env.Seq = o.seq
	o.queue = append(o.queue, g)
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return nil
}

// forget drops the wait for an answer, and the message itself when it was not
// sent yet.
func (o *outbox) forget(g *outgoing) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.waiting[g.env.Seq] == g {
		o.answered(g)
	}
	for i, q := range o.queue {
		if q == g {
			o.queue = append(o.queue[:i], o.queue[i+1:]...)
			o.room.Release(g.cost)
			return
		}
	}
}

// run sends until ctx ends or the stream fails; gone tells why the peer left.
func (o *outbox) run(ctx context.Context, gone func() error) {
	err := o.serve(ctx)
	if why := gone(); why != nil {
		err = why
	}
	o.fail(err)
}

func (o *outbox) serve(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-o.wake:
	}
	s, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { s.Reset(0) })
	defer stop()

	var wg sync.WaitGroup
	failed := make(chan error, 1)
	wg.Go(func() { failed <- o.readAnswers(s) })
	defer wg.Wait()
	defer s.Reset(0) // unblocks readAnswers; nothing of ours is left by then

	for {
		if err := o.writeQueued(s); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return err
		case <-o.wake:
		}
	}
}

func (o *outbox) writeQueued(w io.Writer) error {
	for {
		o.mu.Lock()
		if len(o.queue) == 0 {
			o.mu.Unlock()
			return nil
		}
		g := o.queue[0]
		o.queue[0] = nil
		o.queue = o.queue[1:]
		if g.answer != nil {
			o.waiting[g.env.Seq] = g
		}
		o.mu.Unlock()
		err := writeFrame(w, g.env)
		if !g.holdsRoom() {
			o.room.Release(g.cost)
		}
		if err != nil {
			return err
		}
	}
}

func (o *outbox) readAnswers(r io.Reader) error {
	for {
		var e envelope
		if err := readFrame(r, maxFrame, &e); err != nil {
			return err
		}
		if err := e.valid(); err != nil {
			return err
		}
		if e.Type != typeAck && e.Type != typeReply {
			return fmt.Errorf("api: %s sent a message where an answer belongs", o.peer.Short())
		}
		o.mu.Lock()
		g := o.waiting[e.Seq]
		// A request is answered by its reply; that it arrived is known by then.
		if g != nil && (e.Type == typeReply) != (g.env.Type == typeRequest) {
			g = nil
		}
		if g != nil {
			o.answered(g)
		}
		o.mu.Unlock()
		if g != nil {
			g.answer <- answer{env: &e}
		}
	}
}

// fail ends every wait with an error.
func (o *outbox) fail(err error) {
	if err == nil || errors.Is(err, io.EOF) {
		err = errors.New("the peer closed its message stream")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = fmt.Errorf("api: %s is gone: %w", o.peer.Short(), err)
	for _, g := range o.queue {
		o.room.Release(g.cost)
		if g.answer != nil {
			g.answer <- answer{err: o.err}
		}
	}
	for _, g := range o.waiting {
		o.answered(g)
		g.answer <- answer{err: o.err}
	}
	o.queue, o.waiting = nil, map[uint64]*outgoing{}
}
