package relaymesh

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// What makes one way better than another, in round trips that it is worth.
const (
	costHop     = 10 * time.Millisecond  // each relay takes some time and can fail
	costUnknown = 60 * time.Millisecond  // a link whose round trip nobody told
	costClaim   = 100 * time.Millisecond // only the relay says that it has a link to the target
	costFull    = 100 * time.Millisecond // a relay with as much to do as it can; with half of that, a quarter
	costSameNet = 100 * time.Millisecond // a relay in the network of one that is used: they may fail together
	lossFactor  = 20                     // 5 % loss on a link is as bad as twice its round trip
)

// RelayInfo is what is known of a relay.
type RelayInfo struct {
	ID         kcptransport.PeerID
	Near       bool                  // we have a link to it, so that a circuit can begin there
	RTT        time.Duration         // of that link, 0 when it is not known
	Loss       float64               // share of what goes through it that is lost, as we measured, 0 to 1
	Load       float64               // how much of what it can do it does, as it says, 0 to 1
	Addr       netip.Addr            // where it is, invalid when that is not known
	Neighbours []kcptransport.PeerID // peers that it has links to, as it says
	Links      []RelayLink           // round trips of such links, as it says
}

// RelayLink is a link of somebody to a relay.
type RelayLink struct {
	Relay kcptransport.PeerID
	RTT   time.Duration // 0 when it is not known
}

// Cost returns what a circuit that begins at the relay costs, in round trips that it is worth: less is better. A relay in the network
// of one of others, or one of them, costs more.
func (r RelayInfo) Cost(others []RelayInfo) time.Duration {
	return r.begin(networksOf(others))
}

// Cheapest returns the index of the relay that costs least beside others. There is at least one.
func Cheapest(relays, others []RelayInfo) int {
	used, best := networksOf(others), 0
	for i, r := range relays {
		if cmp.Or(cmp.Compare(r.begin(used), relays[best].begin(used)), r.ID.Compare(relays[best].ID)) < 0 {
			best = i
		}
	}
	return best
}

// begin returns what it costs to reach the relay and go by it, beside relays in some networks.
func (r RelayInfo) begin(used map[netip.Prefix]bool) time.Duration {
	return lossy(rttOr(r.RTT), r.Loss) + r.through(used)
}

// through returns what it costs to go by the relay, whoever comes before and after it, beside relays in some networks.
func (r RelayInfo) through(used map[netip.Prefix]bool) time.Duration {
	load := min(max(r.Load, 0), 1)
	cost := costHop + time.Duration(load*load*float64(costFull))
	if r.Addr.IsValid() && used[network(r.Addr)] {
		cost += costSameNet
	}
	return cost
}

func networksOf(relays []RelayInfo) map[netip.Prefix]bool {
	nets := map[netip.Prefix]bool{}
	for _, r := range relays {
		if r.Addr.IsValid() {
			nets[network(r.Addr)] = true
		}
	}
	return nets
}

// Routes returns up to most ways to a target through relays, the best first: each is a list of 1 to [MaxHops] relays, the first of
// which is near. reserved are the relays by which the target says that it can be reached. What counts is the round trip, as far as it is
// known, how many relays there are on the way, their load and loss, and whose word it is that the last one has a link to the target. No
// relay is on two of the ways, and as far as there is a choice no network, so that they fail independently. It looks at nothing but
// its arguments.
func Routes(self, target kcptransport.PeerID, relays []RelayInfo, reserved []RelayLink, most int) [][]kcptransport.PeerID {
	g := newRouteGraph(self, target, relays, reserved)
	var routes [][]kcptransport.PeerID
	for len(routes) < most {
		route := g.best()
		if route == nil {
			break
		}
		ids := make([]kcptransport.PeerID, len(route))
		for i, r := range route {
			ids[i] = r.ID
			g.use(r)
		}
		routes = append(routes, ids)
	}
	return routes
}

// routeGraph has the relays, and what the last link to the target costs from each.
type routeGraph struct {
	relays []*routeRelay // in the order of their IDs
	used   map[netip.Prefix]bool
}

type routeRelay struct {
	RelayInfo
	next []routeEdge
	last time.Duration // 0: it has no link to the target
	used bool

	cost   [MaxHops]time.Duration // of the cheapest way here over so many other relays, 0 when there is none that is worth it
	before [MaxHops]*routeRelay
}

type routeEdge struct {
	to  *routeRelay
	rtt time.Duration
}

func newRouteGraph(self, target kcptransport.PeerID, relays []RelayInfo, reserved []RelayLink) *routeGraph {
	g := &routeGraph{used: map[netip.Prefix]bool{}}
	byID := make(map[kcptransport.PeerID]*routeRelay, len(relays))
	for _, r := range relays {
		if r.ID != self && r.ID != target && byID[r.ID] == nil {
			n := &routeRelay{RelayInfo: r}
			byID[r.ID], g.relays = n, append(g.relays, n)
		}
	}
	slices.SortFunc(g.relays, func(a, b *routeRelay) int { return a.ID.Compare(b.ID) })
	for _, r := range g.relays {
		known := make(map[kcptransport.PeerID]time.Duration, len(r.Links))
		for _, l := range r.Links {
			known[l.Relay] = max(l.RTT, 0)
		}
		for _, id := range r.Neighbours {
			if to := byID[id]; to != nil && to != r {
				r.next = append(r.next, routeEdge{to, rttOr(known[id])})
			}
			if id == target {
				r.last = costUnknown + costClaim
			}
		}
	}
	for _, l := range reserved {
		if r := byID[l.Relay]; r != nil {
			r.last = rttOr(l.RTT)
		}
	}
	return g
}

func rttOr(rtt time.Duration) time.Duration {
	if rtt <= 0 {
		return costUnknown
	}
	return min(rtt, time.Minute)
}

// use takes a relay out, and makes others of its network dear.
func (g *routeGraph) use(r *routeRelay) {
	r.used = true
	if r.Addr.IsValid() {
		g.used[network(r.Addr)] = true
	}
}

func lossy(rtt time.Duration, loss float64) time.Duration {
	return time.Duration(float64(rtt) * (1 + lossFactor*min(max(loss, 0), 1)))
}

// best returns the cheapest way, nil when there is none. A relay is entered with one more hop only when that is cheaper than with
// fewer, so no way has a loop.
func (g *routeGraph) best() (route []*routeRelay) {
	for _, r := range g.relays {
		r.cost, r.before = [MaxHops]time.Duration{}, [MaxHops]*routeRelay{}
		if r.Near && !r.used {
			r.cost[0] = r.begin(g.used)
		}
	}
	var end *routeRelay
	hops, least := 0, time.Duration(0)
	for h := range MaxHops {
		for _, r := range g.relays {
			if r.cost[h] == 0 {
				continue
			}
			if total := r.cost[h] + r.last; r.last > 0 && (end == nil || total < least) {
				end, hops, least = r, h, total
			}
			if h+1 < MaxHops {
				g.extend(r, h)
			}
		}
	}
	for ; end != nil; end, hops = end.before[hops], hops-1 {
		route = append(route, end)
	}
	slices.Reverse(route)
	return route
}

// extend goes on from a relay that was reached over h others.
func (g *routeGraph) extend(r *routeRelay, h int) {
	for _, e := range r.next {
		if e.to.used {
			continue
		}
		cost := r.cost[h] + lossy(e.rtt, e.to.Loss) + e.to.through(g.used)
		if e.to.cheaper(cost, h+1) {
			e.to.cost[h+1], e.to.before[h+1] = cost, r
		}
	}
}

// cheaper reports whether a cost is lower than that of every way here over up to h others.
func (r *routeRelay) cheaper(cost time.Duration, h int) bool {
	for _, c := range r.cost[:h+1] {
		if c != 0 && c <= cost {
			return false
		}
	}
	return true
}
