package kcptransport

import "time"

// bbrPhase is what cruising is at.
type bbrPhase uint8

const (
	bbrUp    bbrPhase = iota // sends a little more, to see whether it arrives
	bbrDown                  // then less, until what that queued has drained
	bbrLevel                 // and then as fast as the path delivers
)

const (
	bbrUpGain      = 1.25
	bbrDownGain    = 0.75
	bbrHead        = 8 * time.Millisecond  // of data that probing adds: so much is queued when there is no more
	bbrLevelRounds = 4                     // that bbrLevel lasts, at least;
	bbrLevelSpread = 5                     // fewer more than this
	bbrTarget      = 3 * time.Millisecond  // of queue that is neither trimmed nor fed
	bbrTrim        = 0.01                  // of the rate, for each bbrTarget that the queue is off
	bbrMargin      = 0.99                  // the same where queues cannot be told from timers (draft-ietf-ccwg-bbr, BBR.PacingMarginPercent)
	bbrDrained     = time.Millisecond      // of data may wait when a queue counts as drained
	bbrEmptied     = 20 * time.Millisecond // of data are left out to see the least round trip: more than is queued
	bbrCut         = 0.7                   // what a cut leaves, at least
	bbrCuts        = 3                     // in a row; a queue that outlasts them is none
)

func (b *bbr) enterCruise(now time.Duration) {
	b.state, b.calmAt, b.probed = bbrCruise, b.round, 0
	b.level = 2 * b.minRTT // start-up may have ended too early
	b.enter(now, bbrLevel)
}

func (b *bbr) enter(now time.Duration, p bbrPhase) {
	if b.phase, b.phaseAt = p, now; p == bbrDown {
		b.slowly, b.lossy = b.lossy && b.standing == 0, false
	}
}

// cycle sends a little more for a round trip, to see whether it arrives, then less, to drain what that queued. When it
// arrived, and no queue was seen, that is done again at once with twice as much. So a flow gains what makes others see a
// queue, as much as any other flow does, whatever they have: they come to share evenly.
func (b *bbr) cycle(s ackSample) {
	past := s.now - b.phaseAt
	switch {
	case b.phase == bbrUp:
		if past > b.minRTT {
			b.enter(s.now, bbrDown)
		}
	case b.found(s.now):
		b.probe(s.now, min(2*b.head, b.minRTT/2))
	case b.phase == bbrDown:
		// Few segments in flight are never drained where one takes long: what was in flight has arrived after two round trips.
		if s.inflight <= b.drained() || past > b.minRTT && (b.standing == 0 || past > 2*b.lastRTT) {
			// Not the same number of rounds each time, lest two flows probe at the same time, again and again.
			b.level = time.Duration(bbrLevelRounds+s.delivered/int64(b.mss)%bbrLevelSpread) * b.minRTT
			b.calmAt = b.round
			b.enter(s.now, bbrLevel)
		}
	case past > b.level && (b.minRTT < bbrNear || b.lastRTT <= b.minRTT+b.queueSeen()):
		b.probe(s.now, b.leastHead())
	}
}

// probe begins to send more.
func (b *bbr) probe(now, head time.Duration) {
	b.head, b.probed, b.upAt = head, b.bw.max(), now
	b.felt, b.raised = false, 0
	b.enter(now, bbrUp)
}

// found reports whether probing brought at least half of the rate that there would be if nothing was in its way. That
// shows when what was sent then has been acknowledged.
func (b *bbr) found(now time.Duration) bool {
	if b.probed == 0 || b.felt || now-b.upAt <= b.minRTT+b.minRTT/4 {
		return false
	}
	return b.bw.max() > b.probed*(1+min(b.headGain(), b.upGain()-1)/2)
}

func (b *bbr) leastHead() time.Duration { return min(bbrHead, b.minRTT/4) }

// headGain is what probing adds, as part of what the path holds.
func (b *bbr) headGain() float64 { return b.head.Seconds() / max(b.minRTT, time.Microsecond).Seconds() }

func (b *bbr) upGain() float64 { return max(bbrUpGain, 1+b.headGain()) }

// watchStanding takes the rate for what was delivered of late when a queue does not drain: others send, too, or the path
// has become slower. When that does not help, the path may have become longer.
func (b *bbr) watchStanding(s ackSample) {
	switch {
	case b.roundRTT == 0:
		return // nothing was seen
	case !b.queued():
		b.standing = 0
		return
	case b.lastRTT <= b.minRTT+b.queueSeen() && b.roundRTT <= b.minRTT+2*b.queueSeen():
		return // our own machine may have been late for a round
	case b.round < b.calmAt+2 || b.minRTT < bbrNear || b.roundRate == 0:
		return
	}
	if b.standing++; b.standing == 1 {
		b.uncut = b.bw.max()
	}
	if b.standing > bbrCuts {
		b.enterProbeRTT(s.now)
		return
	}
	rate := b.roundRate
	if s.rate > 0 && s.interval >= b.minRTT/2 && b.roundRTT > b.minRTT+2*b.queueSeen() {
		rate = min(rate, s.rate) // what this round began with may have left before the path became slower
	}
	b.bw.set(b.round, max(rate, bbrCut*b.bw.max()))
	b.calmAt, b.probed = b.round, 0
	b.enter(s.now, bbrDown)
}

// probeRTT empties the queue for a moment when the least round trip was not seen for long.
func (b *bbr) probeRTT(s ackSample) {
	switch {
	case b.state == bbrProbeRTT && s.now >= b.drainEnd:
		old := b.minRTT
		b.minRTTAt = s.now
		b.minRTT = max(b.roundRTTOr(s.rtt), time.Microsecond)
		if b.standing > 0 && b.minRTT > old+b.queueSeen() { // the path has become longer, not slower
			b.bw.set(b.round, max(b.uncut, b.bw.max()))
		}
		b.standing = 0
		b.enterCruise(s.now)
	case b.state == bbrCruise && s.now-b.minRTTAt > bbrRTTLife && b.minRTT > 0:
		b.enterProbeRTT(s.now)
	}
}

func (b *bbr) enterProbeRTT(now time.Duration) {
	b.state = bbrProbeRTT
	b.drainEnd = now + max(bbrProbeTime, 2*max(b.minRTT, b.roundRTT))
}

func (b *bbr) roundRTTOr(rtt time.Duration) time.Duration {
	switch {
	case b.roundRTT > 0 && (rtt == 0 || b.roundRTT < rtt):
		return b.roundRTT
	case rtt > 0:
		return rtt
	}
	return b.minRTT
}

// emptied is the part of what the path holds that is left in flight to see the least round trip.
func (b *bbr) emptied() float64 {
	if b.standing > 0 { // the queue may be long
		return 0.5
	}
	return max(0.5, 1-bbrEmptied.Seconds()/max(b.minRTT, time.Microsecond).Seconds())
}

// drained is what is in flight when nothing waits in a queue of the path. After a cut a little may: to empty the queue
// each time would cost throughput.
func (b *bbr) drained() int {
	if b.minRTT < bbrNear {
		return b.product(1)
	}
	left := bbrDrained
	if b.standing > 0 {
		left = bbrTarget
	}
	return int(b.bw.max()*(b.minRTT.Seconds()/(1-b.loss)+left.Seconds())) + b.slack()
}

func (b *bbr) cruiseWindow() int {
	head := b.leastHead()
	switch b.phase {
	case bbrDown:
		if !b.slowly {
			return b.drained()
		}
		head = 2 * b.head
	case bbrUp:
		head = b.head
	}
	return b.product(1/(1-b.loss)) + int(b.bw.max()*head.Seconds())
}

// gain is how much faster to send than the path delivers. What is lost by chance is sent in addition. Otherwise the
// rate follows the queue: it is to be short, but not empty.
func (b *bbr) gain() float64 {
	switch {
	case b.phase == bbrUp:
		return b.upGain() / (1 - b.loss)
	case b.phase == bbrDown:
		return bbrDownGain
	case b.minRTT < bbrNear:
		return bbrMargin
	}
	off := (b.lastRTT - b.minRTT).Seconds() / bbrTarget.Seconds()
	return (1 + bbrTrim*min(max(1-off, -3), 1)) / (1 - b.loss)
}
