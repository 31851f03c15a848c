package kcptransport

import "time"

// When an endpoint counts as under load: more first messages than nodes that mean well send, or a burst that would last.
const (
	loadDrain = 100.0 // first messages a second that are no load
	loadOn    = 200.0 // beyond what drained, from which on it is one
	loadOff   = 50.0  // below which it no longer is
)

// loadMeter is a leaky bucket with hysteresis. Its zero value is empty.
type loadMeter struct {
	level float64
	at    time.Time
	on    bool
}

// arrived counts one first message and reports whether the endpoint is under load.
func (l *loadMeter) arrived(now time.Time) bool {
	if !l.at.IsZero() {
		l.level = max(0, l.level-loadDrain*now.Sub(l.at).Seconds())
	}
	l.at = now
	l.level = min(l.level+1, 2*loadOn) // so that it is over in seconds
	switch {
	case l.level >= loadOn:
		l.on = true
	case l.level < loadOff:
		l.on = false
	}
	return l.on
}
