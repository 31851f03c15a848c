package kcptransport

import "time"

// rttEstimator smooths round trips as RFC 6298 section 2 says. The zero value knows nothing.
type rttEstimator struct {
	smoothed, variance time.Duration
	min                time.Duration // of the last half minute to minute
	recent             time.Duration // minimum since turned
	turned             time.Duration
}

// Before anything is known: RFC 6298 says 1 s, which a handshake has already proven too slow for most paths.
const initialProbeTimeout = 300 * time.Millisecond

// maxAckDelay is what the other side may take to answer on a busy machine.
const maxAckDelay = 5 * time.Millisecond

func (r *rttEstimator) update(now, sample time.Duration) {
	if now-r.turned > 30*time.Second {
		r.min, r.recent, r.turned = r.recent, 0, now
	}
	if r.recent == 0 || sample < r.recent {
		r.recent = sample
	}
	if r.min == 0 || r.recent < r.min {
		r.min = r.recent
	}
	if r.smoothed == 0 {
		r.smoothed, r.variance = sample, sample/2
		return
	}
	delta := (r.smoothed - sample).Abs()
	r.variance += (delta - r.variance) / 4
	r.smoothed += (sample - r.smoothed) / 8
}

// hint sets a first estimate measured by other means.
func (r *rttEstimator) hint(rtt time.Duration) { *r = rttEstimator{smoothed: rtt, variance: rtt / 4} }

// probeTimeout is how long after a sending an acknowledgement is overdue.
func (r *rttEstimator) probeTimeout() time.Duration {
	if r.smoothed == 0 {
		return initialProbeTimeout
	}
	return r.smoothed + max(4*r.variance, r.smoothed/8) + maxAckDelay
}
