package api

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/netsim"
	"github.com/2xppg/xppg/relaymesh/carrier"
)

// drain drains the relay in use between two nodes and returns the longest time that a message took meanwhile.
func (w *world) drain(a, b *node, rs []*node, limit time.Duration) (longest, took time.Duration) {
	w.t.Helper()
	info, _ := a.PathTo(b.ID())
	if len(info.Via) == 0 {
		w.t.Fatalf("path is %+v", info)
	}
	done := make(chan time.Duration, 1)
	for _, r := range rs {
		if r.ID() == info.Via[0] {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), limit)
				defer cancel()
				start := time.Now()
				r.DrainRelay(ctx)
				done <- time.Since(start)
			}()
		}
	}
	for i := 0; took == 0; i++ {
		start := time.Now()
		if err := a.SendText(w.ctx(10*time.Second), fmt.Sprint("message ", i), b.ID()); err != nil {
			w.t.Fatal(err)
		}
		longest = max(longest, time.Since(start))
		time.Sleep(5 * time.Millisecond)
		select {
		case took = <-done:
		default:
		}
	}
	return longest, took
}

// The relay in use drains while messages go: they go on by way of another one, none of them waits, and the relay is done in
// a moment.
func TestDrainMovesPeersToOtherRelays(t *testing.T) {
	for n := 2; n <= 3; n++ { // with and without one that is not in use yet
		inWorld(t, func(t *testing.T, w *world) {
			a, b, rs := w.relayed("symmetric", "symmetric", n)
			a.join(b.ID().String())
			time.Sleep(3 * time.Second)
			before, _ := a.PathTo(b.ID())
			longest, took := w.drain(a, b, rs, 10*time.Second)
			t.Logf("%d relays: drained in %v; the longest message took %v, a round trip %v", n, took, longest, before.RTT)
			if took > 3*time.Second || longest > 2*before.RTT {
				t.Errorf("drained in %v; the longest message took %v, a round trip %v", took, longest, before.RTT)
			}
			after, _ := a.PathTo(b.ID())
			if len(after.Via) != 1 || after.Via[0] == before.Via[0] {
				t.Errorf("path is %+v", after)
			}
			for _, r := range rs {
				if drained := r.ID() == before.Via[0]; r.Relaying() == drained || drained && r.RelayStats().Relay.Circuits != 0 {
					t.Errorf("relaying: %v, drained: %v, %+v", r.Relaying(), drained, r.RelayStats())
				}
			}
			w.eventually("nobody takes it for a relay", 5*time.Second, func() bool { return len(a.Relays()) == n-1 && len(b.Relays()) == n-1 })
		})
	}
}

// However long peers looked for a second relay in vain before there was one, they take it as soon as the first one drains.
func TestDrainSoonAfterTheSecondRelayCame(t *testing.T) {
	for _, before := range []time.Duration{0, 5 * time.Second, 20 * time.Second} {
		inWorld(t, func(t *testing.T, w *world) {
			a, b, rs := w.relayed("symmetric", "symmetric", 1)
			a.join(b.ID().String())
			time.Sleep(20 * time.Second)
			second := w.public(relays)
			a.meet(second)
			b.meet(second)
			time.Sleep(before)
			info, _ := a.PathTo(b.ID())
			longest, took := w.drain(a, b, rs, 10*time.Second)
			t.Logf("%v after the second relay came: drained in %v; the longest message took %v", before, took, longest)
			if took > 3*time.Second || longest > 2*info.RTT {
				t.Errorf("drained in %v; the longest message took %v, a round trip %v", took, longest, info.RTT)
			}
		})
	}
}

// The circuits that are kept beside a direct path are replaced before they end: there is always one.
func TestDrainOfAllSpareCircuits(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b, rs := w.relayed("port-restricted", "port-restricted", 6)
		a.join(b.ID().String())
		w.direct(a, b)
		time.Sleep(3 * time.Second)
		used := map[kcptransport.PeerID]bool{}
		for _, c := range a.circuitsTo(b.ID()) {
			used[c.wire.Via[0]] = true
		}
		if len(used) == 0 || len(used) == len(rs) {
			t.Fatalf("%d relays are used", len(used))
		}
		for _, r := range rs {
			if used[r.ID()] {
				go r.DrainRelay(context.Background())
			}
		}
		for range 300 {
			time.Sleep(10 * time.Millisecond)
			if len(a.circuitsTo(b.ID())) == 0 {
				t.Fatal("there is no circuit for a while")
			}
		}
		for _, c := range a.circuitsTo(b.ID()) {
			if used[c.wire.Via[0]] {
				t.Error("a circuit of a relay that drains is kept")
			}
		}
	})
}

// Without another relay the circuit stays as long as it may.
func TestDrainOfTheOnlyRelay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b, rs := w.relayed("symmetric", "symmetric", 1)
		a.join(b.ID().String())
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		go rs[0].DrainRelay(ctx)
		for time.Since(start) < 9*time.Second {
			if err := a.SendText(w.ctx(time.Second), "still here", b.ID()); err != nil {
				t.Fatalf("after %v: %v", time.Since(start), err)
			}
			time.Sleep(time.Second)
		}
		w.eventually("the circuit is ended", 2*time.Second, func() bool { return rs[0].RelayStats().Relay.Circuits == 0 })
	})
}

// A relay that is limited while it carries something carries no more than that, and tells it to who comes then.
func TestRelayLimits(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r, bench := w.public(relays), func(c *Config) { c.AllowBench, c.MaxPeers = true, -1 }
		a, b := w.behind(netsim.Presets["symmetric"], noMesh), w.behind(netsim.Presets["symmetric"], bench)
		a.meet(r)
		b.meet(r)
		time.Sleep(3 * time.Second)
		a.join(b.ID().String())
		const rate = 250_000
		r.SetRelayRules(RelayRules{BytesPerSecond: 4 * rate, BytesPerSecondPerPeer: rate})
		before := r.RelayStats().Switch.Bytes
		start := time.Now()
		result, err := a.Bench(w.ctx(time.Minute), b.ID(), 2<<20, 1, false)
		if err != nil {
			t.Fatal(err)
		}
		carried := float64(r.RelayStats().Switch.Bytes-before) / time.Since(start).Seconds()
		t.Logf("%+v; the relay carried %.0f bytes a second of %d", result, carried, rate)
		if carried > 1.1*rate || carried < 0.6*rate {
			t.Errorf("the relay carried %.0f bytes a second of %d", carried, rate)
		}
		for _, c := range a.circuitsTo(b.ID()) {
			c.wire.Close()
		}
		time.Sleep(5 * time.Second)
		for _, c := range a.circuitsTo(b.ID()) {
			if c.wire.Limits.BytesPerSecond != rate {
				t.Errorf("told: %+v", c.wire.Limits)
			}
		}
	})
}

// Circuits of a peer that is denied end, and it gets no others.
func TestRelayRules(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b, rs := w.relayed("symmetric", "symmetric", 1)
		a.join(b.ID().String())
		deny := func(id kcptransport.PeerID) {
			rs[0].SetRelayRules(RelayRules{Admit: func(peer kcptransport.PeerID, addr netip.Addr) bool {
				return peer != id && addr.IsValid()
			}})
		}
		deny(rs[0].ID())
		time.Sleep(time.Second)
		if rs[0].RelayStats().Relay.Circuits == 0 {
			t.Error("nobody is denied, and yet there is no circuit")
		}
		deny(b.ID())
		time.Sleep(20 * time.Second)
		s := rs[0].RelayStats()
		if s.Relay.Circuits != 0 || s.Switch.Circuits != 0 || s.Switch.Packets == 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Who comes by TCP is admitted, and counted, by where it is, not by the address that stands for its connection.
func TestRelayRulesByTCP(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		relay := w.public(relays, listens)
		a, b := w.blocked("udp-blocked"), w.behind(netsim.Presets["symmetric"], noMesh)
		asked := make(chan netip.Addr, 1024)
		rules := func(denied netip.Prefix) {
			relay.SetRelayRules(RelayRules{Admit: func(peer kcptransport.PeerID, addr netip.Addr) bool {
				if peer == a.ID() {
					select {
					case asked <- addr:
					default:
					}
				}
				return !denied.Contains(addr)
			}})
		}
		rules(netip.Prefix{})
		a.join("tcp://" + netip.MustParseAddrPort(relay.addr).Addr().String() + ":7337")
		b.meet(relay)
		a.join(b.ID().String())
		at := <-asked
		if carrier.Is(netip.AddrPortFrom(at, 1)) || !at.Is4() {
			t.Fatalf("asked about %v", at)
		}
		if relay.RelayStats().Relay.Circuits == 0 {
			t.Fatal("no circuit")
		}
		rules(netip.PrefixFrom(at, 24).Masked())
		time.Sleep(20 * time.Second)
		if s := relay.RelayStats().Relay; s.Circuits != 0 {
			t.Errorf("%v is denied: %+v", at, s)
		}
	})
}
