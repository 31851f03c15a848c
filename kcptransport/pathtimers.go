package kcptransport

import (
	"slices"
	"time"
)

// step does what is due at now: it returns the probes to send, valid until the next call, after it has chosen the path
// to send on.
func (t *pathTable) step(now time.Time) []outProbe {
	t.out = t.out[:0]
	t.suspectSilence(now)
	t.choose(now)
	t.askAfterBurst(now)
	t.keepWarm(now)
	t.paths = slices.DeleteFunc(t.paths, func(e *pathEntry) bool { return t.gaveUp(now, e) })
	for _, e := range t.paths {
		if !e.probeAt.IsZero() && !now.Before(e.probeAt) {
			t.send(now, e)
		} else if !e.twinAt.IsZero() && !now.Before(e.twinAt) {
			t.repeat(now, e)
		}
	}
	return t.out
}

// send probes e, with the size of data unless the path carried it before. To an address that is not proven it sends less,
// or nothing, rather than more than amplification allows.
func (t *pathTable) send(now time.Time, e *pathEntry) {
	padded, room := !e.full || e.padNext || !e.suspect.IsZero(), e.room()
	if padded && room < t.fullSize {
		padded, e.cut = false, true
		if room < smallProbeSize {
			e.tries++
			e.probeAt = now.Add(e.backoff())
			return
		}
	}
	e.padNext = false
	t.put(now, e, padded)
	if e.twinAt = (time.Time{}); e.twin && padded {
		e.twin, e.twinAt = false, now.Add(twinPause)
	}
	if e == t.inUse { // silence elsewhere says nothing of the peer
		if t.asked++; t.askedAt.IsZero() {
			t.askedAt = now
		}
		t.askedLast = now
		if e.tries == restTries {
			t.blame(now, e)
		}
	}
	if e.tries++; e.tries > 1 && !e.validated.IsZero() && e.suspect.IsZero() {
		e.suspect, e.reason, t.dirty = now, ReasonSilence, true
	}
	e.probeAt = now.Add(e.backoff())
}

// repeat probes e once more at full size.
func (t *pathTable) repeat(now time.Time, e *pathEntry) {
	if e.twinAt = (time.Time{}); e.room() >= t.fullSize {
		t.put(now, e, true)
	}
}

// put hands a probe of e out.
func (t *pathTable) put(now time.Time, e *pathEntry, padded bool) {
	o := outProbe{path: e.path, token: t.token(), padded: padded}
	t.probes.add(now, o)
	t.out = append(t.out, o)
	e.probedAt = now
	t.stirs(now, e)
	if e.sentAt = now; e.waiting.IsZero() {
		e.waiting = now
	}
}

// gaveUp reports whether e leaves the table: it is not in use and did not answer.
func (t *pathTable) gaveUp(now time.Time, e *pathEntry) bool {
	if e == t.inUse || e.probeAt.IsZero() || now.Before(e.probeAt) {
		return false
	}
	gone := e.tries >= maxTries
	switch {
	case !e.path.Direct(): // it goes when it is closed
		return false
	case !e.validated.IsZero():
		limit := suspectLimit
		if t.inUse != nil && !t.inUse.path.Direct() {
			limit = spareLimit // a router that gave its port away does not give it back while packets come
		}
		gone = !e.suspect.IsZero() && now.Sub(e.suspect) >= limit
	}
	if gone {
		t.dirty = true
	}
	return gone
}

// suspectSilence doubts the path in use when what was sent on it has been followed by nothing, and asks on all other
// paths that once worked at the same time.
func (t *pathTable) suspectSilence(now time.Time) {
	if at := t.silenceAt(); at.IsZero() || now.Before(at) {
		return
	}
	t.doubted = now
	t.doubtAll(now, ReasonSilence)
}

func (t *pathTable) silenceAt() time.Time {
	e := t.inUse
	if e == nil || e.waiting.IsZero() || !e.suspect.IsZero() {
		return time.Time{}
	}
	at := e.waiting.Add(e.patience())
	if t.spare() != nil && e.srtt > 0 {
		at = e.waiting.Add(2*max(e.srtt, minSpareRTT) + spareGrace)
	}
	if t.heardAt.After(e.waiting) && (!e.owed || !t.strict()) { // the peer is there, and just prefers another path
		at = later(at, t.doubted.Add(doubtPause))
	}
	return at
}

// askAfterBurst probes the path in use when the peer has fallen silent after it sent something: if the peer, or we,
// moved meanwhile, and only the peer had something to send, nobody else would notice.
func (t *pathTable) askAfterBurst(now time.Time) {
	if at := t.burstProbeAt(); !at.IsZero() && !now.Before(at) {
		t.burstAt, t.tailAt = time.Time{}, later(t.tailAt, now).Add(tailProbePause)
		t.inUse.probeAt, t.inUse.padNext = now, t.inUse.path.Direct() // if we moved, the peer may answer at size
		t.inUse.tries = 0                                             // an earlier one may have been answered, and the answer lost
		t.inUse.twin, t.burstLen = t.burstLen >= flowPackets, 0
	}
}

func (t *pathTable) burstProbeAt() time.Time {
	if t.burstAt.IsZero() || t.inUse == nil || !t.inUse.suspect.IsZero() {
		return time.Time{}
	}
	at := t.burstAt.Add(t.tailWait(t.inUse))
	if t.tailAt.IsZero() {
		return at
	}
	return later(at, t.tailAt.Add(-tailProbeBurst*tailProbePause))
}

// keepWarm probes the paths on which nothing was sent for so long that a NAT may forget them.
func (t *pathTable) keepWarm(now time.Time) {
	for e := range t.warm {
		if !now.Before(t.warmAt(e)) {
			e.probeAt = now
		}
	}
}

// warm yields the paths to be kept alive of which no answer is awaited: the one in use, and a few others that work.
func (t *pathTable) warm(yield func(*pathEntry) bool) {
	others := 0
	for _, e := range t.paths {
		if e.validated.IsZero() || !e.suspect.IsZero() {
			continue
		}
		if e != t.inUse {
			if others++; others > warmPaths || !e.path.Direct() {
				continue
			}
		}
		if e.probeAt.IsZero() && !yield(e) {
			return
		}
	}
}

// warmAt counts from the last packet sent: not every NAT takes notice of what comes from outside (RFC 4787 REQ-6).
func (t *pathTable) warmAt(e *pathEntry) time.Time {
	if e.sentAt.IsZero() { // but for the handshake
		return e.validated.Add(t.pause(e))
	}
	return e.sentAt.Add(t.pause(e))
}

// choose applies choosePath to the table.
func (t *pathTable) choose(now time.Time) {
	var buf [maxPaths]pathView
	views, inUse, anyFull := buf[:0], -1, t.anyFull()
	for i, e := range t.paths {
		if e == t.inUse {
			inUse = i
		}
		views = append(views, e.pathView(t, anyFull))
	}
	choice, again := choosePath(views, inUse, t.since, now)
	t.again = again
	if choice == inUse {
		return
	}
	if old := t.inUse; old != nil && old.path.Direct() && !t.paths[choice].path.Direct() {
		old.left(now)
	}
	t.use(now, t.paths[choice])
}

// use takes a path into use. The peer owes nothing for what left by it earlier, as no acknowledgement of that counts any more.
func (t *pathTable) use(now time.Time, e *pathEntry) {
	e.waiting, e.owed = time.Time{}, false
	t.inUse, t.since, t.lostAt = e, now, time.Time{}
	t.changes++
	t.dirty = true
}

// pathView returns what the choice among paths looks at.
func (e *pathEntry) pathView(t *pathTable, anyFull bool) pathView {
	return pathView{path: e.path, works: e.mayCarry(t, anyFull), suspect: e.suspect, rtt: e.minRTT, leaving: e.leaving, steadyAt: e.steadyAt}
}

// anyFull reports whether some path is known to carry full packets.
func (t *pathTable) anyFull() bool {
	return slices.ContainsFunc(t.paths, func(e *pathEntry) bool { return e.full && !e.validated.IsZero() })
}

// mayCarry reports whether e is worth choosing: it is validated, and known to carry full packets both ways. One on which
// only a handshake was completed has to do while there is no better.
func (e *pathEntry) mayCarry(t *pathTable, anyFull bool) bool {
	return !e.validated.IsZero() && (e.full || e == t.inUse || !anyFull)
}

// next returns when step has something to do, the zero time when nothing is planned.
func (t *pathTable) next() time.Time {
	at := t.again
	for _, e := range t.paths {
		at = earlier(earlier(at, e.probeAt), e.twinAt)
	}
	for e := range t.warm {
		at = earlier(at, t.warmAt(e))
	}
	return earlier(earlier(at, t.silenceAt()), t.burstProbeAt())
}

// deadAt returns when the peer counts as gone: when it has not answered anything for limit. It must have been asked
// three times, and the last time long enough ago, because a machine that slept through the time has asked nobody.
func (t *pathTable) deadAt(limit time.Duration) time.Time {
	if t.askedAt.IsZero() || t.asked < 3 {
		return time.Time{}
	}
	return later(t.askedAt.Add(limit), t.askedLast.Add(minProbeWait))
}

// later and earlier compare two times of which the zero one means "not at all".
func later(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
