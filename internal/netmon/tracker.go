package netmon

import (
	"net/netip"
	"slices"
	"time"
)

// slack is how much longer than planned a wait may take before it counts as sleep.
const slack = 3 * time.Second

// hint says that something may have changed.
type hint struct {
	rerouted bool // a default route came or went, even if the addresses stay
}

// view is what the system looks like at one moment.
type view struct {
	addrs  []netip.Addr // sorted
	v4, v6 netip.Addr   // where packets to the internet leave from; zero without a route
}

// tracker decides when to look, and what of it is a change. It has no clock.
type tracker struct {
	every    time.Duration
	last     view
	lastAt   time.Time // of the last look
	rerouted bool      // since then
	due      time.Time // of the next look
	latest   time.Time // for it after a hint; zero without one
}

func newTracker(every time.Duration, v view, now time.Time) *tracker {
	return &tracker{every: every, last: v, lastAt: now, due: now.Add(every)}
}

// wait returns how long until the next look.
func (t *tracker) wait(now time.Time) time.Duration { return t.due.Sub(now) }

// hint brings the next look near: when it has been quiet for a moment, and soon in any case.
func (t *tracker) hint(h hint, now time.Time) {
	t.rerouted = t.rerouted || h.rerouted
	if t.latest.IsZero() {
		t.latest = now.Add(patience)
	}
	t.due = now.Add(quiet)
	if t.due.After(t.latest) {
		t.due = t.latest
	}
}

// look compares what is there now with what was there before.
func (t *tracker) look(v view, now time.Time) (Change, bool) {
	c := Change{
		Added:    missing(v.addrs, t.last.addrs),
		Removed:  missing(t.last.addrs, v.addrs),
		Rerouted: t.rerouted || v.v4 != t.last.v4 || v.v6 != t.last.v6,
		Slept:    slept(t.lastAt, now, t.every),
	}
	*t = tracker{every: t.every, last: v, lastAt: now, due: now.Add(t.every)}
	return c, len(c.Added) > 0 || len(c.Removed) > 0 || c.Rerouted || c.Slept
}

// slept reports whether the machine was asleep between two looks that should be at most every apart. The monotonic
// clock stands still meanwhile on some systems and goes on on others, so both it and the wall clock are asked. Somebody
// who sets the wall clock forward looks like sleep, which does no harm.
func slept(before, now time.Time, every time.Duration) bool {
	return now.Sub(before) > every+slack || now.Round(0).Sub(before.Round(0)) > every+slack
}

// missing returns what of a is not in b. Both are sorted.
func missing(a, b []netip.Addr) (out []netip.Addr) {
	for _, x := range a {
		if _, ok := slices.BinarySearchFunc(b, x, netip.Addr.Compare); !ok {
			out = append(out, x)
		}
	}
	return out
}
