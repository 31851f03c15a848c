package api

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/netsim"
	"github.com/2xppg/xppg/relaymesh"
)

func (n *node) reservedAt(r *node) bool {
	return slices.ContainsFunc(n.Reservations(), func(h Reservation) bool { return h.Relay == r.ID() })
}

// A node behind a NAT holds reservations with a few relays and names them in its record. When one of them ends, another takes its
// place.
func TestReservations(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b, rs := w.relayed("symmetric", "symmetric", maxReservations+1)
		if n := len(a.Reservations()); n != maxReservations {
			t.Fatalf("%d reservations", n)
		}
		left := slices.DeleteFunc(slices.Clone(rs), a.reservedAt)[0]
		if l := a.Reservations()[0].Limits; l.Circuits == 0 {
			t.Errorf("limits %+v", l)
		}
		time.Sleep(5 * time.Second)
		b.mu.Lock()
		named := b.book.infos[a.ID()].relays
		b.mu.Unlock()
		if len(named) != maxReservations {
			t.Fatalf("the record names %v", named)
		}
		for _, l := range named {
			if !slices.ContainsFunc(rs, func(r *node) bool { return r.ID() == l.Relay && a.reservedAt(r) }) || l.RTT != 40*time.Millisecond {
				t.Errorf("the record names %v", l)
			}
		}
		ending := rs[0]
		if ending == left {
			ending = rs[1]
		}
		go ending.DrainRelay(w.ctx(5 * time.Second))
		w.eventually("another relay takes its place", 2*time.Second, func() bool { return a.reservedAt(left) && !a.reservedAt(ending) })
		if n := len(a.Reservations()); n != maxReservations {
			t.Errorf("%d reservations", n)
		}
		if n := rs[len(rs)-1].RelayStats().Relay.Reservations; n < 1 || n > 2 {
			t.Errorf("the relay counts %d", n)
		}
	})
}

// Who knows a peer's record finds it by its ID by way of a relay to which it has no link yet.
func TestJoinByTheRelaysOfAPeer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.public(relays)
		other := w.public(noMesh)
		b := w.behind(netsim.Presets["symmetric"], noMesh)
		b.meet(r)
		time.Sleep(3 * time.Second)
		r.meet(other)
		time.Sleep(3 * time.Second) // other has b's record from r
		if p, err := other.peer(r.ID()); err == nil {
			p.link.Close()
		}
		a := w.behind(netsim.Presets["symmetric"], noMesh)
		a.meet(other)
		time.Sleep(3 * time.Second)
		if _, err := a.peer(r.ID()); err == nil {
			t.Fatal("there is a link to the relay already")
		}
		a.join(b.ID().String())
		if info, _ := a.PathTo(b.ID()); len(info.Via) != 1 || info.Via[0] != r.ID() {
			t.Errorf("path %+v", info)
		}
	})
}

func TestReservationPlans(t *testing.T) {
	now := time.Unix(1e9, 0)
	id := func(n int) kcptransport.PeerID { return testIdentity(byte(n)).ID() }
	near := func(rtts ...int) (out []relaymesh.RelayInfo) {
		for i, ms := range rtts {
			out = append(out, relaymesh.RelayInfo{
				ID: id(i), Near: true, RTT: time.Duration(ms) * time.Millisecond, Addr: netip.MustParseAddr(fmt.Sprintf("192.0.%d.1", i)),
			})
		}
		return out
	}
	held := func(age time.Duration, rotate time.Duration, ids ...int) map[kcptransport.PeerID]heldReservation {
		out := map[kcptransport.PeerID]heldReservation{}
		for _, n := range ids {
			_, end := context.WithCancel(t.Context())
			t.Cleanup(end)
			out[id(n)] = heldReservation{Reservation: Reservation{Relay: id(n), Since: now.Add(-age)}, rotate: now.Add(rotate), end: end}
		}
		return out
	}
	any := func(kcptransport.PeerID) bool { return true }
	sameNet := near(10, 11, 50)
	sameNet[1].Addr = netip.MustParseAddr("192.0.0.2")
	for name, c := range map[string]struct {
		near  []relaymesh.RelayInfo
		held  map[kcptransport.PeerID]heldReservation
		may   func(kcptransport.PeerID) bool
		ask   []int
		leave int // -1: none
	}{
		"the nearest ones":           {near(90, 20, 30, 40), nil, any, []int{1, 2, 3}, -1},
		"what is missing":            {near(90, 20, 30, 40), held(0, time.Hour, 0, 1), any, []int{2}, -1},
		"not who refused":            {near(90, 20, 30, 40), held(0, time.Hour, 0, 1), func(p kcptransport.PeerID) bool { return p != id(2) }, []int{3}, -1},
		"another network":            {append(sameNet, near(0, 0, 0, 60)[3]), nil, any, []int{0, 2, 3}, -1},
		"a much better one":          {near(90, 20, 30, 40), held(time.Hour, time.Hour, 0, 1, 2), any, []int{3}, 0},
		"not before it has settled":  {near(90, 20, 30, 40), held(time.Minute, time.Hour, 0, 1, 2), any, nil, -1},
		"not a little better one":    {near(50, 20, 30, 40), held(time.Hour, time.Hour, 0, 1, 2), any, nil, -1},
		"whose time has come":        {near(50, 20, 30, 60), held(time.Hour, 0, 1), any, []int{2, 0}, -1},
		"rotation":                   {near(20, 20, 30, 60), held(time.Hour, 0, 0, 1, 2), any, []int{3}, 0},
		"no rotation without choice": {near(20, 20, 30), held(time.Hour, 0, 0, 1, 2), any, nil, -1},
	} {
		plan := planReservations(now, c.near, c.held, c.may)
		var want reservePlan
		for _, n := range c.ask {
			want.ask = append(want.ask, id(n))
		}
		if c.leave >= 0 {
			want.leave = id(c.leave)
		}
		if !slices.Equal(plan.ask, want.ask) || plan.leave != want.leave {
			t.Errorf("%s: asks %v and leaves %v, want %v", name, plan.ask, plan.leave, want)
		}
	}
}

// A round trip that hardly changes is told as before.
func TestToldRoundTrips(t *testing.T) {
	ms := time.Millisecond
	for _, c := range [][3]time.Duration{{0, 20*ms + 1, 20 * ms}, {20 * ms, 28 * ms, 20 * ms}, {20 * ms, 31 * ms, 31 * ms}, {100 * ms, 60 * ms, 60 * ms}, {100 * ms, 75 * ms, 100 * ms}} {
		if got := tellRTT(c[0], c[1]); got != c[2] {
			t.Errorf("told %v, now %v: %v, want %v", c[0], c[1], got, c[2])
		}
	}
}

// A relay that is asked tells its load and limits in steps of 5 %; a node that does not relay has none.
func TestAskRelayLoad(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		relay := w.public(noMesh, func(c *Config) { c.Relay = RelayOn })
		relay.SetRelayRules(RelayRules{BytesPerSecond: 1000, Circuits: 50})
		other := w.public(noMesh)
		other.meet(relay)
		time.Sleep(2 * loadEvery)
		relay.workNow.Store(&relayWork{bytesPerSecond: 370, circuits: 1})
		got, err := other.RelayLoad(w.ctx(time.Second), relay.ID())
		if want := (RelayLoad{Bandwidth: 0.35, BytesPerSecond: 1000, MaxCircuits: 50}); err != nil || got != want || got.Load() != 0.35 {
			t.Errorf("told %+v, %v; want %+v", got, err, want)
		}
		if _, err := relay.RelayLoad(w.ctx(time.Second), other.ID()); err == nil {
			t.Error("a node that does not relay tells a load")
		}
	})
}

func TestRelayLoad(t *testing.T) {
	var l relayLoad
	now := time.Unix(1e9, 0)
	rules := &RelayRules{BytesPerSecond: 1000}
	look := func(want int, s relaymesh.SwitchStats) {
		t.Helper()
		now = now.Add(loadEvery)
		s.MaxCircuits = 100
		if got := l.look(now, s, rules); got != want {
			t.Errorf("load %d quarters of %+v, want %d", got, s, want)
		}
	}
	look(0, relaymesh.SwitchStats{})
	look(2, relaymesh.SwitchStats{Circuits: 50})
	look(2, relaymesh.SwitchStats{Circuits: 60})
	look(1, relaymesh.SwitchStats{Circuits: 25})
	look(3, relaymesh.SwitchStats{Circuits: 25, Bytes: 22500})
	look(0, relaymesh.SwitchStats{Bytes: 22500})
	look(4, relaymesh.SwitchStats{Bytes: 22500, Packets: 1000, Overflow: 10, Late: 20})
	look(0, relaymesh.SwitchStats{Bytes: 22500, Packets: 2000, Overflow: 10, Late: 20})
	if got := l.look(now.Add(time.Second), relaymesh.SwitchStats{Circuits: 100, MaxCircuits: 100}, nil); got != 0 {
		t.Errorf("looked again at once: %d", got)
	}
}
