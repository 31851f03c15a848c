package kcptransport

import (
	"testing"

	"pgregory.net/rapid"
)

// naiveWindow is the definition of the window, without bounds on memory.
type naiveWindow struct {
	highest uint64
	seen    map[uint64]bool
}

func (w *naiveWindow) fresh(n uint64) bool {
	return !w.seen[n] && (n > w.highest || w.highest-n < replaySize)
}

func (w *naiveWindow) mark(n uint64) {
	w.seen[n] = true
	w.highest = max(w.highest, n)
}

func TestReplayWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w replayWindow
		naive := naiveWindow{seen: map[uint64]bool{}}
		if start := rapid.Uint64Range(0, 1<<63).Draw(t, "start"); start > 0 {
			w.mark(start)
			naive.mark(start)
		}
		near := rapid.Uint64Range(0, 3*replayBlockBits)
		step := rapid.OneOf(near, rapid.Uint64Range(0, 2*replaySize), rapid.Custom(func(t *rapid.T) uint64 { // around the window's edge
			return replaySize - replayBlockBits + near.Draw(t, "off")
		}))
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			n := naive.highest
			if d := step.Draw(t, "distance"); rapid.Bool().Draw(t, "up") {
				n += d
			} else if d <= n {
				n -= d
			}
			if w.fresh(n) != naive.fresh(n) {
				t.Fatalf("number %d with highest %d: fresh is %v, want %v", n, naive.highest, w.fresh(n), naive.fresh(n))
			}
			if naive.fresh(n) && rapid.IntRange(0, 9).Draw(t, "authentic") > 0 {
				w.mark(n)
				naive.mark(n)
			}
			if w.highest != naive.highest {
				t.Fatalf("highest is %d, want %d", w.highest, naive.highest)
			}
		}
	})
}

func TestReplayWindowZeroValue(t *testing.T) {
	var w replayWindow
	if !w.fresh(0) {
		t.Fatal("number 0 is not fresh at first")
	}
	w.mark(0)
	if w.fresh(0) || !w.fresh(1) {
		t.Fatal("after number 0")
	}
}

func TestExpandPacketNumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64Range(0, 1<<62).Draw(t, "number")
		// The number is found when it is less than half the range from the expected one, on the far side exactly half.
		const half = 1 << 31
		low := uint64(0)
		if n > half {
			low = n - half
		}
		highest := rapid.Uint64Range(low, n+half-2).Draw(t, "highest")
		if got := expandPacketNumber(highest, uint32(n)); got != n {
			t.Fatalf("highest %#x, low bits of %#x: %#x", highest, n, got)
		}
	})
	if got := expandPacketNumber(1<<40-1, 1<<31); got != 1<<40+1<<31 {
		t.Errorf("half the range ahead: %#x", got)
	}
	if got := expandPacketNumber(1<<40+1<<31-1, 0); got != 1<<40+1<<32 {
		t.Errorf("half the range behind counts as ahead: %#x", got)
	}
}
