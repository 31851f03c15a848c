package kcptransport

import (
	"cmp"
	"time"
)

// How reluctant a link is to leave a path that works.
const (
	minDwell     = 2 * time.Second      // between two changes for the sake of speed
	minRTTGain   = 5 * time.Millisecond // a path this much faster, and a fifth, is worth a change
	nearGain     = time.Millisecond     // that an address of the local network is worth: no router has work with it
	suspectGrace = 10 * time.Millisecond
)

// pathView is what the choice among paths looks at.
type pathView struct {
	path    Path
	works   bool          // validated
	suspect time.Time     // since when an answer is missing; the zero time: none is
	rtt     time.Duration // the lowest measured, 0 when none was

	leaving  bool      // a circuit that is about to be closed
	steadyAt time.Time // when a circuit may be left for it, after it failed before
}

// choosePath returns the index of the path to send on, or -1 when none of them was ever validated. inUse is the index
// of the one in use or -1, since when that is so. When the answer depends on time to pass, again is when to ask anew.
//
// It is reluctant: a path in use that works is left for a direct one if it is relayed (at once, unless that one failed before:
// then it has to work for a while first), otherwise only for one that is
// clearly faster, or as fast and in the local network, and not twice within two seconds. A path in use that is suspected
// gets the time of a round trip to answer before another one that works takes over. A circuit that is about to be closed is left for
// another one as soon as that has answered.
func choosePath(paths []pathView, inUse int, since, now time.Time) (choice int, again time.Time) {
	best, steady := -1, time.Time{}
	settled := inUse >= 0 && paths[inUse].works && paths[inUse].suspect.IsZero()
	for i, p := range paths {
		if !p.works || !p.suspect.IsZero() {
			continue
		}
		if settled && p.path.rank() < paths[inUse].path.rank() && now.Before(p.steadyAt) {
			steady = earlier(steady, p.steadyAt)
			continue
		}
		if best < 0 || comparePaths(p, paths[best]) < 0 {
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
	case inUse < 0:
		return best, time.Time{}
	case best < 0 || best == inUse:
		return inUse, steady
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
	if paths[best].path.rank() != current.path.rank() {
		return best, time.Time{}
	}
	if current.leaving && !paths[best].leaving && paths[best].rtt > 0 {
		return best, time.Time{}
	}
	if !muchFaster(paths[best].rtt, current.rtt) && !nearer(paths[best], current) {
		return inUse, steady
	}
	if at := since.Add(minDwell); now.Before(at) {
		return inUse, earlier(at, steady)
	}
	return best, time.Time{}
}

// comparePaths orders paths that work, the best first: by kind, those that stay before those that do not, then by round trip, then near ones, then by address so
// that the order is total.
func comparePaths(a, b pathView) int {
	return cmp.Or(
		cmp.Compare(a.path.rank(), b.path.rank()),
		compareBool(a.leaving, b.leaving),
		cmp.Compare(a.length(), b.length()),
		compareBool(b.near(), a.near()),
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

// length is the round trip as far as it tells of how good a path is.
func (p pathView) length() time.Duration {
	switch {
	case p.rtt == 0:
		return time.Hour
	case p.near():
		return p.rtt - nearGain
	}
	return p.rtt
}

// near reports whether a path stays in the local network, as far as addresses tell (RFC 1918, RFC 4193).
func (p pathView) near() bool { return p.path.Direct() && p.path.Addr.Addr().IsPrivate() }

// nearer reports whether a is worth leaving b for, because it spares a router the work and is no slower.
func nearer(a, b pathView) bool {
	return a.near() && !b.near() && a.rtt > 0 && b.rtt > 0 && a.length() <= b.length()
}

// muchFaster reports whether a path with round trip a is worth leaving one with b.
func muchFaster(a, b time.Duration) bool {
	return a > 0 && b > 0 && b-a > max(minRTTGain, b/5)
}
