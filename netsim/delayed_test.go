package netsim

import "testing"

func TestDelayed(t *testing.T) {
	var d delayed[int]
	for _, tt := range []struct {
		now, set, seen int
	}{
		{1, 1, 0}, {1, 2, 0}, {2, 0, 2}, {5, 3, 2}, {6, 4, 3}, {7, 0, 4},
	} {
		if tt.set > 0 {
			d.set(int64(tt.now), tt.set)
		}
		if got := d.seen(int64(tt.now)); got != tt.seen {
			t.Errorf("at %d: %d, want %d", tt.now, got, tt.seen)
		}
	}
}

// Wakeups leave the odd nanoseconds to loops that take turns.
func TestWakeups(t *testing.T) {
	var w wakeups
	for at := range int64(6) {
		w.add(at, func() {})
	}
	for _, want := range []int64{2, 2, 4, 4, 6, 6, never} {
		if got := w.due(); got != want {
			t.Fatalf("due at %d, want %d", got, want)
		} else if got != never {
			w.next()
		}
	}
}
