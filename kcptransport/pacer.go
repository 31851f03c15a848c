package kcptransport

import "time"

const (
	// pacingCredit is what may leave at once after a pause: timers of real machines are late by a millisecond and more.
	pacingCredit = 5 * time.Millisecond
	// pacingQuantum is what is collected before the timer is set off, so that packets leave in batches.
	pacingQuantum = 500 * time.Microsecond
	pacingMin     = 16 * 1500 // bytes of credit, at least
)

// pacer spreads sending over time. Sending is allowed while its credit is positive and may overdraw it.
type pacer struct {
	rate   float64 // bytes a second; 0 = no limit
	credit float64 // bytes
	at     time.Duration
}

// refill brings the credit up to now.
func (p *pacer) refill(now time.Duration, rate float64) {
	if elapsed := now - p.at; elapsed > 0 {
		p.credit += p.rate * elapsed.Seconds()
		p.at = now
	}
	p.rate = rate
	if limit := max(rate*pacingCredit.Seconds(), pacingMin); p.credit > limit {
		p.credit = limit
	}
}

func (p *pacer) allows() bool { return p.rate == 0 || p.credit > 0 }

// even reports whether what leaves now is no part of a burst after a pause.
func (p *pacer) even() bool { return p.credit <= 2*p.rate*pacingQuantum.Seconds() }

func (p *pacer) spend(bytes int) { p.credit -= float64(bytes) }

// when returns the time at which a batch is worth being woken for.
func (p *pacer) when() time.Duration {
	if p.allows() {
		return p.at
	}
	wait := time.Duration(-p.credit / p.rate * float64(time.Second))
	return p.at + wait + pacingQuantum
}
