package kcptransport

import "time"

// bbr is a controller that models the path, as BBR does (draft-ietf-ccwg-bbr), simplified and tuned for lossy paths:
// the greatest delivery rate of the last rounds and the least round trip say how much fits into the path. Loss alone
// changes nothing; loss together with a round trip that grew means that the queue is full.
type bbr struct {
	mss   int
	state bbrState

	round      int   // counts round trips
	roundEnd   int64 // the round ends when a segment arrives that was sent when so much was delivered
	bw         rateFilter
	minRTT     time.Duration
	minRTTAt   time.Duration
	roundRTT   time.Duration // least of this round
	roundAcked int
	roundLost  int

	fullRate   float64 // start-up: the rate that has to be exceeded
	fullRounds int
	raised     int // round trips in a row that were raised
	slowStart  int // window that grows by what arrives

	held    float64 // bytes that may be in flight because timers and batching hold them up
	phase   int     // of the gain cycle
	phaseAt time.Duration
	probed  float64 // the rate before probing showed what it brought

	markedAt  time.Duration // when a mark last counted
	drainEnd  time.Duration // when looking for the least round trip ends
	lastState bbrState
}

type bbrState uint8

const (
	bbrStartup bbrState = iota
	bbrDrain
	bbrCruise
	bbrProbeRTT
)

const (
	bbrStartGain   = 2.885 // 2/ln 2: the rate doubles each round
	bbrStartWindow = 2
	bbrRaised      = 8
	bbrWindowGain  = 1.25
	bbrRounds      = 10 // of which the greatest rate counts
	bbrInitial     = 32 // segments
	bbrMinWindow   = 8  // segments
	bbrRTTLife     = 10 * time.Second
	bbrProbeTime   = 100 * time.Millisecond
	bbrAggregation = 4 * time.Millisecond // of data in flight that timers and batching hold up
	bbrHeldUp      = 512 << 10            // bytes, at most so many: socket buffers hold no more
	bbrHeldMin     = 64 << 10
	bbrNear        = 2 * time.Millisecond // where buffers of sockets decide, not of routers
	bbrBackoff     = 0.85
	bbrMargin      = 0.99 // of the rate: lets a queue drain that has built up (draft-ietf-ccwg-bbr, BBR.PacingMarginPercent)
)

var bbrGains = [...]float64{1.25, 0.75, 1, 1, 1, 1, 1, 1}

func newBBR(maxSegment int) *bbr {
	b := &bbr{mss: maxSegment}
	b.reset(0, 0)
	return b
}

func (b *bbr) reset(now, rtt time.Duration) {
	*b = bbr{mss: b.mss, slowStart: bbrInitial * b.mss, held: bbrHeldUp, minRTT: rtt, minRTTAt: now}
}

func (b *bbr) onAck(s ackSample) {
	if s.rtt > 0 {
		if b.minRTT == 0 || s.rtt <= b.minRTT+b.minRTT/64 {
			if b.minRTT == 0 || s.rtt < b.minRTT {
				b.minRTT = s.rtt
			}
			b.minRTTAt = s.now
		}
		if b.roundRTT == 0 || s.rtt < b.roundRTT {
			b.roundRTT = s.rtt
		}
	}
	b.roundAcked += s.acked
	b.roundLost = max(b.roundLost+s.lost-s.found, 0)
	if s.acked == 0 {
		return
	}
	ended := s.prior >= b.roundEnd
	if s.rate > 0 && s.interval >= b.minRTT/2 && (!s.idle || s.rate > b.bw.max()) {
		b.bw.add(b.round, s.rate)
	}
	b.step(s, ended)
	if ended {
		b.newRound(s)
	}
}

// onMark sends less, as when a queue is full, once a round trip.
func (b *bbr) onMark(now time.Duration) {
	if now-b.markedAt < b.minRTT {
		return
	}
	b.markedAt = now
	b.bw.scale(bbrBackoff)
	if b.state == bbrStartup {
		b.state = bbrDrain
	}
}

func (b *bbr) newRound(s ackSample) {
	if b.roundLost*50 > b.roundAcked && b.minRTT < bbrNear { // a socket's buffer is smaller than a burst
		b.held = max(b.held/2, bbrHeldMin)
	} else {
		b.held = min(b.held+b.held/32, bbrHeldUp)
	}
	b.round++
	b.roundEnd = s.delivered
	b.roundRTT, b.roundAcked, b.roundLost = 0, 0, 0
}

// queued reports whether even the least round trip of the round was raised.
func (b *bbr) queued() bool { return b.roundRTT > b.minRTT+b.minRTT/8+2*time.Millisecond }

// queueFull reports whether the round that ends lost something while its round trip had grown.
func (b *bbr) queueFull() bool {
	return b.roundLost*50 > b.roundAcked && b.roundRTT > b.minRTT+b.minRTT/4+2*time.Millisecond
}

func (b *bbr) step(s ackSample, ended bool) {
	if ended && b.queueFull() {
		b.bw.scale(bbrBackoff)
	}
	switch b.state {
	case bbrStartup:
		if s.inflight+s.acked >= b.window()/2 { // it was the window that limited us
			b.slowStart += s.acked
		}
		b.watchQueue(s)
		if ended {
			b.checkFull(s)
		}
	case bbrCruise:
		b.cycle(s)
	}
	if b.state == bbrDrain && s.inflight <= b.product(1) {
		b.enterCruise(s.now)
	}
	b.probeRTT(s)
}

// watchQueue ends start-up when a queue has built up: the path holds no more.
func (b *bbr) watchQueue(s ackSample) {
	switch {
	case s.rtt == 0:
	case s.rtt < b.minRTT+b.minRTT/4+4*time.Millisecond:
		b.raised = 0
	default:
		if b.raised++; b.raised >= bbrRaised {
			b.state = bbrDrain
		}
	}
}

// checkFull ends start-up when the rate has not grown by a quarter for three rounds, or for one in which far more was lost
// than chance explains.
func (b *bbr) checkFull(s ackSample) {
	rate := b.bw.max()
	switch {
	case rate >= b.fullRate*1.25:
		b.fullRate, b.fullRounds = rate, 0
	case b.roundLost > 16*b.mss && b.roundLost > (b.roundAcked+b.roundLost)/4:
		b.state = bbrDrain
	case !s.idle:
		if b.fullRounds++; b.fullRounds >= 3 {
			b.state = bbrDrain
		}
	}
}

func (b *bbr) enterCruise(now time.Duration) {
	b.state, b.phase, b.phaseAt = bbrCruise, 2, now
}

// cycle sends a little faster for a round, to see whether there is more, then slower, to drain what that queued. When
// there was more, and no queue, it does so again at once.
func (b *bbr) cycle(s ackSample) {
	past := s.now-b.phaseAt > b.minRTT
	next := (b.phase + 1) % len(bbrGains)
	switch b.phase {
	case 0:
		b.probed = b.bw.max()
	case 1:
		past = past || s.inflight <= b.product(1)
		if b.bw.max() > b.probed*1.15 && !b.queued() {
			past, next = true, 0
		}
	}
	if past {
		b.phase, b.phaseAt = next, s.now
	}
}

// probeRTT empties the queue for a moment when the least round trip was not seen for long.
func (b *bbr) probeRTT(s ackSample) {
	switch {
	case b.state == bbrProbeRTT && s.now >= b.drainEnd:
		b.minRTTAt = s.now
		b.minRTT = max(b.roundRTTOr(s.rtt), time.Microsecond)
		b.state = b.lastState
		if b.state == bbrCruise {
			b.enterCruise(s.now)
		}
	case b.state == bbrCruise && s.now-b.minRTTAt > bbrRTTLife && b.minRTT > 0:
		b.lastState, b.state = b.state, bbrProbeRTT
		b.drainEnd = s.now + max(bbrProbeTime, 2*b.minRTT)
	}
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

// product is gain times what the path holds, and what timers hold up.
func (b *bbr) product(gain float64) int {
	rate := b.bw.max()
	return int(gain*rate*b.minRTT.Seconds()+min(rate*bbrAggregation.Seconds(), b.held)) + 3*b.mss
}

func (b *bbr) window() int {
	if b.bw.max() == 0 {
		return bbrInitial * b.mss
	}
	switch b.state {
	case bbrStartup:
		return max(b.product(bbrStartWindow), min(b.product(bbrStartGain), b.slowStart), bbrInitial*b.mss)
	case bbrProbeRTT:
		return max(b.product(0.5), bbrMinWindow*b.mss)
	}
	return max(b.product(bbrWindowGain), bbrMinWindow*b.mss)
}

func (b *bbr) delivery() float64 { return b.bw.max() }

func (b *bbr) rate() float64 {
	rate := b.bw.max()
	switch b.state {
	case bbrStartup:
		return max(bbrStartGain*rate, b.floor(2*float64(b.window())/float64(b.mss)))
	case bbrDrain:
		rate /= bbrStartGain
	case bbrCruise:
		rate *= bbrMargin * bbrGains[b.phase]
	}
	return max(rate, b.floor(bbrMinWindow))
}

// floor is the rate at which so many segments leave in a round trip; 0 = not known.
func (b *bbr) floor(segments float64) float64 {
	if b.minRTT == 0 {
		return 0
	}
	return segments * float64(b.mss) / max(b.minRTT, time.Millisecond).Seconds()
}

// rateFilter keeps the greatest rate of the last bbrRounds rounds.
type rateFilter struct {
	best [3]rateSample // descending in rate, ascending in round
}

type rateSample struct {
	rate  float64
	round int
}

func (f *rateFilter) max() float64 { return f.best[0].rate }

// add notes a sample, as the windowed maximum of Kathleen Nichols does.
func (f *rateFilter) add(round int, rate float64) {
	s := rateSample{rate, round}
	if rate >= f.best[0].rate || round-f.best[2].round > bbrRounds {
		f.best = [3]rateSample{s, s, s}
		return
	}
	if rate >= f.best[1].rate {
		f.best[1], f.best[2] = s, s
	} else if rate >= f.best[2].rate {
		f.best[2] = s
	}
	switch age := round - f.best[0].round; {
	case age > bbrRounds:
		f.best[0], f.best[1], f.best[2] = f.best[1], f.best[2], s
		if round-f.best[0].round > bbrRounds {
			f.best[0], f.best[1] = f.best[1], f.best[2]
		}
	case f.best[1].round == f.best[0].round && age > bbrRounds/4:
		f.best[1], f.best[2] = s, s
	case f.best[2].round == f.best[1].round && age > bbrRounds/2:
		f.best[2] = s
	}
}

func (f *rateFilter) scale(by float64) {
	for i := range f.best {
		f.best[i].rate *= by
	}
}
