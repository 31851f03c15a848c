package netmon

import (
	"net/netip"
	"testing"
	"time"
)

var (
	home  = netip.MustParseAddr("192.168.1.7")
	cafe  = netip.MustParseAddr("10.0.0.9")
	start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func at(d time.Duration) time.Time { return start.Add(d) }

func TestTrackerWaitsForQuiet(t *testing.T) {
	tr := newTracker(15*time.Second, view{}, start)
	if got := tr.wait(start); got != 15*time.Second {
		t.Errorf("without a hint the next look is in %v, want 15s", got)
	}
	tr.hint(hint{}, at(time.Second))
	if got := tr.wait(at(time.Second)); got != quiet {
		t.Errorf("after a hint the next look is in %v, want %v", got, quiet)
	}
	// Hints that go on cannot put it off for longer than a second.
	for d := time.Second; d < 2*time.Second; d += 100 * time.Millisecond {
		tr.hint(hint{}, at(d))
	}
	if got := tr.wait(at(time.Second)); got != patience {
		t.Errorf("with hints that go on the look is %v after the first, want %v", got, patience)
	}
}

func TestTrackerCompares(t *testing.T) {
	old := view{addrs: []netip.Addr{home}, v4: home}
	tests := []struct {
		name string
		view view
		hint hint
		at   time.Duration
		want string
	}{
		{"nothing", old, hint{}, time.Second, ""},
		{"moved", view{addrs: []netip.Addr{cafe}, v4: cafe}, hint{}, time.Second, "10.0.0.9 added, 192.168.1.7 gone, another route"},
		{"an address more", view{addrs: []netip.Addr{cafe, home}, v4: home}, hint{}, time.Second, "10.0.0.9 added"},
		{"no route any more", view{addrs: []netip.Addr{home}}, hint{}, time.Second, "another route"},
		{"another router, same addresses", old, hint{rerouted: true}, time.Second, "another route"},
		{"late by a busy machine", old, hint{}, 17 * time.Second, ""},
		{"asleep", old, hint{}, time.Minute, "woke up"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTracker(15*time.Second, old, start)
			tr.hint(tt.hint, start)
			c, changed := tr.look(tt.view, at(tt.at))
			if got := c.String(); got != tt.want || changed != (tt.want != "") {
				t.Errorf("got %q (changed: %v), want %q", got, changed, tt.want)
			}
			if c, changed := tr.look(tt.view, at(tt.at+time.Second)); changed {
				t.Errorf("a second later it is reported again: %v", c)
			}
		})
	}
}

// The monotonic clock of Linux stands still while the machine sleeps; the wall clock tells.
func TestSleptByTheWallClock(t *testing.T) {
	before := time.Now()
	if slept(before, before.Add(time.Second), 15*time.Second) {
		t.Error("a second is no sleep")
	}
	if wall := before.Round(0).Add(time.Hour); !slept(before, wall, 15*time.Second) {
		t.Error("an hour on the wall clock was not noticed")
	}
}
