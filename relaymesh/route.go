package relaymesh

import (
	"cmp"
	"slices"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// RelayInfo is what is known of a relay.
type RelayInfo struct {
	ID         kcptransport.PeerID
	Near       bool                  // we have a link to it, so that a circuit can begin there
	RTT        time.Duration         // of that link, 0 when it is not known
	Neighbours []kcptransport.PeerID // peers that it has links to, as it says
}

// Routes returns up to most ways to a target through relays: each is a list of 1 to [MaxHops] relays, the first of which is
// near. Those with few hops come first, then those whose first relay is near in time. As far as there are enough relays, no
// relay is on two of them, and so the first two fail independently. It looks at nothing but its arguments.
func Routes(self, target kcptransport.PeerID, relays []RelayInfo, most int) [][]kcptransport.PeerID {
	byID := make(map[kcptransport.PeerID]*RelayInfo, len(relays))
	order := make([]*RelayInfo, 0, len(relays))
	for i := range relays {
		if r := &relays[i]; r.ID != self && r.ID != target && byID[r.ID] == nil {
			byID[r.ID] = r
			order = append(order, r)
		}
	}
	slices.SortFunc(order, func(a, b *RelayInfo) int {
		return cmp.Or(cmp.Compare(rttOr(a.RTT), rttOr(b.RTT)), a.ID.Compare(b.ID))
	})
	var routes [][]kcptransport.PeerID
	used := map[kcptransport.PeerID]bool{}
	for len(routes) < most {
		route := shortest(target, order, byID, used)
		if route == nil {
			break
		}
		routes = append(routes, route)
		for _, id := range route {
			used[id] = true
		}
	}
	return routes
}

func rttOr(rtt time.Duration) time.Duration {
	if rtt == 0 {
		return time.Hour
	}
	return rtt
}

// shortest searches breadth first for a way that uses none of the relays that are used.
func shortest(target kcptransport.PeerID, order []*RelayInfo, byID map[kcptransport.PeerID]*RelayInfo,
	used map[kcptransport.PeerID]bool) []kcptransport.PeerID {
	before := map[kcptransport.PeerID]kcptransport.PeerID{}
	var level []*RelayInfo
	for _, r := range order {
		if r.Near && !used[r.ID] {
			before[r.ID] = kcptransport.PeerID{}
			level = append(level, r)
		}
	}
	for hops := 1; hops <= MaxHops && len(level) > 0; hops++ {
		for _, r := range level {
			if slices.Contains(r.Neighbours, target) {
				return trace(r.ID, before)
			}
		}
		var next []*RelayInfo
		for _, r := range level {
			for _, n := range r.Neighbours {
				if _, seen := before[n]; !seen && byID[n] != nil && !used[n] {
					before[n] = r.ID
					next = append(next, byID[n])
				}
			}
		}
		level = next
	}
	return nil
}

// trace returns the way that was found to a relay.
func trace(id kcptransport.PeerID, before map[kcptransport.PeerID]kcptransport.PeerID) (route []kcptransport.PeerID) {
	for ; !id.IsZero(); id = before[id] {
		route = append(route, id)
	}
	slices.Reverse(route)
	return route
}
