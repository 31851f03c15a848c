package kcptransport

import (
	"testing"
	"time"
)

// A peer that is gone is found to be, however many circuits relays say lead to it, whether they come one after the other or overlap.
func TestGoneBehindCircuitsThatLeadNowhere(t *testing.T) {
	for _, how := range []string{"one after the other", "in the same moment", "overlapping"} {
		t.Run(how, func(t *testing.T) {
			tt := establishedTable(t)
			const dead = 30 * time.Second
			start := tt.now
			gone := func() bool { // as for a link
				at := tt.deadAt(dead)
				if tt.inUse == nil {
					at = tt.heardAt.Add(dead)
				}
				return !at.IsZero() && !tt.now.Before(at)
			}
			var before Path
			for i := uint32(1); !gone(); i++ {
				if tt.now.Sub(start) > 2*dead {
					t.Fatal("the peer does not count as gone")
				}
				c := Path{Addr: testPath(2).Addr, Circuit: i}
				if how == "overlapping" {
					tt.opened(tt.now, c, 40*time.Millisecond, nil)
					tt.closed(tt.now, before)
				} else {
					tt.closed(tt.now, before)
					tt.opened(tt.now, c, 40*time.Millisecond, nil)
				}
				for range 5 {
					if tt.inUse != nil {
						tt.sent(tt.now, tt.inUse.path, true, 100) // somebody wants to send
					}
					tt.pass(time.Second)
				}
				if before = c; how == "one after the other" {
					tt.closed(tt.now, c)
				}
			}
		})
	}
}

// A peer that was met since a circuit led nowhere has all of its time on the next one.
func TestMetAfterCircuitThatLedNowhere(t *testing.T) {
	tt := establishedTable(t)
	tt.closed(tt.now, testPath(1))
	for i := uint32(1); i <= 2; i++ {
		c := Path{Addr: testPath(2).Addr, Circuit: i}
		tt.opened(tt.now, c, 40*time.Millisecond, nil)
		tt.pass(6 * time.Second)
		if at := tt.deadAt(30 * time.Second); at.Before(tt.now.Add(20 * time.Second)) {
			t.Errorf("circuit %d: the peer is gone at %v, now is %v", i, at, tt.now)
		}
		tt.closed(tt.now, c)
		tt.pass(20 * time.Second)
		tt.met(tt.now)
		tt.pass(10 * time.Second)
	}
}
