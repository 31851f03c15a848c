package kcptransport

import (
	"fmt"
	"time"
)

// Times of the end of a link.
const (
	closeFlush     = time.Second            // for what streams have not delivered
	closeTell      = 900 * time.Millisecond // for telling the peer
	closeTimes     = 3                      // how often the peer is told
	firstCloseWait = 100 * time.Millisecond // for its answer, when the round trip is not known
	minCloseWait   = 20 * time.Millisecond
	maxCloseWait   = 300 * time.Millisecond
	closeReason    = 200 // bytes of the reason that are sent
)

// closing is the state of a link that this side ends:
//
//	close ──▶ flushing ──all delivered, or too late──▶ telling ──peer answers, or told 3 times──▶ ended
type closing struct {
	code    uint32
	reason  string
	flush   time.Time // until when streams may deliver
	limit   time.Time // when all is over
	next    time.Time // when to look again
	times   int       // how often the peer was told
	started time.Time
}

// told reports whether the flushing is over.
func (c *closing) told() bool { return c.times > 0 }

// beginClose starts to end the link, or hurries when that is under way.
func (k *linkLoop) beginClose(now time.Time, m closeMessage) {
	c := &closing{code: m.code, reason: m.reason, flush: now.Add(m.flush), limit: now.Add(m.limit), next: now, started: now}
	if old := k.closing; old != nil {
		c.times, c.code, c.reason = old.times, old.code, old.reason
		if old.flush.Before(c.flush) {
			c.flush = old.flush
		}
		if old.limit.Before(c.limit) {
			c.limit = old.limit
		}
	}
	if len(c.reason) > closeReason {
		c.reason = c.reason[:closeReason]
	}
	k.closing = c
}

// closeStep carries a close on.
func (k *linkLoop) closeStep(now time.Time, w *packetWriter) {
	c := k.closing
	if c == nil {
		return
	}
	if !c.told() && now.Before(c.flush) && k.paths.inUse != nil && (k.mux.pending() || k.link.datagrams.pending()) {
		c.next = c.flush
		return
	}
	if now.Before(c.next) && c.told() {
		return
	}
	if c.times == closeTimes || !now.Before(c.limit) {
		k.end(k.localError())
		return
	}
	if !w.tellClose(c.code, c.reason, c.times > 0) { // there is nobody to wait for
		k.end(k.localError())
		return
	}
	c.times++
	wait := firstCloseWait
	if rtt := k.paths.rtt(); rtt > 0 {
		wait = min(max(2*rtt, minCloseWait), maxCloseWait)
	}
	c.next = now.Add(wait)
	if c.limit.Before(c.next) {
		c.next = c.limit
	}
}

func (k *linkLoop) localError() error { return localClose{k.link.peer} }

// localClose is why a link ends that this side closed.
type localClose struct{ peer PeerID }

func (e localClose) Error() string {
	return fmt.Sprintf("kcptransport: the link to %s was closed on this side", e.peer.Short())
}

func (localClose) Unwrap() error { return ErrClosed }

// peerClosed acts on the peer's word that the link ends, which also is its answer to ours.
func (k *linkLoop) peerClosed(now time.Time, f frame, path Path, out *outBatch) {
	if k.closing != nil && k.closing.told() {
		k.end(k.localError())
		return
	}
	w := packetWriter{k: k, now: now, out: out, session: k.sessions.best()}
	w.closeOn(path, f.code, "")
	reason := f.data
	k.end(&PeerError{Code: f.code, Reason: printable(reason[:min(len(reason), closeReason)])})
}
