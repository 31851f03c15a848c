package kcptransport

import (
	"testing"
	"time"
)

// A peer that is gone is found to be, however many circuits relays say lead to it, whether they come after each other or overlap.
func TestGoneBehindCircuitsThatLeadNowhere(t *testing.T) {
	for name, overlap := range map[string]bool{"one after the other": false, "overlapping": true} {
		t.Run(name, func(t *testing.T) {
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
				tt.opened(tt.now, c, 40*time.Millisecond, nil)
				tt.closed(tt.now, before)
				for range 5 {
					if tt.inUse != nil {
						tt.sent(tt.now, tt.inUse.path, true, 100) // somebody wants to send
					}
					tt.pass(time.Second)
				}
				if before = c; !overlap {
					tt.closed(tt.now, c)
				}
			}
		})
	}
}
