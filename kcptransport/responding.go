package kcptransport

import (
	"errors"
	"net/netip"
	"slices"
	"time"
)

// Limits of handshakes that others began.
const (
	maxPending    = 256 // beyond, the oldest gives way
	pendingExpiry = 10 * time.Second
	maxEarly      = 4 // data packets kept that came before XX3
)

// busyCode is with what a link is closed that nobody accepts.
const busyCode = 0xFFFFFFFF

// responding is a handshake that another node began and that is not confirmed: what is known of the other node may be
// the work of somebody who replays its packets.
type responding struct {
	pending *pendingResponder
	key     firstKey
	index   uint32
	answer  []byte
	relayed bool     // it came by way of relays
	local   linkName // ours; in XX a guess
	began   time.Time
	early   packetList
}

// firstKey tells first messages apart: a repetition gets the same answer, and costs no arithmetic.
type firstKey struct {
	from      netip.AddrPort
	ephemeral [32]byte
}

// responders is the bounded pool of unconfirmed handshakes.
type responders struct {
	order   []*responding // oldest first
	byIndex map[uint32]*responding
	byKey   map[firstKey]*responding
}

func newResponders() responders {
	return responders{byIndex: make(map[uint32]*responding), byKey: make(map[firstKey]*responding)}
}

func (p *responders) add(r *responding) {
	p.order = append(p.order, r)
	p.byIndex[r.index], p.byKey[r.key] = r, r
}

func (p *responders) remove(r *responding) {
	p.order = slices.DeleteFunc(p.order, func(other *responding) bool { return other == r })
	delete(p.byIndex, r.index)
	delete(p.byKey, r.key)
}

// byPeer returns a handshake that came from peer, so that we call the link the same in all of them; theirs, unless
// nil, is how the peer must call it.
func (p *responders) byPeer(peer PeerID, theirs *remoteID) *responding {
	for _, r := range p.order {
		est := r.pending.established()
		if est == nil || est.peer != peer {
			continue
		}
		if theirs == nil || theirs.matches(remoteID{linkID: parseLinkID(est.hello.LinkID)}) {
			return r
		}
	}
	return nil
}

// next returns when the oldest expires.
func (p *responders) next() time.Time {
	if len(p.order) == 0 {
		return time.Time{}
	}
	return p.order[0].began.Add(pendingExpiry)
}

// first answers a first message that the gate has let pass.
func (h *handshaker) first(now time.Time, p *inPacket) {
	b := p.bytes()
	key, ok := keyOf(p)
	if r := h.pending.byKey[key]; ok && r != nil {
		if h.answers.AllowN(now, 1) {
			h.reply(p, r.answer)
		}
		return
	}
	if h.e.table.count() >= h.e.cfg.MaxLinks {
		h.reject(now, p, RejectBusy)
		return
	}
	if !ok || !h.answers.AllowN(now, 1) {
		h.tryReject(now, p)
		return
	}
	index, err := h.newIndex()
	if err != nil {
		return
	}
	r := &responding{key: key, index: index, began: now, relayed: p.circuit != nil}
	cfg := h.cfg
	cfg.fullAnswer = p.signal == nil // an introducer's line is no path of ours
	r.answer, r.pending, err = respond(cfg, b, index, func(peer PeerID, theirs *Hello) Hello {
		if theirs == nil {
			r.local = h.newName()
		} else {
			r.local = h.nameFor(now, peer, &remoteID{linkID: parseLinkID(theirs.LinkID)})
		}
		return h.hello(r.local.linkID, p.from)
	})
	if err != nil {
		h.e.table.dropIndex(index)
		var refusal *HandshakeError
		if errors.As(err, &refusal) {
			h.reject(now, p, refusal.Reason)
		}
		return
	}
	if len(h.pending.order) == maxPending {
		h.forget(h.pending.order[0])
	}
	h.pending.add(r)
	h.reply(p, r.answer)
}

// askForProof sends the cookie that the gate has made of a first message.
func (h *handshaker) askForProof(p *inPacket) {
	if h.out == nil {
		h.out = outBatches.Get().(*outBatch)
	}
	h.out.push(append(h.out.space(), p.bytes()...), p.from)
	if h.out.full() {
		h.flush()
	}
}

// flush sends what askForProof has gathered.
func (h *handshaker) flush() {
	if h.out != nil {
		h.out.flush(h.e.cfg.Conn)
		outBatches.Put(h.out)
		h.out = nil
	}
}

// keyOf returns what a first message of this version is known by.
func keyOf(p *inPacket) (firstKey, bool) {
	b := p.bytes()
	if len(b) != firstSize {
		return firstKey{}, false
	}
	return firstKey{from: p.from, ephemeral: [32]byte(b[firstHeaderSize:])}, true
}

// tryReject tells the sender of a message that is refused without arithmetic, if anything.
func (h *handshaker) tryReject(now time.Time, p *inPacket) {
	var refusal *HandshakeError
	if _, err := checkFirst(h.cfg, p.bytes()); errors.As(err, &refusal) {
		h.reject(now, p, refusal.Reason)
	}
}

func (h *handshaker) reject(now time.Time, p *inPacket, reason RejectReason) {
	if h.rejects.AllowN(now, 1) {
		h.reply(p, appendReject(nil, p.bytes(), reason))
	}
}

// reply sends b to where p came from.
func (h *handshaker) reply(p *inPacket, b []byte) {
	if p.signal != nil {
		_ = p.signal.Send(b) // lost, as any packet may be
		return
	}
	h.send(b, []netip.AddrPort{p.from})
}

func (h *handshaker) forget(r *responding) {
	h.pending.remove(r)
	r.early.releaseAll()
	h.e.table.dropIndex(r.index)
}

func (h *handshaker) expirePending(now time.Time) {
	for at := h.pending.next(); !at.IsZero() && !now.Before(at); at = h.pending.next() {
		h.forget(h.pending.order[0])
	}
}

// forResponder handles a packet for an unconfirmed handshake and reports whether it has taken it over.
func (h *handshaker) forResponder(now time.Time, r *responding, p *inPacket) bool {
	switch packetType(p.bytes()) {
	case kindFinish:
		if _, err := r.pending.handle(p.bytes()); err != nil {
			return false
		}
		for early := r.early.pop(); early != nil; early = r.early.pop() {
			if h.pending.byIndex[r.index] != r || !h.confirm(now, r, early) {
				early.release()
			}
		}
	case kindData:
		if r.pending.established() == nil {
			if r.early.n < maxEarly {
				r.early.push(p)
				return true
			}
			return false
		}
		return h.confirm(now, r, p)
	}
	return false
}

// confirm makes a link of a handshake if p proves that the other side has the keys: now it is no replay. It reports
// whether it has taken p over.
func (h *handshaker) confirm(now time.Time, r *responding, p *inPacket) bool {
	est := r.pending.established()
	if _, _, err := est.keys.open(h.scratch[:0], p.bytes()); err != nil {
		return false
	}
	est.keys.window = replayWindow{} // the link opens p again
	p.circuit.hears(est.peer)
	remote := remoteID{linkID: parseLinkID(est.hello.LinkID)}
	h.pending.remove(r)
	l, made, err := h.linkFor(now, est.peer, r.local, remote)
	if err != nil {
		r.early.releaseAll()
		h.e.table.dropIndex(r.index)
		return false
	}
	m := sessionMessage{est: est, localIndex: r.index, signal: p.signal, relayed: r.relayed}
	if p.from == r.key.from { // where our answer went and was read
		m.from = p.from
	}
	if made {
		m.ready = h.offer(l)
	}
	h.give(l, m)
	var list packetList
	list.push(p)
	list.append(&r.early)
	l.inbox.deliver(&list)
	return true
}

// offer returns what gives a link that a peer opened to those who wait for it. Who only wanted a path for the link before it
// is told, but takes over no new one.
func (h *handshaker) offer(l *Link) func() {
	d := h.dialByPeer(l.peer)
	if d != nil {
		h.dropDial(d)
	}
	if d != nil && d.rekeys == nil {
		return func() { d.fulfil(l, nil) }
	}
	full := h.e.table.count() > h.e.cfg.MaxLinks // several handshakes were under way when it was checked
	return func() {
		if d != nil {
			d.fulfil(l, nil)
		}
		accepts := h.e.accepts
		if full {
			accepts = nil
		}
		select {
		case accepts <- l:
		default:
			l.inbox.put(closeMessage{code: busyCode, reason: "nobody accepts the link", limit: closeTell})
		}
	}
}
