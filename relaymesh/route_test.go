package relaymesh

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/2xppg/xppg/kcptransport"
)

func TestRoutes(t *testing.T) {
	p := func(n ...int) (ids []kcptransport.PeerID) {
		for _, i := range n {
			ids = append(ids, peerNumber(i))
		}
		return ids
	}
	self, target := peerNumber(100), peerNumber(200)
	relays := []RelayInfo{
		{ID: peerNumber(1), Near: true, RTT: 50 * time.Millisecond, Neighbours: p(200, 100, 2)},
		{ID: peerNumber(2), Near: true, RTT: 20 * time.Millisecond, Neighbours: p(200, 1)},
		{ID: peerNumber(3), Near: true, RTT: time.Millisecond, Neighbours: p(4)},
		{ID: peerNumber(4), Neighbours: p(5, 3)},
		{ID: peerNumber(5), Neighbours: p(200)},
	}
	want := [][]kcptransport.PeerID{p(2), p(1), p(3, 4, 5)}
	got := Routes(self, target, relays, 5)
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("routes %v, want %v", got, want)
	}
	if got := Routes(self, target, relays[2:], 5); len(got) != 1 {
		t.Errorf("routes %v", got)
	}
	if got := Routes(self, peerNumber(77), relays, 5); got != nil {
		t.Errorf("routes to somebody unknown: %v", got)
	}
}

// Whatever the mesh, a route begins near, goes from neighbour to neighbour, ends at the target's, and shares no relay with
// another one.
func TestRoutesHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.Map(rapid.IntRange(1, 12), peerNumber)
		relays := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) RelayInfo {
			return RelayInfo{
				ID: id.Draw(t, "id"), Near: rapid.Bool().Draw(t, "near"),
				RTT: time.Duration(rapid.IntRange(0, 3).Draw(t, "rtt")), Neighbours: rapid.SliceOfN(id, 0, 4).Draw(t, "neighbours"),
			}
		}), 0, 12).Draw(t, "relays")
		self, target := peerNumber(1), peerNumber(2)
		first := map[kcptransport.PeerID]RelayInfo{}
		for _, r := range relays {
			if _, ok := first[r.ID]; !ok {
				first[r.ID] = r
			}
		}
		seen := map[kcptransport.PeerID]bool{self: true, target: true}
		for _, route := range Routes(self, target, relays, 3) {
			if len(route) == 0 || len(route) > MaxHops || !first[route[0]].Near {
				t.Fatalf("route %v", route)
			}
			for i, r := range route {
				next := target
				if i+1 < len(route) {
					next = route[i+1]
				}
				if seen[r] || !slices.Contains(first[r].Neighbours, next) {
					t.Fatalf("route %v at %v", route, r)
				}
				seen[r] = true
			}
		}
	})
}
