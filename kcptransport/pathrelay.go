package kcptransport

import (
	"net/netip"
	"slices"
	"time"
)

// How a link goes between direct paths and circuits.
const (
	probation     = 5 * time.Second  // that a direct path has to work again before a circuit is left for it; doubled each time
	maxProbation  = 5 * time.Minute  // but no longer
	probationPast = 10 * time.Minute // after which earlier failures are forgotten
	probationAsk  = time.Second      // between probes meanwhile
	minSpareRTT   = 5 * time.Millisecond
	spareGrace    = 2 * time.Millisecond
	spareLimit    = 15 * time.Second // after which a suspect direct path leaves the table while a circuit is in use
)

// carriedPrefix has the addresses that stand for connections (TCP, WebSocket) by which packets travel where UDP is blocked
// (RFC 6666: nothing on any wire has such an address).
var carriedPrefix = netip.MustParsePrefix("100::/64")

// carried reports whether an address stands for a connection.
func carried(a netip.Addr) bool { return carriedPrefix.Contains(a) }

// opened enters a circuit. Each of its hops is a link that carries full packets, so it needs no proof; a small probe measures
// the round trip, and shows the other side that the handshake is complete.
func (t *pathTable) opened(now time.Time, p Path, rtt time.Duration, relays []PeerID) {
	e := t.find(p)
	if e == nil {
		if e = t.add(p); e == nil {
			return
		}
	}
	if e.srtt == 0 {
		e.srtt = rtt
	}
	e.full, e.relays = true, relays
	t.validate(now, e, ReasonOpened)
	e.probeAt = now
}

// leave has a circuit that is about to be closed left for another one, so that nothing is on its way there when it is.
func (t *pathTable) leave(now time.Time, p Path) {
	if e := t.find(p); e != nil && !e.leaving {
		e.leaving = true
		t.choose(now)
	}
}

// closed takes a circuit out.
func (t *pathTable) closed(now time.Time, p Path) {
	e := t.find(p)
	if e == nil {
		return
	}
	t.paths = slices.DeleteFunc(t.paths, func(other *pathEntry) bool { return other == e })
	t.dirty = true
	if e == t.inUse {
		if e.counts.PacketsReceived > 0 { // else that it led there was the relays' word, and what is asked on the next one counts together with it
			t.heardAt = now // the peer has from now on time to be found otherwise
			t.forgetAsking()
		}
		t.lose(now)
	}
}

// met records a handshake with the peer, perhaps by way of somebody else: what was asked on paths that have ended says nothing any more.
func (t *pathTable) met(now time.Time) {
	if t.heardAt = now; t.inUse == nil {
		t.forgetAsking()
	}
}

// lose goes over to another path, if there is one, from the one in use, which has left the table.
func (t *pathTable) lose(now time.Time) {
	t.inUse = nil
	if t.choose(now); t.inUse == nil {
		t.lostAt = now
	}
}

// forgetFailing takes the direct paths out on which an answer is missing, and goes over to a circuit.
func (t *pathTable) forgetFailing(now time.Time) {
	failing := func(e *pathEntry) bool { return e.path.Direct() && !e.suspect.IsZero() }
	n := len(t.paths)
	t.paths = slices.DeleteFunc(t.paths, failing)
	t.dirty = t.dirty || len(t.paths) < n
	if t.inUse != nil && failing(t.inUse) {
		t.forgetAsking()
		t.lose(now)
	}
}

// spare returns the best circuit that works and is not in use, nil when there is none. It costs nothing while it is not
// needed: what keeps its hops alive are the links they belong to.
func (t *pathTable) spare() *pathEntry {
	return t.best(func(e *pathEntry) bool { return !e.path.Direct() && e != t.inUse && e.suspect.IsZero() })
}

// best returns the best of the paths that were validated and are wanted, nil when there is none.
func (t *pathTable) best(wanted func(*pathEntry) bool) *pathEntry {
	var best *pathEntry
	for _, e := range t.paths {
		if !e.validated.IsZero() && wanted(e) && (best == nil || comparePaths(e.pathView(t, true), best.pathView(t, true)) < 0) {
			best = e
		}
	}
	return best
}

// spareInDoubt returns the circuit on which everything is sent a second time, because an answer is missing on the path in
// use; nil when none is missing, or there is no such circuit.
func (t *pathTable) spareInDoubt() *pathEntry {
	if !t.inDoubt() {
		return nil
	}
	return t.spare()
}

// owes records that data of a stream was sent on the path in use: the peer has to acknowledge it, and where there is a
// circuit to spare, anything else that comes is no sign that it arrived.
func (t *pathTable) owes(now time.Time) {
	if e := t.inUse; e != nil && !e.owed {
		e.owed, e.waiting = true, now
	}
}

// unheardSince returns since when what was sent on the path in use may not have arrived.
func (t *pathTable) unheardSince(now time.Time) time.Time {
	if !t.inUse.waiting.IsZero() {
		now = t.inUse.waiting
	}
	return now.Add(-t.inUse.srtt)
}

// show has the path in use probed now, at full size, unless it was lately.
func (t *pathTable) show(now time.Time) {
	if e := t.inUse; e != nil && e.suspect.IsZero() && now.Sub(e.probedAt) >= doubtPause {
		e.probeAt, e.padNext, e.tries = now, true, 0
	}
}

// strict reports whether only an answer to a probe of ours ends a doubt. Where there is another way, hearing the peer is not
// enough: it may be that it does not hear us.
func (t *pathTable) strict() bool {
	return t.inUse != nil && !t.inUse.path.Direct() || t.spare() != nil
}

// deaf reports whether p is the path in use and nothing was heard on it for too long.
func (t *pathTable) deaf(p Path) bool {
	return t.inDoubt() && t.inUse.path == p && t.inUse.reason == ReasonSilence
}

// notHeard is called when the peer says that it hears nothing of what we send.
func (t *pathTable) notHeard(now time.Time) {
	if t.inUse != nil && t.spare() != nil {
		t.doubtInUse(now)
	}
}

// doubtInUse doubts the path in use because of what the peer does, but not again and again.
func (t *pathTable) doubtInUse(now time.Time) {
	if now.Sub(t.doubted) >= doubtPause {
		t.doubted = now
		t.doubt(now, now, t.inUse, ReasonMoved)
	}
}

// heardElsewhere is called when the peer sends data on a path that worked before and is not in use. If one of the two is a
// circuit and the other is none, the peer has perhaps left the path in use because it does not work for it. A circuit on which
// it was never heard is left at once: that it leads there is the relays' word, and of several that were asked for at the same time
// the peer may have kept another one.
func (t *pathTable) heardElsewhere(now time.Time, e *pathEntry) {
	switch old := t.inUse; {
	case old == nil:
	case !old.path.Direct() && old.counts.PacketsReceived == 0 && e.mayCarry(t, t.anyFull()):
		t.use(now, e)
	case e.path.Direct() != old.path.Direct() && now.Sub(old.heardAt) >= old.srtt:
		t.doubtInUse(now)
	}
}

// left records that the path in use was left for a circuit, as it failed.
func (e *pathEntry) left(now time.Time) {
	if now.Sub(e.leftAt) > probationPast {
		e.leaves = 0
	}
	e.leaves, e.leftAt = e.leaves+1, now
}

// steady sets when a path that was left, and works again, may be used again.
func (e *pathEntry) steady(now time.Time) {
	if e.leaves > 0 && !e.suspect.IsZero() {
		e.steadyAt = now.Add(min(probation<<min(e.leaves-1, 10), maxProbation))
	}
}
