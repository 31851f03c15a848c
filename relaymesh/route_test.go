package relaymesh

import (
	"net/netip"
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
	got := Routes(self, target, relays, nil, 5)
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("routes %v, want %v", got, want)
	}
	if got := Routes(self, target, relays[2:], nil, 5); len(got) != 1 {
		t.Errorf("routes %v", got)
	}
	if got := Routes(self, peerNumber(77), relays, nil, 5); got != nil {
		t.Errorf("routes to somebody unknown: %v", got)
	}
}

// Whatever the mesh, a route begins near, goes from neighbour to neighbour, ends at the target's, and shares no relay with
// another one.
func TestRoutesHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.Map(rapid.IntRange(1, 12), peerNumber)
		link := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) RelayLink {
			return RelayLink{id.Draw(t, "relay"), time.Duration(rapid.IntRange(-1, 3).Draw(t, "rtt")) * 40 * time.Millisecond}
		}), 0, 3)
		relays := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) RelayInfo {
			return RelayInfo{
				ID: id.Draw(t, "id"), Near: rapid.Bool().Draw(t, "near"),
				RTT: time.Duration(rapid.IntRange(-1, 3).Draw(t, "rtt")) * 40 * time.Millisecond, Neighbours: rapid.SliceOfN(id, 0, 4).Draw(t, "neighbours"),
				Load: rapid.Float64().Draw(t, "load"), Loss: rapid.Float64().Draw(t, "loss"), Links: link.Draw(t, "links"),
			}
		}), 0, 12).Draw(t, "relays")
		reserved := link.Draw(t, "reserved")
		self, target := peerNumber(1), peerNumber(2)
		first := map[kcptransport.PeerID]RelayInfo{}
		for _, r := range relays {
			if _, ok := first[r.ID]; !ok {
				first[r.ID] = r
			}
		}
		seen := map[kcptransport.PeerID]bool{self: true, target: true}
		for _, route := range Routes(self, target, relays, reserved, 3) {
			if len(route) == 0 || len(route) > MaxHops || !first[route[0]].Near {
				t.Fatalf("route %v", route)
			}
			for i, r := range route {
				next := target
				if i+1 < len(route) {
					next = route[i+1]
				}
				named := next == target && slices.ContainsFunc(reserved, func(l RelayLink) bool { return l.Relay == r })
				if seen[r] || !named && !slices.Contains(first[r].Neighbours, next) {
					t.Fatalf("route %v at %v", route, r)
				}
				seen[r] = true
			}
		}
	})
}

// What the choice of a relay goes by.
func TestBetterRoutes(t *testing.T) {
	self, target := peerNumber(100), peerNumber(200)
	ms := time.Millisecond
	near := func(n int, change func(*RelayInfo)) RelayInfo {
		r := RelayInfo{ID: peerNumber(n), Near: true, RTT: 50 * ms, Neighbours: []kcptransport.PeerID{target}}
		if change != nil {
			change(&r)
		}
		return r
	}
	at := func(addr string) func(*RelayInfo) { return func(r *RelayInfo) { r.Addr = netip.MustParseAddr(addr) } }
	for name, c := range map[string]struct {
		relays   []RelayInfo // the second one is the better
		reserved []RelayLink
	}{
		"round trip to us": {relays: []RelayInfo{near(1, nil), near(2, func(r *RelayInfo) { r.RTT = 40 * ms })}},
		"round trip to the target": {
			relays:   []RelayInfo{near(1, nil), near(2, func(r *RelayInfo) { r.RTT = 80 * ms })},
			reserved: []RelayLink{{peerNumber(1), 90 * ms}, {peerNumber(2), 20 * ms}},
		},
		"load":                    {relays: []RelayInfo{near(1, func(r *RelayInfo) { r.Load = 0.9 }), near(2, func(r *RelayInfo) { r.RTT = 90 * ms })}},
		"loss":                    {relays: []RelayInfo{near(1, func(r *RelayInfo) { r.Loss = 0.1 }), near(2, func(r *RelayInfo) { r.RTT = 90 * ms })}},
		"the word of the target":  {relays: []RelayInfo{near(1, nil), near(2, func(r *RelayInfo) { r.RTT = 90 * ms })}, reserved: []RelayLink{{Relay: peerNumber(2)}}},
		"the word of nobody else": {relays: []RelayInfo{near(1, func(r *RelayInfo) { r.Neighbours = nil }), near(2, func(r *RelayInfo) { r.RTT = 90 * ms })}},
	} {
		routes := Routes(self, target, c.relays, c.reserved, 2)
		if len(routes) == 0 || !slices.Equal(routes[0], []kcptransport.PeerID{peerNumber(2)}) {
			t.Errorf("%s: routes %v", name, routes)
		}
	}
	routes := Routes(self, target, []RelayInfo{near(1, at("192.0.2.1")), near(2, at("192.0.2.2")), near(3, at("198.51.100.1"))}, nil, 3)
	want := [][]kcptransport.PeerID{{peerNumber(1)}, {peerNumber(3)}, {peerNumber(2)}}
	if !slices.EqualFunc(routes, want, slices.Equal) {
		t.Errorf("not in different networks: %v", routes)
	}
}
