package kcptransport

import (
	"net/netip"
	"slices"
	"time"
)

// Limits and times of the path table.
const (
	maxPaths       = 32
	maxTries       = 4                      // unanswered probes after which a path that never worked leaves the table
	suspectLimit   = 30 * time.Second       // after which one that worked, and is not in use, leaves it too
	doubtPause     = time.Second            // between two doubts about a path when the peer is heard on another one
	minProbeWait   = 200 * time.Millisecond // before a probe counts as unanswered
	maxProbeWait   = time.Second            // often enough that 30 % of loss does not look like a dead peer
	tailProbePause = time.Second            // between two probes that ask after a burst whether the path still works
	newPathBurst   = 8                      // unknown sources that are probed at once
	newPathRefill  = 500 * time.Millisecond
	warmPaths      = 4 // validated paths kept alive besides the one in use
)

// pathTable holds what a link knows of the ways to its peer: it decides which probes are sent when, and on which path
// the link sends. It has no clock and no socket, and it belongs to one goroutine.
//
//	          unknown source, authenticated            answer to a padded probe
//	(nothing) ─────────────────────────────▶ probing ───────────────────────────▶ validated
//	                                            │                                   │      ▲
//	                       maxTries unanswered  │       an answer is missing        ▼      │ heard
//	(nothing) ◀─────────────────────────────────┴──────────────────────────────── suspect ─┘
type pathTable struct {
	keepAlive time.Duration
	token     func() uint64 // unpredictable
	paths     []*pathEntry
	inUse     *pathEntry // an element of paths that was validated, or nil
	since     time.Time  // of inUse
	probes    probeLog
	credit    int       // unknown sources that may be probed now
	refilled  time.Time // when credit was last filled up
	out       []outProbe
	again     time.Time // when to choose anew
	doubted   time.Time // when suspectSilence last had a reason
	changes   uint64    // of inUse
	dirty     bool      // something that PathInfo tells has changed

	heardAt   time.Time // anything authentic, on any path
	burstAt   time.Time // the last packet that carried more than probes and answers, since the path proved itself
	tailAt    time.Time // the last tail probe
	askedAt   time.Time // the first packet since heardAt, on the path in use, that wants an answer; zero: none
	askedLast time.Time // the last such probe since askedAt
	asked     int       // such probes since askedAt
}

// pathEntry is what is known of one path.
type pathEntry struct {
	path      Path
	validated time.Time // last; zero: never
	suspect   time.Time // since when an answer is missing; zero: none is
	heardAt   time.Time
	sentAt    time.Time
	waiting   time.Time // the first packet since heardAt that wants an answer; zero: none
	srtt      time.Duration
	minRTT    time.Duration
	observed  netip.AddrPort
	tries     int       // probes since the last answer
	probeAt   time.Time // when to probe next; zero: no probe is due
}

func newPathTable(now time.Time, keepAlive time.Duration, token func() uint64) *pathTable {
	return &pathTable{keepAlive: keepAlive, token: token, credit: newPathBurst, refilled: now, heardAt: now}
}

func (t *pathTable) find(p Path) *pathEntry {
	for _, e := range t.paths {
		if e.path == p {
			return e
		}
	}
	return nil
}

// current returns the path in use.
func (t *pathTable) current() (Path, bool) {
	if t.inUse == nil {
		return Path{}, false
	}
	return t.inUse.path, true
}

// rtt returns the smoothed round trip of the path in use, 0 when it was not measured.
func (t *pathTable) rtt() time.Duration {
	if t.inUse == nil {
		return 0
	}
	return t.inUse.srtt
}

// patience is how long an answer on e may take before it is missing.
func (e *pathEntry) patience() time.Duration { return max(3*e.srtt, minProbeWait) }

// backoff is how long to wait after the probe number tries before the next.
func (e *pathEntry) backoff() time.Duration {
	return min(e.patience()<<min(max(e.tries-1, 0), 8), maxProbeWait)
}

// handshaken enters a path on which a handshake was completed, which proves that the peer is there. A probe follows at
// once: it confirms the session to the responder, and tells both the round trip and how the other one sees them.
func (t *pathTable) handshaken(now time.Time, p Path, rtt time.Duration, observed netip.AddrPort) {
	e := t.find(p)
	if e == nil {
		if e = t.add(p); e == nil {
			return
		}
	}
	if rtt > 0 && e.srtt == 0 {
		e.srtt = rtt
	}
	if observed.IsValid() {
		e.observed = observed
	}
	t.validate(now, e)
	e.probeAt = now
}

func (t *pathTable) validate(now time.Time, e *pathEntry) {
	e.validated, e.suspect, e.waiting = now, time.Time{}, time.Time{}
	e.tries, e.probeAt = 0, time.Time{}
	if e.heardAt.Before(now) {
		e.heardAt = now
	}
	t.dirty = true
}

// add makes room for a path and enters it, unless the table is full of better ones.
func (t *pathTable) add(p Path) *pathEntry {
	if len(t.paths) >= maxPaths && !t.evict() {
		return nil
	}
	e := &pathEntry{path: p}
	t.paths = append(t.paths, e)
	t.dirty = true
	return e
}

// evict removes the path that is worth least: one never validated before one that was, then the one heard of the
// longest ago.
func (t *pathTable) evict() bool {
	worst := -1
	for i, e := range t.paths {
		if e == t.inUse {
			continue
		}
		if worst < 0 || e.worth(t.paths[worst]) < 0 {
			worst = i
		}
	}
	if worst < 0 {
		return false
	}
	t.paths = slices.Delete(t.paths, worst, worst+1)
	return true
}

func (e *pathEntry) worth(other *pathEntry) int {
	if c := compareBool(!e.validated.IsZero(), !other.validated.IsZero()); c != 0 {
		return c
	}
	return e.heardAt.Compare(other.heardAt)
}

// heard records an authentic packet. A path that was not known is probed, and so is the one in use, because perhaps
// the peer has moved; only answers to those probes have consequences, so a packet that somebody redirected has none.
// burst tells that the packet carried more than probes and answers.
func (t *pathTable) heard(now time.Time, p Path, burst bool) {
	t.heardAt = now
	t.askedAt, t.askedLast, t.asked = time.Time{}, time.Time{}, 0
	e := t.inUse
	if e == nil || e.path != p {
		e = t.find(p)
	}
	switch {
	case burst:
		t.burstAt = now
	case e == t.inUse && e != nil && !e.waiting.IsZero() && now.Sub(e.waiting) >= e.minRTT:
		t.burstAt = time.Time{} // we asked something meanwhile, and this is the answer
	}
	if !p.IsValid() {
		return
	}
	if e == nil {
		t.meet(now, p)
		return
	}
	e.heardAt = now
	e.waiting = time.Time{}
	if e.validated.IsZero() {
		return
	}
	if !e.suspect.IsZero() {
		e.suspect, e.probeAt, e.tries = time.Time{}, time.Time{}, 0
		t.dirty = true
	}
}

// meet enters a path that the peer was heard on for the first time (peer-reflexive, RFC 8445 section 7.3.1.3).
func (t *pathTable) meet(now time.Time, p Path) {
	if n := int(now.Sub(t.refilled) / newPathRefill); n > 0 {
		t.credit = min(t.credit+n, newPathBurst)
		t.refilled = now
	}
	if t.credit == 0 {
		return
	}
	t.credit--
	e := t.add(p)
	if e == nil {
		return
	}
	e.heardAt, e.probeAt = now, now
	if t.inUse != nil {
		e.srtt = t.inUse.srtt // a guess, for how long to wait
		t.doubt(now, t.inUse)
	}
}

// doubt asks a validated path for a sign of life. The missing answer counts from now on.
func (t *pathTable) doubt(now time.Time, e *pathEntry) {
	if e.suspect.IsZero() {
		e.suspect, e.probeAt, e.tries = now, now, 0
		t.dirty = true
	}
}

// sent records that a packet left on a path. asks tells that it wants an answer of any kind.
func (t *pathTable) sent(now time.Time, p Path, asks bool) {
	e := t.inUse
	if e == nil || e.path != p {
		if e = t.find(p); e == nil {
			return
		}
	}
	if asks && e == t.inUse && t.askedAt.IsZero() {
		t.askedAt = now
	}
	e.sentAt = now
	if asks && e.waiting.IsZero() {
		e.waiting = now
	}
}

// probe returns the probe to send because somebody hopes that p works. It enters the table when it is answered.
func (t *pathTable) probe(now time.Time, p Path, ttl int) outProbe {
	o := outProbe{path: p, token: t.token(), padded: ttl == 0, ttl: ttl}
	t.probes.add(now, o)
	return o
}

// answered takes in the answer to a probe, come by p. observed is our address as the peer saw it.
func (t *pathTable) answered(now time.Time, p Path, token uint64, observed netip.AddrPort) {
	sent, ok := t.probes.take(now, p, token)
	if !ok {
		return
	}
	t.burstAt = time.Time{}
	if !p.IsValid() {
		return
	}
	e := t.find(p)
	if e == nil {
		if e = t.add(p); e == nil {
			return
		}
	}
	e.observe(now.Sub(sent.at))
	e.heardAt, e.waiting, e.observed = now, time.Time{}, observed
	switch {
	case sent.padded || !e.validated.IsZero():
		t.validate(now, e)
	default: // it answers, but will it carry a full packet?
		e.probeAt, e.tries = now, 0
	}
	t.dirty = true
}

// observe takes in a measured round trip (RFC 6298 section 2, without the variance). The first one replaces a guess.
func (e *pathEntry) observe(rtt time.Duration) {
	rtt = max(rtt, time.Microsecond)
	if e.minRTT == 0 {
		e.srtt, e.minRTT = rtt, rtt
		return
	}
	e.srtt += (rtt - e.srtt) / 8
	e.minRTT = min(e.minRTT, rtt)
}

// peerProbed records that the peer asked on p whether it works: then it works for the peer, and the question whether
// it still does after a burst of data is answered.
func (t *pathTable) peerProbed(p Path) {
	if t.inUse != nil && t.inUse.path == p {
		t.burstAt = time.Time{}
	}
}

// infos describes all paths, the one in use first.
func (t *pathTable) infos() []PathInfo {
	list := make([]PathInfo, 0, len(t.paths))
	if t.inUse != nil {
		list = append(list, t.info(t.inUse))
	}
	for _, e := range t.paths {
		if e != t.inUse {
			list = append(list, t.info(e))
		}
	}
	return list
}

func (t *pathTable) info(e *pathEntry) PathInfo {
	i := PathInfo{Path: e.path, State: PathProbing, InUse: e == t.inUse, RTT: e.srtt, Since: e.validated, Observed: e.observed}
	switch {
	case e.validated.IsZero():
	case e.suspect.IsZero():
		i.State = PathValidated
	default:
		i.State = PathSuspect
	}
	return i
}
