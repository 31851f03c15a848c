package kcptransport

import (
	"testing"
	"time"
)

// Sent as the pacer allows, the rate is what was asked for, whatever the timer's grain.
func TestPacerRate(t *testing.T) {
	for _, grain := range []time.Duration{0, time.Millisecond, 4 * time.Millisecond} {
		const rate = 1e6
		var p pacer
		sent := 0
		now := time.Duration(0)
		for now < 10*time.Second {
			for p.refill(now, rate); p.allows(); p.refill(now, rate) {
				p.spend(1200)
				sent += 1200
			}
			next := p.when()
			if next <= now {
				t.Fatal("the timer is set to the past")
			}
			now = next + grain
		}
		if got := float64(sent) / 10; got < 0.99*rate || got > 1.01*rate {
			t.Errorf("grain %v: %.0f bytes a second, want %.0f", grain, got, rate)
		}
	}
}

// After a pause no more leaves at once than the credit.
func TestPacerBurst(t *testing.T) {
	const rate = 100e6
	p := pacer{}
	p.refill(0, rate)
	p.refill(time.Hour, rate)
	burst := 0
	for p.allows() {
		p.spend(1200)
		burst += 1200
	}
	if limit := int(rate * pacingCredit.Seconds()); burst > limit+1200 || burst < limit-1200 {
		t.Errorf("%d bytes leave at once, want %d", burst, limit)
	}
}

// What leaves after a pause is part of a burst, what the pacer held back is not.
func TestPacerEven(t *testing.T) {
	const rate = 10e6
	p := pacer{}
	p.refill(0, rate)
	p.refill(time.Second, rate)
	if p.even() {
		t.Error("a burst is taken for even")
	}
	for p.allows() {
		p.spend(1200)
	}
	for range 100 {
		at := p.when()
		for p.refill(at, rate); p.allows(); {
			if !p.even() {
				t.Fatal("what is paced is taken for a burst")
			}
			p.spend(1200)
		}
	}
}
