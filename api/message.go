package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/fxamacker/cbor/v2"

	"github.com/2xppg/xppg/kcptransport"
)

// A Message is what a handler gets. It stays valid after the handler returns.
type Message struct {
	From      kcptransport.PeerID // its author, proven
	Kind      string
	Broadcast bool // sent to everyone, and perhaps passed on by others

	payload  cbor.RawMessage
	reply    func(*envelope) error // nil unless the sender awaits a reply
	replied  atomic.Bool
	stranger bool // counted against the senders without a link
}

// A Handler takes in messages of one kind. Messages of one sender are handled
// one at a time in the order they were sent; those of different senders at the
// same time. A handler that blocks holds up later messages of that sender only,
// and a panic is caught and reported as an [EventError].
type Handler func(*Message)

// Decode stores the payload in v, as cbor.Unmarshal would. Struct fields may
// carry `cbor` or `json` tags.
func (m *Message) Decode(v any) error {
	if err := decMode.Unmarshal(m.payload, v); err != nil {
		return fmt.Errorf("api: payload of %q from %s: %w", m.Kind, m.From.Short(), err)
	}
	return nil
}

// Raw returns the payload as CBOR. It must not be changed.
func (m *Message) Raw() []byte { return m.payload }

// Text returns the text of a message sent with [Playground.SendText], or the
// payload itself when it is a string; otherwise "".
func (m *Message) Text() string {
	var t struct {
		Text string `cbor:"text"`
	}
	if decMode.Unmarshal(m.payload, &t) == nil {
		return t.Text
	}
	var s string
	if decMode.Unmarshal(m.payload, &s) == nil {
		return s
	}
	return ""
}

// Errors of Reply.
var (
	ErrNoReplyAwaited = errors.New("api: the sender awaits no reply (it used Send, not Request)")
	ErrReplied        = errors.New("api: a reply was given already")
)

// Reply answers a message that was sent with [Playground.Request]. It may be
// called once, during or after the handler, from any goroutine.
func (m *Message) Reply(v any) error {
	payload, err := encodePayload(v)
	if err != nil {
		return err
	}
	return m.sendReply(&envelope{Type: typeReply, Payload: payload})
}

// ReplyError answers a request with an error, which the caller of
// [Playground.Request] gets as a [*RemoteError].
func (m *Message) ReplyError(reason error) error {
	text := reason.Error()
	text = strings.ToValidUTF8(text[:min(len(text), maxError)], "")
	if text == "" {
		text = "unknown error"
	}
	return m.sendReply(&envelope{Type: typeReply, Err: text})
}

func (m *Message) sendReply(e *envelope) error {
	if m.reply == nil {
		return ErrNoReplyAwaited
	}
	if m.replied.Swap(true) {
		return ErrReplied
	}
	return m.reply(e)
}

func (m *Message) cost() int64 { return int64(min(len(m.payload)+messageCost, inboxBytes)) }

// A RemoteError is what the other side's handler answered with instead of a reply.
type RemoteError struct {
	Peer   kcptransport.PeerID
	Kind   string
	Reason string
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("api: peer %s answered %q with an error: %s", e.Peer.Short(), e.Kind, e.Reason)
}

func encodePayload(v any) (cbor.RawMessage, error) {
	b, err := encMode.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("api: payload cannot be encoded as CBOR: %w", err)
	}
	if len(b) > MaxMessage {
		return nil, fmt.Errorf("api: payload of %d bytes, at most %d are allowed (send larger things as files)", len(b), MaxMessage)
	}
	return b, nil
}

// On sets the handler for messages of a kind; nil removes it. The kind "*"
// stands for every kind that has no handler of its own. It may be called at any
// time, from any goroutine.
func (pg *Playground) On(kind string, h Handler) {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	if h == nil {
		delete(pg.handlers, kind)
		return
	}
	pg.handlers[kind] = h
}

// handle runs the handler for m. It is called by the inbox.
func (pg *Playground) handle(m *Message) {
	pg.mu.Lock()
	h := pg.handlers[m.Kind]
	if h == nil {
		h = pg.handlers["*"]
	}
	pg.mu.Unlock()
	if h == nil {
		if m.reply != nil {
			pg.note(m.From, m.ReplyError(fmt.Errorf("there is no handler for %q", m.Kind)))
		}
		return
	}
	if p := guard(func() { h(m) }); p != nil {
		err := fmt.Errorf("api: handler of %q panicked on a message from %s: %v", m.Kind, m.From.Short(), p)
		pg.note(m.From, err)
		if m.reply != nil && !m.replied.Load() {
			pg.note(m.From, m.ReplyError(errors.New("the handler panicked")))
		}
	}
}

// note reports an error that nobody waits for; nil is ignored.
func (pg *Playground) note(peer kcptransport.PeerID, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		pg.events.emit(Event{Type: EventError, Peer: peer, Err: err})
	}
}
