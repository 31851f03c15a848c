package kcptransport

import (
	"sync/atomic"
	"time"
)

const (
	restSlack = time.Second      // by which a pause has to be longer than Config.KeepAlive to be to blame for anything
	restBlame = 10 * time.Second // after such a pause, in which it is to blame for a path that fails
	waryFirst = 2 * time.Hour    // without such pauses after the first failure, doubled each time: it may have been the router, which began anew
	waryMost  = 24 * time.Hour   // but no longer
	restTries = 4                // unanswered probes in a row that are a failure, and no loss
	showEvery = time.Minute      // between two times that one peer's word has us show ourselves to all
)

// keepAlives are the pauses that [Endpoint.SetKeepAlive] has set, in nanoseconds.
type keepAlives struct{ ipv4, ipv6 atomic.Int64 }

// SetKeepAlive changes [Config.KeepAlive] while links run, for the paths over IPv4 and for those over IPv6: NATs and
// firewalls need not treat both alike. 0 means Config.KeepAlive, a negative number no keepalives. Links take it up at once,
// but for two kinds of paths that keep to Config.KeepAlive if that is less: connections that carry packets where UDP is blocked,
// and all paths of a link on which one failed after a longer pause than that: then something on the way does not wait as long as
// was thought. That is tried again after hours, with [Endpoint.NetworkChanged], and when the peer has moved. Any goroutine may call it.
func (e *Endpoint) SetKeepAlive(ipv4, ipv6 time.Duration) {
	if !e.keepAlives.set(durationOr(ipv4, e.cfg.KeepAlive), durationOr(ipv6, e.cfg.KeepAlive)) {
		return
	}
	for _, l := range e.table.all() {
		l.inbox.poke()
	}
}

// set reports whether a pause has changed.
func (a *keepAlives) set(ipv4, ipv6 time.Duration) bool {
	was4, was6 := a.ipv4.Swap(int64(ipv4)), a.ipv6.Swap(int64(ipv6))
	return was4 != int64(ipv4) || was6 != int64(ipv6)
}

// load returns the pauses for a link. The side with the lower ID asks a little earlier, and with its answer the other one has
// nothing to ask if both keep alive alike.
func (a *keepAlives) load(lower bool) (ipv4, ipv6 time.Duration) {
	ipv4, ipv6 = time.Duration(a.ipv4.Load()), time.Duration(a.ipv6.Load())
	if lower {
		ipv4, ipv6 = askEarlier(ipv4), askEarlier(ipv6)
	}
	return ipv4, ipv6
}

func askEarlier(d time.Duration) time.Duration { return d - min(d/32, askFirst) }

// pause is how long nothing may be sent on e.
func (t *pathTable) pause(e *pathEntry) time.Duration {
	d, ip := t.ipv6, e.path.Addr.Addr()
	if ip.Unmap().Is4() {
		d = t.ipv4
	}
	if carried(ip) || !t.wary.IsZero() && later(e.sentAt, e.heardAt).Before(t.wary) {
		return min(d, t.keepAlive)
	}
	return d
}

// stirs is called before something is sent or heard on e. It notes the end of a pause longer than Config.KeepAlive.
func (t *pathTable) stirs(now time.Time, e *pathEntry) {
	if t.resting(now, e) {
		e.restedAt = now
	}
}

func (t *pathTable) resting(now time.Time, e *pathEntry) bool {
	last := later(e.sentAt, e.heardAt)
	return !last.IsZero() && now.Sub(last) > t.keepAlive+restSlack
}

// blame is called when a NAT seems to have forgotten e. After a long pause, that is why: for a time there are none.
func (t *pathTable) blame(now time.Time, e *pathEntry) {
	if e.path.Direct() && !now.Before(t.wary) && (t.resting(now, e) || !e.restedAt.IsZero() && now.Sub(e.restedAt) < restBlame) {
		t.wary = now.Add(min(waryFirst<<min(t.failures, 16), waryMost))
		t.failures++
	}
}

// forgive has long pauses tried again.
func (t *pathTable) forgive() { t.wary, t.failures = time.Time{}, 0 }

// blameMove is called when the peer comes up at p, and old was in use. At another port of the same address a NAT has forgotten
// old; at another address the peer has moved, and what there was to blame before is left behind.
func (t *pathTable) blameMove(now time.Time, old *pathEntry, p Path) {
	switch {
	case !p.Direct() || !old.path.Direct() || carried(p.Addr.Addr()):
	case p.Addr.Addr() == old.path.Addr.Addr():
		t.blame(now, old)
	case p.Addr.Addr().Is4() == old.path.Addr.Addr().Is4():
		t.forgive()
	}
}

// showAll has all other links show their peers where we are, when the peer of one sees us at another address than before: a NAT
// of ours has perhaps forgotten everything, and until the peers have heard from us none of them can reach us. The longer
// the pauses, the longer that would take.
func (e *Endpoint) showAll(now time.Time, seen *Link) {
	last, since := e.shownAll.Load(), int64(now.Sub(e.started)) // which a jump of the clock does not change
	if last != 0 && time.Duration(since-last) < showEvery || !e.shownAll.CompareAndSwap(last, max(since, 1)) {
		return
	}
	for _, l := range e.table.all() {
		if l != seen {
			l.inbox.offer(showMessage{})
		}
	}
}
