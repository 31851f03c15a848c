package kcptransport

import "time"

// bbr is a controller that models the path, as BBR does (draft-ietf-ccwg-bbr), simplified and tuned for lossy paths:
// the greatest delivery rate of the last rounds and the least round trip say how much fits into the path. Loss alone
// changes nothing; loss together with a round trip that grew means that the queue is full. Unlike BBR it keeps the queue
// short in milliseconds, whatever the round trip: so do Copa and LEDBAT++.
type bbr struct {
	mss   int
	state bbrState

	round      int   // counts round trips
	roundEnd   int64 // the round ends when a segment arrives that was sent when so much was delivered
	bw         rateFilter
	loss       float64 // part of what is sent that is lost by chance
	gently     int     // bytes sent gently, from which loss is known; counted up to bbrLossMemory
	lossy      bool    // something was lost since bbrDown began last
	slowly     bool    // bbrDown is to show what is lost by chance
	minRTT     time.Duration
	minRTTAt   time.Duration
	lastRTT    time.Duration // least of the round before
	roundRTT   time.Duration // least of this round
	roundRate  float64       // greatest of this round
	roundAcked int
	roundLost  int
	raised     int // round trips in a row that were raised

	fullRate   float64 // start-up: the rate that has to be exceeded
	fullRounds int
	slowStart  int // window that grows by what arrives

	held    float64 // bytes that may be in flight because timers and batching hold them up
	phase   bbrPhase
	phaseAt time.Duration
	level   time.Duration // how long bbrLevel lasts

	head   time.Duration // what probing puts into flight beyond what the path holds
	probed float64       // the rate before probing showed what it brought; 0 = that is over
	upAt   time.Duration // when probing began
	felt   bool          // a queue was seen since then

	calmAt   int     // the round in which a queue was drained last
	standing int     // cuts in a row that a queue outlasted
	uncut    float64 // the rate before the first of them

	markedAt time.Duration // when a mark last counted
	told     bool          // one did within bbrRTTLife
	drainEnd time.Duration // when looking for the least round trip ends
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
	bbrRaised      = 8  // raised round trips in a row that are no chance
	bbrRounds      = 10 // of which the greatest rate counts
	bbrInitial     = 32 // segments
	bbrMinWindow   = 8  // segments
	bbrToldWindow  = 1  // the same where a relay has marked packets of late
	bbrSlack       = 3  // segments
	bbrRTTLife     = 10 * time.Second
	bbrProbeTime   = 100 * time.Millisecond
	bbrAggregation = 4 * time.Millisecond // of data in flight that timers and batching hold up
	bbrHeldUp      = 512 << 10            // bytes, at most so many: socket buffers hold no more
	bbrHeldMin     = 64 << 10
	bbrNear        = 2 * time.Millisecond // where buffers of sockets decide, not of routers
	bbrBackoff     = 0.85
	bbrMaxLoss     = 0.2  // that is taken for chance, at most: those who share a queue too short to be seen lose what others pace
	bbrLossMemory  = 1000 // segments that were sent gently, of which the loss is the average;
	bbrLossStart   = 64   // fewer count as so many
)

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
		b.onRTT(s)
	}
	b.learnLoss(s.gentle)
	b.told = b.told && s.now-b.markedAt < bbrRTTLife
	b.lossy = b.lossy || s.lost > 0
	b.roundAcked += s.acked
	b.roundLost = max(b.roundLost+s.lost-s.found, 0)
	if s.acked == 0 {
		return
	}
	ended := s.prior >= b.roundEnd
	if s.rate > 0 && s.interval >= b.minRTT/2 && (!s.idle || s.rate > b.bw.max()) {
		b.bw.add(b.round, s.rate)
		b.roundRate = max(b.roundRate, s.rate)
	}
	b.step(s, ended)
	if ended {
		b.newRound(s)
	}
}

func (b *bbr) onRTT(s ackSample) {
	if near := min(b.minRTT/8, 2*time.Millisecond); b.minRTT == 0 || s.rtt <= b.minRTT+max(near, b.minRTT/64) {
		if b.minRTT == 0 || s.rtt < b.minRTT {
			b.minRTT = s.rtt
		}
		b.minRTTAt = s.now
	}
	if b.roundRTT == 0 || s.rtt < b.roundRTT {
		b.roundRTT = s.rtt
	}
	limit := b.queueSeen()
	if b.state == bbrStartup { // where one that others make is not to stop us
		limit *= 2
	}
	if b.raised++; s.rtt <= b.minRTT+limit {
		b.raised = 0
	}
	b.felt = b.felt || b.raised >= bbrRaised
}

// onMark sends less, as when a queue is full, once a round trip.
func (b *bbr) onMark(now time.Duration) {
	if now-b.markedAt < b.minRTT {
		return
	}
	b.markedAt, b.told = now, true
	b.bw.scale(bbrBackoff)
	switch b.state {
	case bbrStartup:
		b.state = bbrDrain
	case bbrCruise:
		b.probed = 0
		b.enter(now, bbrDown)
	}
}

func (b *bbr) newRound(s ackSample) {
	if b.roundLost*50 > b.roundAcked && b.minRTT < bbrNear { // a socket's buffer is smaller than a burst
		b.held = max(b.held/2, bbrHeldMin)
	} else {
		b.held = min(b.held+b.held/32, bbrHeldUp)
	}
	b.believeLess()
	b.round++
	b.roundEnd = s.delivered
	if b.roundRTT > 0 {
		b.lastRTT = b.roundRTT
	}
	b.roundRTT, b.roundAcked, b.roundLost, b.roundRate = 0, 0, 0, 0
}

// gentle reports whether so little is sent, for some time, that no queue of the path grows, however short: bbrDown is slow
// where something was lost, and what probing queued has left a short queue after the first part of it. On a path on which even
// the least that is sent makes a queue it never is.
func (b *bbr) gentle(now time.Duration) bool {
	return b.state == bbrCruise && b.phase == bbrDown && b.slowly && now-b.phaseAt > b.leastHead() && b.rate() < b.delivery()
}

// learnLoss takes for chance what was lost of what was sent gently. Of the rest it may have been too much.
func (b *bbr) learnLoss(g gentleSample) {
	if b.minRTT < bbrNear {
		return
	}
	b.gently = min(b.gently+g.sent, bbrLossMemory*b.mss)
	b.loss += (float64(g.lost) - b.loss*float64(g.sent)) / float64(max(b.gently, g.sent, bbrLossStart*b.mss))
	b.loss = min(max(b.loss, 0), bbrMaxLoss)
}

// believeLess believes, with a queue, that less is lost by chance than was thought when a round lost less: what is paced on
// top may itself be that queue. A round counts for the segments in it, up to an eighth.
func (b *bbr) believeLess() {
	sent := b.roundAcked + b.roundLost
	if sent == 0 || !b.queued() {
		return
	}
	if less := float64(b.roundLost)/float64(sent) - b.loss; less < 0 {
		b.loss += less * min(float64(sent)/float64(bbrLossMemory*b.mss), 0.125)
	}
}

// queued reports whether even the least round trip of the round shows a queue.
func (b *bbr) queued() bool { return b.roundRTT > b.minRTT+b.queueSeen() }

// queueSeen is how much longer than the least a round trip is when there is a queue.
func (b *bbr) queueSeen() time.Duration { return 8*time.Millisecond + b.minRTT/32 }

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
		if b.raised >= bbrRaised { // the path holds no more
			b.state = bbrDrain
		} else if ended {
			b.checkFull(s)
		}
	case bbrCruise:
		b.cycle(s)
		if ended && b.phase == bbrLevel {
			b.watchStanding(s)
		}
	}
	if b.state == bbrDrain && s.inflight <= b.drained() {
		b.enterCruise(s.now)
	}
	b.probeRTT(s)
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

// product is gain times what the path holds, and what timers hold up.
func (b *bbr) product(gain float64) int {
	rate := b.bw.max()
	return int(gain*rate*b.minRTT.Seconds()+min(rate*bbrAggregation.Seconds(), b.held)) + b.slack()
}

func (b *bbr) window() int {
	if b.bw.max() == 0 {
		return bbrInitial * b.mss
	}
	switch b.state {
	case bbrStartup:
		return max(b.product(bbrStartWindow), min(b.product(bbrStartGain), b.slowStart), bbrInitial*b.mss)
	case bbrDrain:
		return max(b.drained(), b.least()*b.mss)
	case bbrProbeRTT:
		return max(b.product(b.emptied()), b.least()*b.mss)
	}
	return max(b.cruiseWindow(), b.least()*b.mss)
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
		rate *= b.gain()
	}
	return max(rate, b.floor(float64(b.least())))
}

// least is how many segments may be in flight in any case. Eight fill the queue of a relay with a low limit, and what it drops is
// sent again at once. Where relays tell of their queues one is enough to go on.
func (b *bbr) least() int {
	if b.told {
		return bbrToldWindow
	}
	return bbrMinWindow
}

// slack is what may be in flight for want of fractions of a segment.
func (b *bbr) slack() int {
	if b.told {
		return b.mss
	}
	return bbrSlack * b.mss
}

// floor is the rate at which so many segments leave in a round trip; 0 = not known. A relay's queue may be most of the round trip.
func (b *bbr) floor(segments float64) float64 {
	if b.minRTT == 0 {
		return 0
	}
	rtt := max(b.minRTT, time.Millisecond)
	if b.told {
		rtt = max(rtt, b.lastRTT)
	}
	return segments * float64(b.mss) / rtt.Seconds()
}
