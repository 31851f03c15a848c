package kcptransport

import (
	"testing"
	"time"
)

// cruising returns a controller that cruises at bbrLevel, at a rate in bytes a second, on an empty path.
func cruising(rate float64, rtt time.Duration) *bbr {
	b := newBBR(1204)
	b.minRTT, b.lastRTT, b.round = rtt, rtt, 10
	b.bw.set(b.round, rate)
	b.enterCruise(0)
	return b
}

// What was sent gently counts for the segments in it. What was sent otherwise may have been lost by ourselves.
func TestBBRLearnsLoss(t *testing.T) {
	few, many := cruising(1e6, 50*ms), cruising(1e6, 50*ms)
	for _, b := range []*bbr{few, many} {
		b.learnLoss(gentleSample{sent: 2000 * b.mss, lost: 100 * b.mss})
		if b.loss < 0.04 || b.loss > 0.06 {
			t.Fatalf("5 %% are taken for %v", b.loss)
		}
	}
	few.learnLoss(gentleSample{sent: 20 * few.mss})
	many.learnLoss(gentleSample{sent: 2000 * many.mss})
	if few.loss < 0.04 || many.loss > 0.01 {
		t.Errorf("after 20 segments of which none was lost %v is taken for chance, after 2,000 %v", few.loss, many.loss)
	}
	b := cruising(1e6, 50*ms)
	for now := 50 * ms; now < time.Second; now += 50 * ms {
		b.onAck(ackSample{now: now, acked: 40 * b.mss, lost: 4 * b.mss, rtt: 50 * ms, prior: b.roundEnd, delivered: b.roundEnd + 1})
	}
	if b.loss != 0 {
		t.Errorf("%v is taken for chance, but nothing was sent gently", b.loss)
	}
}

// With a queue, a round in which less was lost counts for the segments in it, too.
func TestBBRBelievesLess(t *testing.T) {
	few, many := cruising(1e6, 50*ms), cruising(1e6, 50*ms)
	for b, segments := range map[*bbr]int{few: 20, many: 2000} {
		b.loss, b.roundRTT, b.roundAcked = 0.1, 100*ms, segments*b.mss
		b.newRound(ackSample{})
	}
	if few.loss < 0.095 || many.loss > 0.09 {
		t.Errorf("after 20 segments of which none was lost %v is taken for chance, after 2,000 %v", few.loss, many.loss)
	}
}

// Only what is lost of what was sent slowly, after the queue of probing has begun to drain, is chance.
func TestBBRGentle(t *testing.T) {
	b := cruising(1e6, 50*ms)
	b.lossy = true
	b.enter(time.Second, bbrDown)
	for after, want := range map[time.Duration]bool{0: false, 8 * ms: false, 9 * ms: true} {
		if got := b.gentle(time.Second + after); got != want {
			t.Errorf("%v after bbrDown began: %v", after, got)
		}
	}
	if b.enter(time.Second, bbrDown); b.gentle(time.Second + 9*ms) {
		t.Error("nothing was lost since, but bbrDown is slow")
	}
	b = cruising(20e3, 50*ms) // so slow a path that the least that is sent is more than it delivers
	b.lossy = true
	if b.enter(time.Second, bbrDown); b.gentle(time.Second+40*ms) && b.rate() > b.delivery() {
		t.Errorf("%.0f bytes a second count as gentle where %.0f are delivered", b.rate(), b.delivery())
	}
}

// A round trip that nobody measured does not show that a queue has drained.
func TestBBRStandingUnseen(t *testing.T) {
	b := cruising(1e6, 50*ms)
	b.standing, b.roundRTT = 2, 0
	if b.watchStanding(ackSample{}); b.standing != 2 {
		t.Error("a queue that was not seen counts as drained")
	}
	b.roundRTT = 50 * ms
	if b.watchStanding(ackSample{}); b.standing != 0 {
		t.Error("a queue that has drained counts as standing")
	}
}

// A mark drains the queue, whatever cruising is at.
func TestBBRMarkDrains(t *testing.T) {
	for _, p := range []bbrPhase{bbrUp, bbrDown, bbrLevel} {
		b := cruising(1e6, 50*ms)
		b.enter(time.Second, p)
		b.onMark(2 * time.Second)
		if b.phase != bbrDown || b.phaseAt != 2*time.Second {
			t.Errorf("phase %d goes on after a mark", p)
		}
	}
}

// On a path so slow that the least that may be in flight makes a queue, bbrDown ends all the same.
func TestBBRDownEnds(t *testing.T) {
	b := cruising(10e3, 50*ms)
	b.standing, b.lastRTT = 1, time.Second
	b.enter(0, bbrDown)
	for now := 100 * ms; now < 2*time.Second+200*ms; now += 100 * ms {
		b.cycle(ackSample{now: now, inflight: bbrMinWindow * b.mss})
		if drains := now <= 2*time.Second; drains != (b.phase == bbrDown) {
			t.Fatalf("after %v bbrDown lasts: %v", now, b.phase == bbrDown)
		}
	}
}

// Where a relay has marked packets of late, few segments may be in flight, and no floor has more leave than its queue lets through.
func TestBBRTold(t *testing.T) {
	b := cruising(100e3, ms)
	b.lastRTT = 20 * ms
	untold, rate := b.window(), b.rate()
	if untold < bbrMinWindow*b.mss || rate < float64(bbrMinWindow*b.mss)/ms.Seconds() {
		t.Fatalf("nobody told, and yet %d bytes and %.0f bytes a second are the most", untold, rate)
	}
	b.onMark(time.Second)
	if w, r := b.window(), b.rate(); w > 2*b.mss || r > 100e3 {
		t.Errorf("after a mark %d bytes may be in flight and %.0f leave a second", w, r)
	}
	b.onAck(ackSample{now: time.Second + bbrRTTLife, acked: b.mss, delivered: 1})
	if w := b.window(); w < bbrMinWindow*b.mss {
		t.Errorf("a mark of long ago still leaves %d bytes", w)
	}
}
