package kcptransport

import (
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func testPath(n byte) Path {
	return Path{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 7337)}
}

var testStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func drawPaths(t *rapid.T) []pathView {
	n := rapid.IntRange(0, 6).Draw(t, "paths")
	list := make([]pathView, n)
	for i := range list {
		list[i] = pathView{path: testPath(byte(i + 1)), works: rapid.Bool().Draw(t, "works")}
		if rapid.Bool().Draw(t, "near") {
			list[i].path.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, 0, byte(i + 1)}), 7337)
		}
		list[i].path.Circuit = rapid.Uint32Range(0, 1).Draw(t, "circuit")
		list[i].leaving = !list[i].path.Direct() && rapid.Bool().Draw(t, "leaving")
		list[i].rtt = time.Duration(rapid.IntRange(0, 300).Draw(t, "ms")) * time.Millisecond
		if rapid.IntRange(0, 2).Draw(t, "suspect") == 0 {
			list[i].suspect = testStart.Add(-time.Duration(rapid.IntRange(0, 1000).Draw(t, "ago")) * time.Millisecond)
		}
	}
	return list
}

// drawInUse picks the path in use: one that worked, or none.
func drawInUse(t *rapid.T, list []pathView) int {
	choices := []int{-1}
	for i, p := range list {
		if p.works {
			choices = append(choices, i)
		}
	}
	return rapid.SampledFrom(choices).Draw(t, "in use")
}

func TestChoosePathProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := drawPaths(t)
		inUse := drawInUse(t, list)
		since := testStart.Add(-time.Duration(rapid.IntRange(0, 5000).Draw(t, "since")) * time.Millisecond)
		choice, again := choosePath(list, inUse, since, testStart)
		works := func(p pathView) bool { return p.works && p.suspect.IsZero() }

		anyWorked := false
		for i, p := range list {
			anyWorked = anyWorked || p.works
			if choice < 0 || choice == inUse || i != choice {
				continue
			}
			if !p.works {
				t.Fatalf("chose path %d, which never worked", i)
			}
			if inUse >= 0 && !works(p) {
				t.Fatalf("left path %d for path %d, which is suspect", inUse, i)
			}
		}
		if (choice < 0) != !anyWorked {
			t.Fatalf("choice %d although paths that worked exist: %v", choice, anyWorked)
		}
		if inUse >= 0 && choice != inUse && works(list[inUse]) {
			a, b := list[inUse], list[choice]
			if a.path.Direct() && (!b.path.Direct() || !muchFaster(b.rtt, a.rtt) && !nearer(b, a)) {
				t.Fatalf("left a direct path that works (%v) for %v", a, b)
			}
		}
		if !again.IsZero() && !again.After(testStart) {
			t.Fatalf("wants to be asked again at %v, which is past", again)
		}
	})
}

// As long as nothing changes the choice comes to rest, and never returns to a path it left.
func TestChoosePathNeverFlaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := drawPaths(t)
		inUse := drawInUse(t, list)
		since, now := testStart, testStart
		left := map[int]bool{}
		for {
			choice, again := choosePath(list, inUse, since, now)
			if choice != inUse {
				if left[choice] {
					t.Fatalf("returned to path %d", choice)
				}
				left[inUse] = true
				inUse, since = choice, now
				continue
			}
			if again.IsZero() {
				break
			}
			now = again
		}
		if inUse < 0 || list[inUse].suspect.IsZero() {
			return
		}
		for i, p := range list {
			if p.works && p.suspect.IsZero() {
				t.Fatalf("stays on suspect path %d although path %d works", inUse, i)
			}
		}
	})
}

func TestChoosePath(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	view := func(n byte, rtt int) pathView { return pathView{path: testPath(n), works: true, rtt: ms(rtt)} }
	near := func(v pathView) pathView {
		v.path.Addr = netip.MustParseAddrPort("192.168.1.9:7337")
		return v
	}
	relayed := func(v pathView) pathView { v.path.Circuit = 1; return v }
	leaving := func(v pathView) pathView { v = relayed(v); v.leaving = true; return v }
	suspect := func(v pathView, ago int) pathView { v.suspect = testStart.Add(-ms(ago)); return v }
	tests := []struct {
		name  string
		paths []pathView
		inUse int
		dwell int // ms on the path in use
		want  int
		again int // ms from now, 0: not
	}{
		{"none", nil, -1, 0, -1, 0},
		{"first", []pathView{view(1, 50)}, -1, 0, 0, 0},
		{"fastest first", []pathView{view(1, 50), view(2, 20)}, -1, 0, 1, 0},
		{"direct first", []pathView{relayed(view(1, 5)), view(2, 90)}, -1, 0, 1, 0},
		{"direct takes over at once", []pathView{relayed(view(1, 5)), view(2, 90)}, 0, 0, 1, 0},
		{"relayed does not", []pathView{view(1, 90), relayed(view(2, 5))}, 0, 9999, 0, 0},
		{"little faster", []pathView{view(1, 50), view(2, 41)}, 0, 9999, 0, 0},
		{"clearly faster", []pathView{view(1, 50), view(2, 30)}, 0, 9999, 1, 0},
		{"clearly faster, just changed", []pathView{view(1, 50), view(2, 30)}, 0, 500, 0, 1500},
		{"faster on a LAN", []pathView{view(1, 3), view(2, 1)}, 0, 9999, 0, 0},
		{"as fast and near", []pathView{view(1, 3), near(view(2, 4))}, 0, 9999, 1, 0},
		{"as fast and near, just changed", []pathView{view(1, 3), near(view(2, 3))}, 0, 500, 0, 1500},
		{"near, but slower", []pathView{view(1, 3), near(view(2, 5))}, 0, 9999, 0, 0},
		{"near stays", []pathView{near(view(1, 4)), view(2, 2)}, 0, 9999, 0, 0},
		{"unmeasured", []pathView{view(1, 50), view(2, 0)}, 0, 9999, 0, 0},
		{"suspect gets its round trip", []pathView{suspect(view(1, 40), 20), view(2, 90)}, 0, 0, 0, 40},
		{"suspect loses then", []pathView{suspect(view(1, 40), 61), view(2, 90)}, 0, 0, 1, 0},
		{"suspect even to a relay", []pathView{suspect(view(1, 40), 61), relayed(view(2, 90))}, 0, 0, 1, 0},
		{"all suspect", []pathView{suspect(view(1, 40), 900), suspect(view(2, 5), 1)}, 0, 9999, 0, 0},
		{"all suspect, none in use", []pathView{suspect(view(1, 40), 900), suspect(view(2, 5), 1)}, -1, 0, 1, 0},
		{"a circuit that is to be left", []pathView{leaving(view(1, 40)), relayed(view(2, 90))}, 0, 0, 1, 0},
		{"not for one that never answered", []pathView{leaving(view(1, 40)), relayed(view(2, 0))}, 0, 9999, 0, 0},
		{"not for one that does not answer now", []pathView{leaving(view(1, 40)), suspect(relayed(view(2, 90)), 1)}, 0, 9999, 0, 0},
		{"not for one that is to be left, too", []pathView{leaving(view(1, 40)), leaving(view(2, 39))}, 0, 9999, 0, 0},
		{"not for one that is faster and to be left", []pathView{relayed(view(1, 90)), leaving(view(2, 9))}, 0, 9999, 0, 0},
		{"rather a circuit that is to be left than none", []pathView{leaving(view(1, 40))}, -1, 0, 0, 0},
		{"probing only", []pathView{{path: testPath(1)}}, -1, 0, -1, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, again := choosePath(test.paths, test.inUse, testStart.Add(-ms(test.dwell)), testStart)
			var wantAgain time.Time
			if test.again > 0 {
				wantAgain = testStart.Add(ms(test.again))
			}
			if got != test.want || !again.Equal(wantAgain) {
				t.Errorf("path %d, again at %v, want %d, %v", got, again, test.want, wantAgain)
			}
		})
	}
}
