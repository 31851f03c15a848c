package kcptransport

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Times of a dial. A first message is repeated with growing pauses, because one lost packet must not cost a join.
const (
	dialRetry    = 250 * time.Millisecond
	maxDialRetry = 4 * time.Second
	// rejectGrace is how long a dial goes on that was refused everywhere: refusals are not authenticated.
	rejectGrace = time.Second
)

// dial is a handshake that this side began, towards one peer or towards whoever answers at some addresses.
type dial struct {
	initiator *initiator
	index     uint32
	peer      PeerID   // zero: not known
	local     linkName // ours, zero: chosen when the peer is known
	requests  []*dialRequest
	targets   []dialTarget
	sentAt    time.Time // the first time
	tries     int
	next      time.Time // of the first message
	failAt    time.Time // when to give up before those who wait do; zero: not
	rekeys    *Link     // the handshake is to give this link new keys

	answering  netip.AddrPort // where the packet comes from that is being handled
	answeredAt time.Time

	signal       Signal
	signalSentAt time.Time
	signalTries  int
	signalNext   time.Time
}

// dialTarget is one address that is tried.
type dialTarget struct {
	addr    netip.AddrPort
	refused error   // what it answered, if it did
	final   bool    // asking again is of no use
	cookie  *cookie // what to show there, when it asked for it
	proofs  int     // first messages that were sent because it asked
}

// maxProofs bounds how often an address can have a first message sent by asking for a proof.
const maxProofs = 3

// packetFor returns the first message for a target.
func (d *dial) packetFor(t *dialTarget) []byte {
	if t.cookie == nil {
		return d.initiator.first()
	}
	return appendCookied(nil, d.initiator.first(), *t.cookie)
}

func (h *handshaker) dialByIndex(index uint32) *dial {
	i := slices.IndexFunc(h.dials, func(d *dial) bool { return d.index == index })
	if i < 0 {
		return nil
	}
	return h.dials[i]
}

func (h *handshaker) dialByPeer(peer PeerID) *dial {
	i := slices.IndexFunc(h.dials, func(d *dial) bool { return d.peer == peer })
	if i < 0 || peer.IsZero() {
		return nil
	}
	return h.dials[i]
}

// dial begins to do what a call of Dial asks for, or joins it to one that is under way.
func (h *handshaker) dial(now time.Time, r *dialRequest) {
	if l := h.e.table.link(r.dial.Peer); l != nil {
		if r.dial.Signal != nil && l.needsMeeting() {
			h.meetAgain(now, l, r)
			return
		}
		h.hint(l, r.dial)
		ready := func() { r.result <- dialResult{link: l} }
		if !l.inbox.put(readyMessage{ready}) {
			ready()
		}
		return
	}
	d := h.dialByPeer(r.dial.Peer)
	if d != nil && d.rekeys != nil { // that link has ended meanwhile
		h.dropDial(d)
		d.fulfil(nil, &metTooLateError{d.rekeys})
		d = nil
	}
	if n := h.e.table.count(); n >= h.e.cfg.MaxLinks {
		r.result <- dialResult{err: fmt.Errorf("kcptransport: dialling: there are %d links already, as many as Config.MaxLinks allows", n)}
		return
	}
	if d == nil {
		var err error
		if d, err = h.newDial(now, r.dial.Peer, nil); err != nil {
			r.result <- dialResult{err: err}
			return
		}
	}
	d.requests = append(d.requests, r)
	var fresh []netip.AddrPort
	for _, a := range r.dial.Addrs {
		if len(d.targets) < maxDialAddrs && !slices.ContainsFunc(d.targets, func(t dialTarget) bool { return t.addr == a }) {
			d.targets = append(d.targets, dialTarget{addr: a})
			fresh = append(fresh, a)
			d.failAt = time.Time{}
		}
	}
	if d.tries > 0 { // the others get theirs in stepDials
		h.send(d.initiator.first(), fresh)
	}
	if r.dial.Signal != nil {
		d.useSignal(now, r.dial.Signal)
	}
}

// rekey begins a handshake that gives a link new keys. When it fails, the link asks again.
func (h *handshaker) rekey(now time.Time, r rekeyRequest) {
	if h.e.table.link(r.link.peer) != r.link || h.dialByPeer(r.link.peer) != nil {
		return
	}
	d, err := h.newDial(now, r.link.peer, r.link)
	if err != nil {
		return
	}
	d.failAt = now.Add(rekeyPause / 2)
	if r.circuit != nil {
		d.useSignal(now, r.circuit)
		d.failAt = now.Add(rekeyPause / 2)
		return
	}
	d.targets = []dialTarget{{addr: r.addr}}
}

// metTooLateError is why a dial fails that was to help a link.
type metTooLateError struct{ link *Link }

func (e *metTooLateError) Error() string {
	return "kcptransport: dialling: the link that was to get a path has ended"
}

// worthAnother reports whether a new link is wanted in place of the one that has ended, because nobody has closed that.
func (e *metTooLateError) worthAnother(ctx context.Context) bool {
	select {
	case <-e.link.Done(): // any moment
	case <-ctx.Done():
		return false
	}
	var gone *GoneError
	err := e.link.Err()
	return errors.As(err, &gone) || errors.Is(err, ErrReplaced)
}

// meetAgain has both sides of a link whose path fails tell each other where they are now, by way of an introducer: a
// handshake carries that, and gives the link new keys besides.
func (h *handshaker) meetAgain(now time.Time, l *Link, r *dialRequest) {
	d := h.dialByPeer(l.peer)
	if d == nil {
		var err error
		if d, err = h.newDial(now, l.peer, l); err != nil {
			r.result <- dialResult{err: err}
			return
		}
	}
	d.requests = append(d.requests, r)
	d.useSignal(now, r.dial.Signal)
}

// useSignal has the first message go by way of an introducer, too, from now on.
func (d *dial) useSignal(now time.Time, s Signal) {
	d.signal, d.signalNext, d.signalTries, d.failAt = s, now, 0, time.Time{}
}

// sendSignals sends b by the introducers of all who wait, of which the last one may not have been reached yet, or by what a link gave for
// its new keys. What fails is lost, as any packet may be.
func (d *dial) sendSignals(b []byte) {
	sent := false
	for _, r := range d.requests {
		if r.dial.Signal != nil {
			_ = r.dial.Signal.Send(b)
			sent = true
		}
	}
	if !sent {
		_ = d.signal.Send(b)
	}
}

// newDial begins a handshake. rekeys is the link that it is for, nil when there is none yet.
func (h *handshaker) newDial(now time.Time, peer PeerID, rekeys *Link) (*dial, error) {
	index, err := h.newIndex()
	if err != nil {
		return nil, fmt.Errorf("kcptransport: dialling: %w", err)
	}
	d := &dial{index: index, peer: peer, next: now, rekeys: rekeys}
	switch {
	case rekeys != nil:
		d.local = linkName{rekeys.local, rekeys}
	case !peer.IsZero():
		d.local = h.nameFor(now, peer, nil)
	}
	d.initiator, err = newInitiator(h.cfg, peer, index, func(peer PeerID, theirs *Hello) Hello {
		if theirs != nil {
			d.local = h.nameFor(d.answeredAt, peer, &remoteID{parseLinkID(theirs.LinkID), true})
		}
		return h.hello(d.local.linkID, d.answering)
	})
	if err != nil {
		h.e.table.dropIndex(index)
		return nil, err
	}
	h.dials = append(h.dials, d)
	return d, nil
}

// hint makes use of what a Dial knows about a peer to which there is a link.
func (h *handshaker) hint(l *Link, d Dial) {
	known := l.Paths()
	for _, a := range d.Addrs {
		if !slices.ContainsFunc(known, func(p PathInfo) bool { return p.Path == Path{Addr: a} }) {
			l.Probe(Path{Addr: a}, 0)
		}
	}
	if d.Signal != nil {
		l.inbox.put(signalMessage{d.Signal})
	}
}

// send sends b to all of addrs.
func (h *handshaker) send(b []byte, addrs []netip.AddrPort) {
	if len(addrs) > 0 {
		_, _ = h.e.cfg.Conn.WriteBatch(slices.Repeat([][]byte{b}, len(addrs)), addrs) // what fails is repeated
	}
}

// stepDials repeats first messages, and gives up what is hopeless.
func (h *handshaker) stepDials(now time.Time) {
	for _, d := range slices.Clone(h.dials) {
		if !d.failAt.IsZero() && !now.Before(d.failAt) {
			for _, r := range d.requests {
				r.result <- dialResult{err: d.failure(now, r, nil)}
			}
			h.leaves(now, d)
			h.dropDial(d)
			continue
		}
		if !now.Before(d.next) {
			var packets [][]byte
			var addrs []netip.AddrPort
			for i := range d.targets {
				if t := &d.targets[i]; !t.final {
					packets, addrs = append(packets, d.packetFor(t)), append(addrs, t.addr)
				}
			}
			if d.tries == 0 {
				d.sentAt = now
			}
			if len(addrs) > 0 {
				_, _ = h.e.cfg.Conn.WriteBatch(packets, addrs) // what fails is repeated
			}
			d.next = now.Add(h.jitter(min(dialRetry<<min(d.tries, 8), maxDialRetry)))
			d.tries++
		}
		if d.signal != nil && !now.Before(d.signalNext) {
			d.signalSentAt = now
			d.sendSignals(d.initiator.first())
			d.signalNext = now.Add(min(4*dialRetry<<min(d.signalTries, 8), maxDialRetry))
			d.signalTries++
		}
	}
}

func (h *handshaker) nextDial() time.Time {
	var at time.Time
	for _, d := range h.dials {
		at = earlier(earlier(at, d.next), d.failAt)
		if d.signal != nil {
			at = earlier(at, d.signalNext)
		}
	}
	return at
}

// jitter varies a pause by an eighth, so that peers that started together do not stay together.
func (h *handshaker) jitter(pause time.Duration) time.Duration {
	r, err := h.random32()
	if err != nil {
		return pause
	}
	return pause - pause/8 + time.Duration(uint64(pause/4)*uint64(r)>>32)
}

// prove shows a target the cookie that it sent, at once and in all later first messages.
func (h *handshaker) prove(d *dial, p *inPacket) {
	_, c, ok := parseCookie(p.bytes())
	i := slices.IndexFunc(d.targets, func(t dialTarget) bool { return t.addr == p.from })
	if !ok || i < 0 || d.targets[i].proofs == maxProofs {
		return
	}
	t := &d.targets[i]
	t.cookie = &c
	t.proofs++
	h.send(d.packetFor(t), []netip.AddrPort{t.addr})
}

// answer handles a packet that came for a dial.
func (h *handshaker) answer(now time.Time, d *dial, p *inPacket) {
	if packetType(p.bytes()) == kindCookie {
		h.prove(d, p)
		return
	}
	d.answering, d.answeredAt = p.from, now
	finish, est, err := d.initiator.handle(p.bytes())
	if err != nil {
		h.refused(now, d, p.from, err)
		return
	}
	p.circuit.hears(est.peer)
	m := sessionMessage{est: est, localIndex: d.index, from: p.from, finish: finish}
	switch {
	case p.signal != nil:
		m.signal, m.rtt, m.relayed = p.signal, now.Sub(d.signalSentAt), p.circuit != nil
	case d.tries == 1: // otherwise it cannot be told which one was answered
		m.rtt = now.Sub(d.sentAt)
	}
	h.removeDial(d)
	if d.rekeys != nil && h.e.table.link(d.peer) != d.rekeys {
		h.e.table.dropIndex(d.index)
		d.fulfil(nil, &metTooLateError{d.rekeys})
		return
	}
	if l := h.joinExisting(d, est); l != nil {
		h.e.table.dropIndex(d.index)
		l.Probe(Path{Addr: p.from}, 0)
		d.fulfil(l, nil)
		return
	}
	l, made, err := h.linkFor(now, est.peer, d.local, remoteID{parseLinkID(est.hello.LinkID), d.peer.IsZero()})
	if err != nil {
		h.e.table.dropIndex(d.index)
		d.fulfil(nil, err)
		return
	}
	other := h.dialByPeer(est.peer) // somebody dialled the same peer by its key, while d knew only an address
	if other != nil {
		h.dropDial(other)
	}
	m.ready = func() {
		d.fulfil(l, nil)
		if other != nil {
			other.fulfil(l, nil)
		}
	}
	if made && d.rekeys != nil { // the peer was restarted, and nobody here has asked for a link
		waiting, offered := m.ready, h.offer(l)
		m.ready = func() { waiting(); offered() }
	}
	h.give(l, m)
}

// joinExisting returns the link that a dial by address has led to, if there is one and the peer was not restarted. The
// handshake is not completed then.
func (h *handshaker) joinExisting(d *dial, est *established) *Link {
	l := h.e.table.link(est.peer)
	if l == nil || !d.peer.IsZero() || l.remote.boot != parseLinkID(est.hello.LinkID).boot {
		return nil
	}
	return l
}

// fulfil tells those who wait for a dial its outcome.
func (d *dial) fulfil(l *Link, err error) {
	for _, r := range d.requests {
		r.result <- dialResult{link: l, err: err}
	}
}

// removeDial forgets a dial whose index now belongs to a link.
func (h *handshaker) removeDial(d *dial) {
	h.dials = slices.DeleteFunc(h.dials, func(other *dial) bool { return other == d })
}

// dropDial forgets a dial that led to nothing itself.
func (h *handshaker) dropDial(d *dial) {
	h.e.table.dropIndex(d.index)
	h.removeDial(d)
}

// refused notes what an address answered. When all have refused for good, the dial ends soon.
func (h *handshaker) refused(now time.Time, d *dial, from netip.AddrPort, err error) {
	var refusal *HandshakeError
	self := errors.Is(err, errHandshakeSelf)
	if !self && !errors.As(err, &refusal) {
		return
	}
	all := d.signal == nil
	for i := range d.targets {
		t := &d.targets[i]
		if t.addr == from {
			t.refused, t.final = err, self || refusal.Reason != RejectBusy
		}
		all = all && t.final
	}
	if all && d.failAt.IsZero() {
		d.failAt = now.Add(rejectGrace)
	}
}

// cancel ends the waiting of a call whose context has ended.
func (h *handshaker) cancel(now time.Time, m cancelRequest) {
	for _, d := range h.dials {
		i := slices.Index(d.requests, m.request)
		if i < 0 {
			continue
		}
		m.request.result <- dialResult{err: d.failure(now, m.request, m.cause)}
		if d.requests = slices.Delete(d.requests, i, i+1); len(d.requests) == 0 {
			h.leaves(now, d)
			h.dropDial(d)
		}
		return
	}
}

// failure tells what was tried in vain.
func (d *dial) failure(now time.Time, r *dialRequest, cause error) error {
	var tried []string
	var refusal error
	for _, t := range d.targets {
		tried = append(tried, t.addr.String())
		if t.refused != nil {
			refusal = t.refused
		}
	}
	if d.signal != nil {
		tried = append(tried, "an introducer")
	}
	to := strings.Join(tried, ", ")
	elapsed := now.Sub(r.started).Round(time.Millisecond)
	switch {
	case refusal != nil && cause != nil:
		return fmt.Errorf("kcptransport: no link through %s in %s: %w (%w)", to, elapsed, refusal, cause)
	case refusal != nil:
		return fmt.Errorf("kcptransport: no link through %s: %w", to, refusal)
	}
	return fmt.Errorf("kcptransport: no answer from %s in %s: %w", to, elapsed, cause)
}
