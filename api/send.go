package api

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// ErrNotConnected is wrapped by errors about a peer that there is no link to.
var ErrNotConnected = errors.New("not connected")

const broadcastSignature = "xppg broadcast v1\x00"

// Send sends payload, any value that CBOR can carry, up to 1 MiB encoded.
//
// With peers named in to, it returns when each has taken the message in; the
// errors of those that did not are joined. Without, the message goes to
// everyone in the application, also to peers that only others have a link to,
// and Send returns when the peers we have links to took it in; with no link at
// all it is an error. That a message was taken in means that its handler will
// run; use [Playground.Request] to know what came of it.
//
// A peer that has vanished is waited for until its link ends, see
// [Playground.Post] for not waiting. When ctx ends first the message may or may
// not arrive.
func (pg *Playground) Send(ctx context.Context, kind string, payload any, to ...kcptransport.PeerID) error {
	return <-pg.Post(ctx, kind, payload, to...)
}

// Post is like [Playground.Send], but returns as soon as the message is in line
// for its peers, behind those of earlier calls: so a program that sends one
// message after the other is not held up by a peer that does not answer. The
// channel tells, once, what Send would have returned. Post waits only while
// more than 4 MiB are in line for one of the peers, or sent and not acknowledged.
// ctx is that of the message: it must last until the channel has told.
func (pg *Playground) Post(ctx context.Context, kind string, payload any, to ...kcptransport.PeerID) <-chan error {
	told := make(chan error, 1)
	sent, err := pg.post(ctx, kind, payload, to)
	if len(sent) == 0 {
		told <- err
		return told
	}
	go func() {
		errs := []error{err}
		for _, s := range sent {
			_, err := s.out.await(ctx, s.message)
			errs = append(errs, err)
		}
		told <- errors.Join(errs...)
	}()
	return told
}

// post queues a message and returns where; the error is of the peers for which it could not.
func (pg *Playground) post(ctx context.Context, kind string, payload any, to []kcptransport.PeerID) ([]posted, error) {
	if err := checkKind(kind); err != nil {
		return nil, err
	}
	raw, err := encodePayload(payload)
	if err != nil {
		return nil, err
	}
	if len(to) == 0 {
		return pg.broadcast(ctx, envelope{Type: typeBroadcast, Kind: kind, Payload: raw})
	}
	peers := make([]*peer, 0, len(to))
	var missing []error
	for _, id := range to {
		p, err := pg.peer(id)
		if err != nil {
			missing = append(missing, err)
			continue
		}
		peers = append(peers, p)
	}
	sent, err := postAll(ctx, peers, envelope{Type: typeMessage, Kind: kind, Payload: raw})
	return sent, errors.Join(append(missing, err)...)
}

// SendText sends a message of kind "text" whose payload is {"text": text}.
func (pg *Playground) SendText(ctx context.Context, text string, to ...kcptransport.PeerID) error {
	return pg.Send(ctx, "text", map[string]string{"text": text}, to...)
}

// Request sends a message to one peer and waits for what its handler gives to
// [Message.Reply], which is decoded into reply (nil to ignore it). An error
// that the handler answered with is a [*RemoteError].
func (pg *Playground) Request(ctx context.Context, to kcptransport.PeerID, kind string, payload, reply any) error {
	if err := checkKind(kind); err != nil {
		return err
	}
	return pg.request(ctx, to, kind, payload, reply)
}

func (pg *Playground) request(ctx context.Context, to kcptransport.PeerID, kind string, payload, reply any) error {
	raw, err := encodePayload(payload)
	if err != nil {
		return err
	}
	p, err := pg.peer(to)
	if err != nil {
		return err
	}
	e, err := p.out.send(ctx, envelope{Type: typeRequest, Kind: kind, Payload: raw})
	if err != nil {
		return err
	}
	if e.Err != "" {
		return &RemoteError{Peer: to, Kind: kind, Reason: e.Err}
	}
	if reply == nil {
		return nil
	}
	if err := decMode.Unmarshal(e.Payload, reply); err != nil {
		return fmt.Errorf("api: reply of %s to %q: %w", to.Short(), kind, err)
	}
	return nil
}

func checkKind(kind string) error {
	switch {
	case kind == "" || kind == "*":
		return errors.New("api: a message needs a kind")
	case len(kind) > maxKind:
		return fmt.Errorf("api: kind of %d bytes, at most %d are allowed", len(kind), maxKind)
	case strings.HasPrefix(kind, reservedPrefix):
		return fmt.Errorf("api: kinds that begin with %q are the playground's own", reservedPrefix)
	}
	return nil
}

// posted is a message in line for a peer.
type posted struct {
	out     *outbox
	message *outgoing
}

// postAll queues e for each peer, and joins the errors. One without room holds up no other.
func postAll(ctx context.Context, peers []*peer, e envelope) (sent []posted, err error) {
	errs := make([]error, len(peers))
	queued := make([]*outgoing, len(peers))
	var full sync.WaitGroup
	for i, p := range peers {
		g := newOutgoing(e)
		queued[i] = g
		if p.out.room.TryAcquire(g.cost) {
			errs[i] = p.out.push(g)
		} else {
			full.Go(func() { errs[i] = p.out.queueUp(ctx, g) })
		}
	}
	full.Wait()
	for i, p := range peers {
		if errs[i] == nil {
			sent = append(sent, posted{p.out, queued[i]})
		}
	}
	return sent, errors.Join(errs...)
}

func (pg *Playground) broadcast(ctx context.Context, e envelope) ([]posted, error) {
	peers := pg.readyPeers()
	if len(peers) == 0 {
		return nil, fmt.Errorf("api: nobody to send %q to: %w to any peer (join one first)", e.Kind, ErrNotConnected)
	}
	id := pg.ID()
	e.Origin = id[:]
	e.Boot = pg.boot
	e.Number = pg.broadcasts.Add(1)
	e.Sig = pg.cfg.Identity.Sign(broadcastBytes(pg.cfg.App, &e))
	return postAll(ctx, peers, e)
}

// broadcastBytes is what the author of a broadcast signs: everything but the
// number that each hop gives it.
func broadcastBytes(app string, e *envelope) []byte {
	b := append([]byte(broadcastSignature), mustMarshal([]any{app, e.Kind, []byte(e.Payload)})...)
	b = binary.BigEndian.AppendUint64(b, e.Boot)
	return binary.BigEndian.AppendUint64(b, e.Number)
}

// takeBroadcast verifies a broadcast that p sent or passed on, hands it to the
// handlers once and in its author's order, and passes it on.
func (pg *Playground) takeBroadcast(ctx context.Context, p *peer, e *envelope) error {
	var from kcptransport.PeerID
	copy(from[:], e.Origin)
	if from == pg.ID() {
		return nil
	}
	if !kcptransport.Verify(from, broadcastBytes(pg.cfg.App, e), e.Sig) {
		return fmt.Errorf("%w: broadcast with a wrong signature", errProtocol)
	}
	m := broadcastMessage(e)
	if from == p.id {
		// A slow handler slows its own sender down, and nobody else.
		if err := pg.inbox.waitRoom(ctx, m); err != nil {
			return err
		}
	}
	pg.orderMu.Lock()
	ready, fresh := pg.order.add(time.Now(), origin{from, e.Boot}, e)
	pg.deliver(ready)
	pg.orderMu.Unlock()
	if !fresh {
		return nil
	}
	if len(ready) == 0 {
		pg.wakeHeld()
	}
	for _, other := range pg.readyPeers() {
		if other != p && other.id != from && !other.out.post(forwarded(e)) {
			pg.note(other.id, fmt.Errorf("api: %s is too slow for the broadcasts passed on to it; one of kind %q was left out", other.id.Short(), e.Kind))
		}
	}
	return nil
}

func forwarded(e *envelope) envelope {
	f := *e
	f.Seq = 0
	return f
}

func broadcastMessage(e *envelope) *Message {
	m := &Message{Kind: e.Kind, Broadcast: true, payload: e.Payload}
	copy(m.From[:], e.Origin)
	return m
}

// deliver hands broadcasts to the handlers in this order. It never waits, as
// orderMu is held; what finds no room is left out.
func (pg *Playground) deliver(ready []*envelope) {
	for _, e := range ready {
		if m := broadcastMessage(e); !pg.inbox.tryPush(m) {
			pg.note(m.From, fmt.Errorf("api: handlers are too slow for the broadcasts of %s; one of kind %q was left out", m.From.Short(), e.Kind))
		}
	}
}

// releaseHeld delivers broadcasts that waited too long for an earlier one. It
// runs until the playground closes and sleeps while nothing is held.
func (pg *Playground) releaseHeld(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for woken(ctx, timer, pg.heldWake) {
		now := time.Now()
		pg.orderMu.Lock()
		ready, next := pg.order.expire(now)
		pg.deliver(ready)
		pg.orderMu.Unlock()
		if !next.IsZero() {
			timer.Reset(next.Sub(now))
		}
	}
}

func (pg *Playground) wakeHeld() {
	wake(pg.heldWake)
}
