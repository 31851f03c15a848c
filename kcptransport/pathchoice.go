package kcptransport

import (
	"cmp"
	"time"
)

// How reluctant a link is to leave a path that works.
const (
	minDwell     = 2 * time.Second      // between two changes for the sake of speed
	minRTTGain   = 5 * time.Millisecond // a path this much faster, and a fifth, is worth a change
	suspectGrace = 10 * time.Millisecond
)

// pathView is what the choice among paths looks at.
type pathView struct {
	path    Path
	works   bool          // validated
	suspect time.Time     // since when an answer is missing; the zero time: none is
	rtt     time.Duration // the lowest measured, 0 when none was
}

// choosePath returns the index of the path to send on, or -1 when none of them was ever validated. inUse is the index
// of the one in use or -1, since when that is so. When the answer depends on time to pass, again is when to ask anew.
//
// It is reluctant: a path in use that works is left for a direct one if it is relayed, otherwise only for one that is
// clearly faster, and not twice within two seconds. A path in use that is suspected gets the time of a round trip to
// answer before another one that works takes over.
func choosePath(paths []pathView, inUse int, since, now time.Time) (choice int, again time.Time) {
	best := -1
	for i, p := range paths {
		if p.works && p.suspect.IsZero() && (best < 0 || comparePaths(p, paths[best]) < 0) {
			best = i
		}
	}
	switch {
	case inUse < 0 && best < 0:
		for i, p := range paths { // rather a suspect one than none
			if p.works && (best < 0 || comparePaths(p, paths[best]) < 0) {
				best = i
			}
		}
		return best, time.Time{}
	case inUse < 0 || best < 0 || best == inUse:
		return max(best, inUse), time.Time{}
	}
	current := paths[inUse]
	if !current.works {
		return best, time.Time{}
	}
	if !current.suspect.IsZero() {
		if at := current.suspect.Add(current.rtt*5/4 + suspectGrace); now.Before(at) {
			return inUse, at
		}
		return best, time.Time{}
	}
	if paths[best].path.Direct() != current.path.Direct() {
		return best, time.Time{}
	}
	if !muchFaster(paths[best].rtt, current.rtt) {
		return inUse, time.Time{}
	}
	if at := since.Add(minDwell); now.Before(at) {
		return inUse, at
	}
	return best, time.Time{}
}

// comparePaths orders paths that work, the best first: direct ones, then by round trip, then by address so that the
// order is total.
func comparePaths(a, b pathView) int {
	return cmp.Or(
		compareBool(b.path.Direct(), a.path.Direct()),
		cmp.Compare(rttOrLong(a.rtt), rttOrLong(b.rtt)),
		a.path.Addr.Compare(b.path.Addr),
		cmp.Compare(a.path.Circuit, b.path.Circuit),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func rttOrLong(d time.Duration) time.Duration {
	if d == 0 {
		return time.Hour
	}
	return d
}

// muchFaster reports whether a path with round trip a is worth leaving one with b.
func muchFaster(a, b time.Duration) bool {
	return a > 0 && b > 0 && b-a > max(minRTTGain, b/5)
}
