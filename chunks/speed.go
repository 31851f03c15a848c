package chunks

import "time"

// speed estimates how fast a source delivers while it is asked for something. The zero value knows nothing yet.
// Pure: the clock comes in from outside.
type speed struct {
	cost  float64   // seconds per byte, 0 until the first chunk came; smoothed as time, so that bursts don't flatter
	since time.Time // when the current wait began: the last delivery, or the question that ended an idle time
}

// waiting tells that something was asked of an idle source.
func (s *speed) waiting(now time.Time) { s.since = now }

// delivered tells that n bytes came.
func (s *speed) delivered(now time.Time, n int) {
	const fresh = 0.2 // weight of the newest measurement
	measured := max(now.Sub(s.since), time.Microsecond).Seconds() / float64(n)
	if s.cost == 0 {
		s.cost = measured
	}
	s.cost += fresh * (measured - s.cost)
	s.since = now
}

// takes estimates how long a source needs for n bytes; 0 before anything was measured.
func (s *speed) takes(n int) time.Duration {
	return time.Duration(s.cost * float64(n) * float64(time.Second))
}

// rate returns bytes per second; 0 before anything was measured.
func (s *speed) rate() float64 {
	if s.cost == 0 {
		return 0
	}
	return 1 / s.cost
}

// remaining estimates how long a source that was asked for n bytes, in units of unit, will still take. One that has
// been silent for longer than a unit should take is taken to be as slow as that silence.
func (s *speed) remaining(now time.Time, n, unit int) time.Duration {
	cost := max(s.cost, now.Sub(s.since).Seconds()/float64(unit))
	return time.Duration(cost * float64(n) * float64(time.Second))
}

// meter is the rate that people see: bytes per second over the last few seconds. The zero value is ready.
type meter struct {
	rate float64
	at   time.Time
}

// update takes in the bytes since the last update and returns the new rate.
func (m *meter) update(now time.Time, n int64) float64 {
	const memory = 2 * time.Second
	if m.at.IsZero() {
		m.at = now
		return 0
	}
	took := now.Sub(m.at)
	if took <= 0 {
		return m.rate
	}
	weight := float64(took) / float64(took+memory)
	m.rate += weight * (float64(n)/took.Seconds() - m.rate)
	m.at = now
	return m.rate
}
