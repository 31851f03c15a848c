package kcptransport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// What strangers can make an endpoint do, per second and at once.
const (
	answersPerSecond = 1000
	answersBurst     = 500
	maxShakePackets  = 256 // that wait for the handshaker
	rejectsPerSecond = 50
	rejectsBurst     = 50
)

// handshaker makes the links of an endpoint. All of its state belongs to one goroutine.
type handshaker struct {
	e       *Endpoint
	cfg     handshakeConfig
	inbox   *inbox[shakeMessage]
	running sync.WaitGroup
	stopped bool
	boot    uint32
	number  uint32 // of the newest linkID

	dials   []*dial    // in the order they began
	left    []leftName // of dials that were given up, oldest first
	pending responders
	answers *rate.Limiter
	rejects *rate.Limiter
	scratch [packetBufSize]byte
	out     *outBatch // requests for proofs of this turn, nil when there is none
}

// shakeMessage is what the handshaker is sent by others.
type shakeMessage interface{ isShakeMessage() }

// dialRequest is one call of Dial.
type dialRequest struct {
	dial    Dial
	started time.Time
	result  chan dialResult // has room for one
}

type dialResult struct {
	link *Link
	err  error
}

// cancelRequest ends the waiting of a dialRequest.
type cancelRequest struct {
	request *dialRequest
	cause   error
}

// rekeyRequest asks for a handshake that gives a link new keys.
type rekeyRequest struct {
	link    *Link
	addr    netip.AddrPort
	circuit *Circuit // instead of addr; nil: none
}

// stopRequest ends the handshaker.
type stopRequest struct{}

func (*dialRequest) isShakeMessage()  {}
func (cancelRequest) isShakeMessage() {}
func (rekeyRequest) isShakeMessage()  {}
func (stopRequest) isShakeMessage()   {}

func newHandshaker(e *Endpoint) (*handshaker, error) {
	h := &handshaker{
		e:       e,
		cfg:     handshakeConfig{identity: e.cfg.Identity, app: e.cfg.App, secret: e.cfg.Secret, rand: e.cfg.Rand},
		inbox:   newInbox[shakeMessage](&e.queued, maxShakePackets),
		pending: newResponders(),
		answers: rate.NewLimiter(answersPerSecond, answersBurst),
		rejects: rate.NewLimiter(rejectsPerSecond, rejectsBurst),
	}
	var err error
	if h.boot, err = h.random32(); err != nil {
		return nil, fmt.Errorf("kcptransport: listening: %w", err)
	}
	return h, nil
}

func (h *handshaker) start() { h.running.Go(h.run) }

// stop ends the goroutine and everything it works on.
func (h *handshaker) stop() {
	h.inbox.put(stopRequest{})
	h.running.Wait()
}

func (h *handshaker) run() {
	settle := h.e.newSettle()
	timer := time.NewTimer(never)
	defer timer.Stop()
	var spare []shakeMessage
	for !h.stopped {
		select {
		case <-h.inbox.wake:
		case <-timer.C:
		}
		settle()
		packets, messages, _ := h.inbox.take(spare)
		now := time.Now()
		for _, m := range messages {
			h.handle(now, m)
		}
		for p := packets.pop(); p != nil; p = packets.pop() {
			if h.stopped || !h.packet(now, p) {
				p.release()
			}
		}
		spare = messages
		h.flush()
		h.stepDials(now)
		h.expirePending(now)
		if next := earlier(h.nextDial(), h.pending.next()); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
	h.finish()
}

// finish answers everybody who still waits.
func (h *handshaker) finish() {
	for _, d := range h.dials {
		for _, r := range d.requests {
			r.result <- dialResult{err: h.e.closedError("dialling")}
		}
	}
	h.dials = nil
	for _, m := range h.inbox.close() {
		if r, ok := m.(*dialRequest); ok {
			r.result <- dialResult{err: h.e.closedError("dialling")}
		}
	}
	for _, r := range h.pending.order {
		r.early.releaseAll()
	}
}

func (h *handshaker) handle(now time.Time, m shakeMessage) {
	switch m := m.(type) {
	case *dialRequest:
		h.dial(now, m)
	case cancelRequest:
		h.cancel(now, m)
	case rekeyRequest:
		h.rekey(now, m)
	case stopRequest:
		h.stopped = true
	}
}

// packet handles one packet and reports whether it has taken it over.
func (h *handshaker) packet(now time.Time, p *inPacket) bool {
	b := p.bytes()
	switch {
	case p.asks:
		h.askForProof(p)
		return false
	case packetType(b) == kindFirst:
		h.first(now, p)
		return false
	}
	index, _ := receiverIndex(b)
	if d := h.dialByIndex(index); d != nil {
		h.answer(now, d, p)
		return false
	}
	if r := h.pending.byIndex[index]; r != nil {
		return h.forResponder(now, r, p)
	}
	if l, _ := h.e.table.lookup(index); l != nil && packetType(b) == kindData { // it has become a link meanwhile
		var list packetList
		list.push(p)
		l.inbox.deliver(&list)
		return true
	}
	return false
}

func (h *handshaker) random32() (uint32, error) {
	var b [4]byte
	if _, err := io.ReadFull(h.e.cfg.Rand, b[:]); err != nil {
		return 0, fmt.Errorf("reading random bytes: %w", err)
	}
	return binary.BigEndian.Uint32(b[:]), nil
}

// newIndex reserves an index by which packets for a new handshake, and then its session, are found.
func (h *handshaker) newIndex() (uint32, error) {
	for range 100 {
		index, err := h.random32()
		if err != nil {
			return 0, err
		}
		if h.e.table.reserve(index) {
			return index, nil
		}
	}
	return 0, errors.New("no index is free")
}

// hello makes what this side tells in a handshake.
func (h *handshaker) hello(id linkID, observed netip.AddrPort) Hello {
	if carried(observed.Addr()) {
		observed = netip.AddrPort{} // that is not where the peer is
	}
	hello := Hello{LinkID: id.bytes(), Observed: observed}
	if h.e.cfg.Candidates != nil {
		hello.Candidates = h.e.cfg.Candidates()
	}
	if h.e.cfg.Hint != nil {
		hello.Hint = h.e.cfg.Hint()
	}
	return hello
}

// nameFor returns what to call the link to peer: all handshakes with a peer that may become the same link use the
// same name. theirs is what the peer calls it, nil when it did not say.
func (h *handshaker) nameFor(now time.Time, peer PeerID, theirs *remoteID) linkName {
	if l := h.e.table.link(peer); l != nil && theirs != nil && l.isSame(*theirs, now) {
		return linkName{l.local, l}
	}
	if d := h.dialByPeer(peer); d != nil && !h.hasEnded(peer, d.local) {
		return d.local
	}
	if r := h.pending.byPeer(peer, theirs); r != nil && !h.hasEnded(peer, r.local) {
		return r.local
	}
	for _, n := range h.left {
		if n.peer == peer && now.Before(n.until) {
			return n.local
		}
	}
	return h.newName()
}

// leftName is what a link would have been called that a dial did not bring about. The peer may have heard the name, and is not to take
// the next dial for one of another link: it may have begun a handshake itself, that becomes the same link.
type leftName struct {
	peer  PeerID
	local linkName
	until time.Time
}

const (
	leftNameTime = pendingExpiry + guessTime
	maxLeftNames = 64
)

// leaves notes the name of a dial that is given up.
func (h *handshaker) leaves(now time.Time, d *dial) {
	if d.peer.IsZero() || d.local.of != nil {
		return
	}
	h.left = slices.DeleteFunc(h.left, func(n leftName) bool { return n.peer == d.peer || !now.Before(n.until) })
	if len(h.left) == maxLeftNames {
		h.left = slices.Delete(h.left, 0, 1)
	}
	h.left = append(h.left, leftName{d.peer, d.local, now.Add(leftNameTime)})
}

func (h *handshaker) newName() linkName {
	h.number++
	return linkName{linkID: linkID{h.boot, h.number}}
}

// hasEnded reports whether the link that we call so in a handshake with peer is gone. A link that came of that handshake would
// be taken by the peer for the one it has, whose streams ours knows nothing of.
func (h *handshaker) hasEnded(peer PeerID, name linkName) bool {
	return name.of != nil && h.e.table.link(peer) != name.of
}

// named records that there is a link now in whose name other handshakes may be under way.
func (h *handshaker) named(l *Link) {
	h.left = slices.DeleteFunc(h.left, func(n leftName) bool { return n.local.linkID == l.local })
	for _, d := range h.dials {
		if d.local.linkID == l.local {
			d.local.of = l
		}
	}
	for _, r := range h.pending.order {
		if r.local.linkID == l.local {
			r.local.of = l
		}
	}
}

// linkFor returns the link that a completed handshake belongs to. It makes one if need be, in the place of one that
// the peer knows nothing of any more.
func (h *handshaker) linkFor(now time.Time, peer PeerID, local linkName, remote remoteID) (l *Link, made bool, err error) {
	if h.hasEnded(peer, local) && local.of.isSame(remote, now) { // otherwise the peer has begun anew, too
		return nil, false, &metTooLateError{local.of}
	}
	old := h.e.table.link(peer)
	if old != nil && old.isSame(remote, now) {
		if !remote.guess {
			old.remote = remote
		}
		return old, false, nil
	}
	l, loop, err := newLink(h.e, peer, local.linkID, remote, h.e.cfg.Rand, now)
	if err != nil {
		return nil, false, err
	}
	if err := h.e.table.addLink(l, loop); err != nil {
		return nil, false, fmt.Errorf("kcptransport: link to %s: %w", peer.Short(), err)
	}
	h.named(l)
	if old != nil {
		old.inbox.put(abortMessage{fmt.Errorf("link to %s: %w", peer.Short(), ErrReplaced)})
	}
	return l, true, nil
}

// give hands a session to its link.
func (h *handshaker) give(l *Link, m sessionMessage) {
	h.e.table.assign(m.localIndex, l)
	l.learn(m)
	if !l.inbox.put(m) { // the link has just ended
		h.e.table.dropIndex(m.localIndex)
		if m.ready != nil {
			m.ready()
		}
	}
}

// Dial says whom to reach and how.
type Dial struct {
	// Peer is whose key the other side must prove to hold. Zero: whoever answers, whose key is learnt.
	Peer PeerID
	// Addrs are tried all at once; at most 32.
	Addrs []netip.AddrPort
	// Signal, when set, carries the handshake by way of an introducer, beside Addrs.
	Signal Signal
}

// maxDialAddrs bounds the addresses tried at once.
const maxDialAddrs = 32

// Dial opens a link and returns when the handshake is done, which takes a round trip; what is written to streams then
// leaves at once. If there is a link to the peer already, it is returned; so one link may be returned by several calls,
// and by Accept too. When the path of that link fails and there is a Signal, both sides first tell each other their
// candidates anew and try them: see [Config.OnTrouble]. If that link is given up or replaced meanwhile, a
// new one is returned; if it is closed, an error. Dial gives up when ctx ends, or after [Config.HandshakeTimeout]; when the other
// side refused, it tells so by a [*HandshakeError].
func (e *Endpoint) Dial(ctx context.Context, d Dial) (*Link, error) {
	d, err := d.normal(e.ID())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.HandshakeTimeout)
	defer cancel()
	start := time.Now()
	l, err := e.tryDial(ctx, d, start)
	var late *metTooLateError
	if errors.As(err, &late) && late.worthAnother(ctx) {
		l, err = e.tryDial(ctx, d, start)
	}
	return l, err
}

// tryDial has the handshaker do what a call of Dial asks for.
func (e *Endpoint) tryDial(ctx context.Context, d Dial, start time.Time) (*Link, error) {
	r := &dialRequest{dial: d, started: start, result: make(chan dialResult, 1)}
	if !e.shaker.inbox.put(r) {
		return nil, e.closedError("dialling")
	}
	select {
	case got := <-r.result:
		return got.link, got.err
	case <-ctx.Done():
		e.shaker.inbox.put(cancelRequest{r, ctx.Err()})
	}
	got := <-r.result
	return got.link, got.err
}

// normal checks a Dial and drops what cannot be tried.
func (d Dial) normal(self PeerID) (Dial, error) {
	if d.Peer == self {
		return d, errors.New("kcptransport: dialling: the peer ID is that of this node itself")
	}
	var addrs []netip.AddrPort
	seen := make(map[netip.AddrPort]bool)
	for _, a := range d.Addrs {
		a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		if usableAddr(a) && !seen[a] && len(addrs) < maxDialAddrs {
			seen[a] = true
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == 0 && d.Signal == nil {
		return d, fmt.Errorf("kcptransport: dialling: none of the %d addresses can be sent to, and there is no introducer", len(d.Addrs))
	}
	d.Addrs = addrs
	return d, nil
}
