package api

import (
	"testing"
	"time"
)

// A peer that crashed and comes back, and that does not look for us by itself, is found within a moment, however long it was
// away: who has a link that does not know that its peer is another one now asks common peers again and again, also when the only
// circuits to it have ended.
func TestCrashedPeerIsFoundAgain(t *testing.T) {
	for _, nat := range []string{"port-restricted", "symmetric"} {
		for _, talking := range []bool{false, true} {
			inWorld(t, func(t *testing.T, w *world) {
				a, b, rs := w.relayed(nat, nat, 1)
				for away := 5 * time.Second; away < 150*time.Second; away += 1700 * time.Millisecond {
					if err := talk(t.Context(), a, b); err != nil {
						t.Fatal(err)
					}
					b.host.Crash()
					_ = b.Close()
					back := time.Now().Add(away)
					if talking {
						_ = a.SendText(w.ctx(away), "lost", b.ID())
					}
					time.Sleep(time.Until(back))
					b.host.Start()
					b.run()
					b.meet(rs[0])
					start := time.Now()
					if err := talk(t.Context(), a, b); err != nil {
						t.Errorf("%s, away for %v: %v", nat, away, err)
					} else if took := time.Since(start); took > 4500*time.Millisecond {
						t.Errorf("%s, away for %v: it took %v", nat, away, took)
					}
				}
			})
		}
	}
}
