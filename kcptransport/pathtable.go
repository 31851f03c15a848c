package kcptransport

import (
	"math"
	"net/netip"
	"slices"
	"time"
)

// Limits and times of the path table.
const (
	smallProbeSize = dataOverhead + answerFrameMax // bytes: padded so that its answer is not larger

	maxPaths       = 32
	maxTries       = 4                      // unanswered probes after which a path that never worked leaves the table
	suspectLimit   = 30 * time.Second       // after which one that worked, and is not in use, leaves it too
	doubtPause     = time.Second            // between two doubts about a path when the peer is heard on another one
	minProbeWait   = 200 * time.Millisecond // before a probe counts as unanswered, while no round trip is known
	answerDelay    = 50 * time.Millisecond  // that a peer may take to answer, beside two round trips
	maxProbeWait   = time.Second            // often enough that 30 % of loss does not look like a dead peer
	tailProbePause = 250 * time.Millisecond // on average between two probes that ask after a burst whether the path still works
	tailProbeBurst = 2                      // of them that may be ahead of that
	minTailWait    = 40 * time.Millisecond  // of silence, before such a probe
	twinPause      = 15 * time.Millisecond  // between a probe on which a move depends and its repetition, in case it gets lost
	flowPackets    = 16                     // with data, without a pause for a probe: a flow, which breaks off for a reason
	maxBurstGap    = time.Second            // between packets of one burst
	moveShows      = 4                      // probes after the peer sees us at another address
	amplification  = 3                      // times what came from an address may be sent there until it is proven (RFC 9000 section 8.1)
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
	keepAlive time.Duration // Config.KeepAlive
	ipv4      time.Duration // what Endpoint.SetKeepAlive made of it
	ipv6      time.Duration
	wary      time.Time     // until then there is no pause longer than keepAlive, as a path failed after one
	failures  int           // of that kind
	fullSize  int           // bytes of a full data packet
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
	lostAt    time.Time // since when no path is in use, though one was; zero: it is not so
	dirty     bool      // something that PathInfo tells has changed
	elsewhere bool      // the peer sees us at another address than before
	acked     bool      // the packet that is handed to heard next acknowledges data that left since inUse is in use

	heardAt   time.Time     // anything authentic, on any path
	burstAt   time.Time     // the last packet that carried more than probes and answers, since the path proved itself
	burstLast time.Time     // the last such packet
	burstGap  time.Duration // between such packets lately, the greatest of which is forgotten slowly
	burstLen  int           // such packets since the last tail probe
	tailAt    time.Time     // when tail probes would be at their average pause
	askedAt   time.Time     // the first packet since heardAt, on the path in use, that wants an answer; zero: none
	askedLast time.Time     // the last such probe since askedAt
	asked     int           // such probes since askedAt
}

// pathEntry is what is known of one path.
type pathEntry struct {
	path      Path
	validated time.Time // last; zero: never
	suspect   time.Time // since when an answer is missing; zero: none is
	heardAt   time.Time
	sentAt    time.Time
	restedAt  time.Time // when a pause longer than pathTable.keepAlive last ended; zero: there was none
	probedAt  time.Time // last
	waiting   time.Time // the first packet since heardAt that wants an answer; zero: none
	owed      bool      // it carried data of a stream, which has to be acknowledged
	srtt      time.Duration
	rttVar    time.Duration
	minRTT    time.Duration
	observed  netip.AddrPort
	tries     int       // probes since the last answer
	probeAt   time.Time // when to probe next; zero: no probe is due
	twin      bool      // the next probe of full size is to be repeated without waiting for its answer
	twinAt    time.Time // when; zero: not at all
	proven    bool      // the peer is known to be at the address: it answered a probe or the handshake there
	full      bool      // a packet of full size got there, and the answer back
	smalls    int       // answers that were too small to make it full
	padNext   bool      // the next probe is to be of full size whether or not that is known
	cut       bool      // the last probe was smaller than it should be, for want of room
	early     earlyData // ahead of all validation
	shows     int       // probes of full size that are still to follow, because the peer sees us elsewhere than before
	reason    PathReason
	counts    PathCounts
	rate      float64 // bytes a second of stream segments, as estimated while it was in use

	relays   []PeerID  // of a circuit
	leaving  bool      // a circuit that is about to be closed
	leaves   int       // how often it was left for a circuit lately, because it failed
	leftAt   time.Time // the last time
	steadyAt time.Time // when it may be used again after that
}

// earlyData tells how far a path is with data that is sent there ahead of its validation.
type earlyData uint8

const (
	earlyNone earlyData = iota
	earlyReady
	earlyGone
)

// room is how many bytes may be sent on the path now: without limit to an address that is proven.
func (e *pathEntry) room() int {
	if e.proven {
		return math.MaxInt
	}
	return amplification*int(e.counts.BytesReceived) - int(e.counts.BytesSent)
}

func newPathTable(now time.Time, keepAlive time.Duration, fullSize int, token func() uint64) *pathTable {
	return &pathTable{keepAlive: keepAlive, ipv4: keepAlive, ipv6: keepAlive, fullSize: fullSize, token: token, credit: newPathBurst, refilled: now, heardAt: now}
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
func (e *pathEntry) patience() time.Duration {
	if e.srtt == 0 {
		return minProbeWait
	}
	return 2*e.srtt + answerDelay
}

// backoff is how long to wait after the probe number tries before the next.
func (e *pathEntry) backoff() time.Duration {
	return min(e.patience()<<min(max(e.tries-1, 0), 8), maxProbeWait)
}

// handshaken enters a path on which a handshake was completed, which proves that the peer is there. A probe of full size
// follows at once: it confirms the session to the responder, and tells both the round trip, how the other one sees them,
// and whether the path carries data both ways.
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
	t.validate(now, e, ReasonHandshake)
	e.probeAt = now
}

func (t *pathTable) validate(now time.Time, e *pathEntry, reason PathReason) {
	e.steady(now)
	e.validated, e.suspect, e.waiting, e.owed = now, time.Time{}, time.Time{}, false
	e.tries, e.probeAt, e.twinAt, e.padNext = 0, time.Time{}, time.Time{}, false
	e.proven, e.reason = true, reason
	if e.heardAt.Before(now) {
		e.heardAt = now
	}
	if e.shows > 0 { // so that the peer can ask us as often as it takes, however little it may send to where it sees us
		e.shows--
		e.probeAt, e.padNext = now.Add(e.patience()), true
	}
	if now.Before(e.steadyAt) {
		e.probeAt = now.Add(probationAsk)
	}
	t.dirty = true
}

// add makes room for a path and enters it, unless the table is full of better ones.
func (t *pathTable) add(p Path) *pathEntry {
	if len(t.paths) >= maxPaths && !t.evict() {
		return nil
	}
	e := &pathEntry{path: p, reason: ReasonTried}
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
// burst tells that the packet carried more than probes and answers; size is that of the whole packet.
func (t *pathTable) heard(now time.Time, p Path, burst bool, size int) {
	t.heardAt = now
	t.forgetAsking()
	acked := t.acked
	t.acked = false
	e := t.inUse
	if e == nil || e.path != p {
		e = t.find(p)
	}
	switch {
	case burst:
		t.burst(now)
		if e != nil {
			e.shows = 0
			if e != t.inUse && !e.validated.IsZero() {
				t.heardElsewhere(now, e)
			}
		}
	case e == t.inUse && e != nil && !e.waiting.IsZero() && now.Sub(e.waiting) >= e.minRTT:
		t.burstAt = time.Time{} // we asked something meanwhile, and this is the answer
	}
	if !p.IsValid() {
		return
	}
	if e == nil {
		if e = t.meet(now, p); e == nil {
			return
		}
	}
	t.stirs(now, e)
	e.heardAt = now
	if acked || !e.owed || !t.strict() {
		e.waiting, e.owed = time.Time{}, false
	}
	if acked && t.inUse != nil && t.inUse.suspect.IsZero() { // the peer prefers another path for its answers: nothing was sent elsewhere
		t.inUse.waiting, t.inUse.owed = time.Time{}, false
	}
	e.counts.PacketsReceived++
	e.counts.BytesReceived += uint64(size)
	if e.cut && e.room() >= t.fullSize {
		e.probeAt, e.cut = now, false
	}
	if e.validated.IsZero() {
		return
	}
	e.twinAt = time.Time{}
	if !e.suspect.IsZero() && !t.strict() {
		e.suspect, e.probeAt, e.tries = time.Time{}, time.Time{}, 0
		e.reason, t.dirty = ReasonHeard, true
	}
}

// forgetAsking makes the peer owe no answer.
func (t *pathTable) forgetAsking() { t.askedAt, t.askedLast, t.asked = time.Time{}, time.Time{}, 0 }

// burst records a packet with data of the peer.
func (t *pathTable) burst(now time.Time) {
	if gap := now.Sub(t.burstLast); gap > 0 && gap < maxBurstGap {
		t.burstGap = max(gap, t.burstGap-t.burstGap/8)
	}
	t.burstAt, t.burstLast = now, now
	t.burstLen++
}

// tailWait is how much silence after data of the peer is more than a pause: twice as much as is usual lately, but no
// more than an answer may take.
func (t *pathTable) tailWait(e *pathEntry) time.Duration {
	return min(max(2*t.burstGap, minTailWait), e.patience())
}

// meet enters a path that the peer was heard on for the first time (peer-reflexive, RFC 8445 section 7.3.1.3). It
// returns nil when too many such paths came up.
func (t *pathTable) meet(now time.Time, p Path) *pathEntry {
	if n := int(now.Sub(t.refilled) / newPathRefill); n > 0 {
		t.credit = min(t.credit+n, newPathBurst)
		t.refilled = now
	}
	if t.credit == 0 {
		return nil
	}
	t.credit--
	e := t.add(p)
	if e == nil {
		return nil
	}
	e.probeAt, e.reason = now, ReasonSource
	if old := t.inUse; old != nil {
		e.twin = now.Sub(old.heardAt) < firstTrouble // later on others punch, and what comes at a wrong time spoils that
		e.srtt, e.rttVar = old.srtt, old.rttVar      // a guess, for how long to wait
		since := now
		if !old.waiting.IsZero() { // something is unanswered there already
			since = old.waiting
		}
		t.blameMove(now, old, p)
		if old.path.Direct() { // a circuit is not left by moving
			t.doubt(now, since, old, ReasonMoved)
		}
	}
	return e
}

// doubt asks a validated path for a sign of life. The missing answer counts from since on.
func (t *pathTable) doubt(now, since time.Time, e *pathEntry, reason PathReason) {
	if e.suspect.IsZero() {
		e.suspect, e.probeAt, e.tries = since, now, 0
		e.reason, t.dirty = reason, true
	}
}

// doubtAll asks all paths that once worked for a sign of life.
// The circuits beside the one in use are not asked: they are what to fall back on.
func (t *pathTable) doubtAll(now time.Time, reason PathReason) {
	for _, e := range t.paths {
		if !e.validated.IsZero() && (e == t.inUse || e.path.Direct()) {
			t.doubt(now, now, e, reason)
		}
	}
}

// inDoubt reports whether there is a path in use, and an answer on it is missing.
func (t *pathTable) inDoubt() bool { return t.inUse != nil && !t.inUse.suspect.IsZero() }

// newcomer returns the path on which the peer has lately come up, while the one in use is in doubt: as soon as it is
// validated it takes over. nil: there is none, or too little came from there to send it a full packet.
func (t *pathTable) newcomer() *pathEntry {
	if !t.inDoubt() {
		return nil
	}
	for _, e := range t.paths {
		if e.validated.IsZero() && e.early < earlyGone && e.reason == ReasonSource && e.room() >= t.fullSize {
			return e
		}
	}
	return nil
}

// moving reports whether the peer has come up elsewhere, and the answer that tells whether it left the path in use is
// on its way: what is sent on that path now would be lost, and known to be lost much later than the rest.
func (t *pathTable) moving() bool {
	return t.inDoubt() && slices.ContainsFunc(t.paths, func(e *pathEntry) bool {
		return e.validated.IsZero() && e.reason == ReasonSource && e.tries <= 1
	})
}

// leaving reports whether another path is about to take over from the one in use, on which nothing more should be sent.
func (t *pathTable) leaving() bool {
	if !t.inDoubt() {
		return false
	}
	anyFull := t.anyFull()
	return slices.ContainsFunc(t.paths, func(e *pathEntry) bool {
		return e.suspect.IsZero() && e.path.Direct() && e.mayCarry(t, anyFull)
	})
}

// networkChanged doubts everything: our own address is another one now, perhaps. Probes of full size show the peer
// where we are, at once and on all paths.
func (t *pathTable) networkChanged(now time.Time) {
	t.forgive()
	for _, e := range t.paths {
		if !e.validated.IsZero() {
			t.doubt(now, now, e, ReasonNetwork)
			e.probeAt, e.padNext, e.twin, e.tries = now, true, true, 0
			e.leaves, e.steadyAt = 0, time.Time{}
		}
	}
}

// carried records what the streams found out about a path that they used: how many segments more it lost, and how fast
// it delivers, 0 when that is not known.
func (t *pathTable) carried(p Path, lost uint64, rate float64) {
	if e := t.find(p); e != nil {
		e.counts.PacketsLost += lost
		if rate > 0 {
			e.rate = rate
		}
	}
}

// sent records that a packet of a size left on a path. asks tells that it wants an answer of any kind.
func (t *pathTable) sent(now time.Time, p Path, asks bool, size int) {
	e := t.inUse
	if e == nil || e.path != p {
		if e = t.find(p); e == nil {
			return
		}
	}
	if asks && e == t.inUse && t.askedAt.IsZero() {
		t.askedAt = now
	}
	t.stirs(now, e)
	e.sentAt = now
	e.counts.PacketsSent++
	e.counts.BytesSent += uint64(size)
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

// answered takes in the answer to a probe, come by p in a packet of a size. observed is our address as the peer saw it.
func (t *pathTable) answered(now time.Time, p Path, token uint64, observed netip.AddrPort, size int) {
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
	if e.observed.IsValid() && observed != e.observed {
		e.shows, t.elsewhere = moveShows, true
		if observed.Addr() == e.observed.Addr() {
			t.blame(now, e)
		}
	}
	e.heardAt, e.waiting, e.owed, e.observed, e.proven = now, time.Time{}, false, observed, true
	e.full = e.full || sent.padded && size >= fullAnswer
	switch {
	case e.full || !e.validated.IsZero():
		t.validate(now, e, ReasonAnswered)
		if !e.full && e.smalls < maxTries {
			e.probeAt = now.Add(e.patience() << e.smalls)
			e.smalls++
		}
	default: // it answers, but will it carry full packets, there and back?
		e.probeAt, e.tries = now, 0
	}
	t.dirty = true
}

// fullAnswer is the size in bytes from which on a packet counts as one of full size, whatever Config.MaxPacket is.
const fullAnswer = minMaxPacket - relayPrefix

// observe takes in a measured round trip (RFC 6298 section 2). The first one replaces a guess.
func (e *pathEntry) observe(rtt time.Duration) {
	rtt = max(rtt, time.Microsecond)
	if e.minRTT == 0 {
		e.srtt, e.rttVar, e.minRTT = rtt, rtt/2, rtt
		return
	}
	e.rttVar += ((rtt - e.srtt).Abs() - e.rttVar) / 4
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
	i := PathInfo{
		Path: e.path, State: PathProbing, Reason: e.reason, InUse: e == t.inUse,
		RTT: e.srtt, RTTVar: e.rttVar, MinRTT: e.minRTT, Since: e.validated, LastHeard: e.heardAt, Observed: e.observed,
		PathCounts: e.counts, DeliveryRate: e.rate, Via: e.relays,
	}
	switch {
	case e.validated.IsZero():
	case !e.suspect.IsZero():
		i.State = PathSuspect
	case e.full:
		i.State = PathValidated
	}
	return i
}
