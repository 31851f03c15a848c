package relaymesh

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/2xppg/xppg/kcptransport"
)

// Who is denied is so at either end of a circuit, however many relays are between, and no relay on the way has to agree.
func TestDeniedBehindOtherRelays(t *testing.T) {
	for end, number := range map[string]int{"the one who asks": 1, "the target": 5} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var denied atomic.Pointer[kcptransport.PeerID]
				var asked atomic.Int32
				middle := peerNumber(3)
				c := newChain(t, 3, func(cfg *RelayConfig) {
					if cfg.ID != middle {
						return
					}
					cfg.Admit = func(n Neighbor) bool {
						if far := n.Peer() == peerNumber(1) || n.Peer() == peerNumber(5); far == n.Addr().IsValid() {
							t.Errorf("%v is at %v", n.Peer().Short(), n.Addr())
						}
						asked.Add(1)
						id := denied.Load()
						return id == nil || *id != n.Peer()
					}
				})
				defer c.close()
				a, b := c.circuit()
				if asked.Load() == 0 {
					t.Error("nobody was asked about")
				}
				id := peerNumber(number)
				denied.Store(&id)
				c.relays[middle].Recheck()
				wantRefused(t, a.Wait(), RefusedDenied)
				wantRefused(t, b.Wait(), RefusedDenied)
				_, err := OpenCircuit(c.ctx, c.opener(), c.target(), 11, c.ids[2:4]...)
				wantRefused(t, err, RefusedDenied)
			})
		})
	}
}
