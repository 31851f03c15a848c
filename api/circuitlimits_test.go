package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/relaymesh"
)

// count sends numbered messages from one node to another until the time is over, one after the other is acknowledged, and checks that
// each arrives once and in order. It returns the longest time between two arrivals.
func (w *world) count(a, b *node, lasts time.Duration) (gap time.Duration) {
	kind := fmt.Sprint("count", a.place)
	var mu sync.Mutex
	want, last := uint64(0), time.Now()
	b.On(kind, func(m *Message) {
		mu.Lock()
		defer mu.Unlock()
		var got uint64
		if err := m.Decode(&got); err != nil || got != want {
			w.t.Errorf("message %d came, want %d; %v", got, want, err)
		}
		want++
		gap, last = max(gap, time.Since(last)), time.Now()
	})
	n := uint64(0)
	for start := time.Now(); time.Since(start) < lasts; n++ {
		if err := a.Send(w.ctx(10*time.Second), kind, n, b.ID()); err != nil {
			w.t.Errorf("message %d after %v: %v", n, time.Since(start), err)
			break
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if want != n {
		w.t.Errorf("%d messages were sent, %d came", n, want)
	}
	return gap
}

// countBoth counts in both directions at once.
func (w *world) countBoth(a, b *node, lasts time.Duration) time.Duration {
	back := make(chan time.Duration)
	go func() { back <- w.count(b, a, lasts) }()
	gap := w.count(a, b, lasts)
	return max(gap, <-back)
}

// Relays that let a circuit last or carry so much cost peers that have no other path nothing: they tell it beforehand, and the next
// circuit is there before one ends, by the same relay where there is no other.
func TestCircuitsAreReplacedBeforeTheyReachALimit(t *testing.T) {
	for name, c := range map[string]struct {
		relays int
		lasts  time.Duration
		rules  RelayRules
		want   relaymesh.Limits
	}{
		"time":             {1, 10 * time.Minute, RelayRules{TimePerCircuit: 2 * time.Minute}, relaymesh.Limits{Duration: 2 * time.Minute}},
		"time, two relays": {2, 5 * time.Minute, RelayRules{TimePerCircuit: 2 * time.Minute}, relaymesh.Limits{Duration: 2 * time.Minute}},
		"shortest time":    {1, 2 * time.Minute, RelayRules{TimePerCircuit: time.Second}, relaymesh.Limits{Duration: 10 * time.Second}},
		"fewest bytes":     {1, 2 * time.Minute, RelayRules{BytesPerCircuit: 1}, relaymesh.Limits{Bytes: 64 << 10}},
		"bytes": {1, 4 * time.Minute, RelayRules{BytesPerCircuit: 256 << 10, BytesPerSecondPerCircuit: 100_000},
			relaymesh.Limits{Bytes: 256 << 10, BytesPerSecond: 100_000}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				limit := func(r *node) { r.SetRelayRules(c.rules) }
				a, b, rs := w.relayed("symmetric", "symmetric", c.relays, limit)
				for _, r := range a.Reservations() {
					if r.Limits.Circuits = 0; r.Limits != c.want {
						t.Errorf("told %+v, want %+v", r.Limits, c.want)
					}
				}
				a.join(b.ID().String())
				time.Sleep(3 * time.Second)
				info, _ := a.PathTo(b.ID())
				gap := w.countBoth(a, b, c.lasts)
				granted := uint64(0)
				for _, r := range rs {
					s := r.RelayStats().Relay
					granted += s.Granted
					if n := s.Refused[relaymesh.RefusedLimit]; n > 0 {
						t.Errorf("%d circuits were ended by the limit", n)
					}
				}
				t.Logf("%d circuits; the longest gap was %v, a round trip %v", granted, gap, info.RTT)
				if gap > info.RTT+5*time.Millisecond { // each message is sent when the one before it is acknowledged
					t.Errorf("the longest gap was %v: a circuit was closed while something was on its way", gap)
				}
				if granted < 5 {
					t.Errorf("%d circuits in %v: the limit does not bite", granted, c.lasts)
				}
			})
		})
	}
}

// Who sends as fast as it goes does not use a circuit up before the next one is there.
func TestFastSendersDoNotRunOutOfCircuits(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b, rs := w.relayed("symmetric", "symmetric", 1, func(r *node) { r.SetRelayRules(RelayRules{BytesPerCircuit: 1 << 20}) })
		b.cfg.AllowBench = true
		a.join(b.ID().String())
		start := time.Now()
		if _, err := a.Bench(w.ctx(time.Minute), b.ID(), 8<<20, 1, false); err != nil {
			t.Fatal(err)
		}
		s := rs[0].RelayStats().Relay
		t.Logf("8 MiB took %v and %d circuits", time.Since(start), s.Granted)
		if s.Refused[relaymesh.RefusedLimit] > 0 || s.Granted < 8 {
			t.Errorf("%+v", s)
		}
	})
}

// Limits that change are told when a reservation is renewed.
func TestReservationsShowLimitsThatChange(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, _, rs := w.relayed("symmetric", "symmetric", 1)
		want := relaymesh.Limits{BytesPerSecond: 1e5, Bytes: 1e9, Circuits: a.Reservations()[0].Limits.Circuits, Duration: time.Hour}
		rs[0].SetRelayRules(RelayRules{BytesPerSecondPerCircuit: want.BytesPerSecond, BytesPerCircuit: want.Bytes, TimePerCircuit: want.Duration})
		time.Sleep(20 * time.Minute)
		if r := a.Reservations(); len(r) != 1 || r[0].Limits != want {
			t.Errorf("reservations %+v, want %+v", r, want)
		}
	})
}

// heldBy returns a circuit that a relay has set up, and perhaps has asked to be left.
func heldBy(t *testing.T, relay, target kcptransport.PeerID, moving bool) heldCircuit {
	t.Helper()
	s := &saidStream{}
	s.said.Write([]byte{0, 1 + 4 + 24 + 1 + 32, 0x12, 0, 0, 0, 7}) // granted, label 7, no limits, by way of the relay
	s.said.Write(append(append(make([]byte, 24), 1), relay[:]...))
	if moving {
		s.said.Write([]byte{0, 1, 0x13})
	}
	wire, err := relaymesh.OpenCircuit(t.Context(), relaymesh.OpenerFunc(func(context.Context, string) (relaymesh.Stream, error) { return s, nil }), target, 5)
	if err != nil {
		t.Fatal(err)
	}
	_ = wire.Wait() // reads all that was said
	return heldCircuit{wire: wire}
}

// saidStream is a stream on which the other side has said all it will.
type saidStream struct {
	relaymesh.Stream
	said bytes.Buffer
}

func (s *saidStream) Read(b []byte) (int, error)  { return s.said.Read(b) }
func (s *saidStream) Write(b []byte) (int, error) { return len(b), nil }
func (s *saidStream) SetDeadline(time.Time) error { return nil }
func (s *saidStream) Close() error                { return nil }

// A circuit that is to be left may have a successor by the same relay; a relay that has each of them left at once does not get more.
func TestCircuitsOfARelayThatHasThemLeft(t *testing.T) {
	relay, other, target := testIdentity(1).ID(), testIdentity(2).ID(), testIdentity(3).ID()
	stays, moves, elsewhere := heldBy(t, relay, target, false), heldBy(t, relay, target, true), heldBy(t, other, target, false)
	for name, c := range map[string]struct {
		held []heldCircuit
		want error
	}{
		"none":                     {nil, nil},
		"one that stays":           {[]heldCircuit{stays}, errSameRelay},
		"one elsewhere":            {[]heldCircuit{elsewhere}, nil},
		"one that is to be left":   {[]heldCircuit{moves, elsewhere}, nil},
		"that and its successor":   {[]heldCircuit{moves, stays}, errSameRelay},
		"both of them are to be":   {[]heldCircuit{moves, moves}, errSameRelay},
		"several are to be, later": {[]heldCircuit{moves, moves, elsewhere, moves}, errSameRelay},
	} {
		pg := &Playground{
			circuits: map[kcptransport.PeerID][]heldCircuit{target: c.held}, relaying: map[[2]kcptransport.PeerID]bool{},
			barren: map[[2]kcptransport.PeerID]time.Time{},
		}
		if err := pg.claimRelay(target, relay); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// A relay that has us leave circuits which have no limit is not asked for another one to that peer for a while. They stay for a moment after
// it asked for the last of them.
func TestRelayThatHasUsLeaveIsNotAskedForAWhile(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b, rs := w.relayed("port-restricted", "port-restricted", 1)
		a.join(b.ID().String())
		w.direct(a, b)
		if a.ID().Compare(b.ID()) > 0 { // the other one looks after the circuits
			a, b = b, a
		}
		var left []heldCircuit
		for range 2 {
			c := heldBy(t, rs[0].ID(), b.ID(), true)
			var err error
			if c.path, err = a.ep.NewCircuit(b.ID(), a.ep.Link(rs[0].ID())); err != nil {
				t.Fatal(err)
			}
			left = append(left, c)
			a.mu.Lock()
			a.keep(c)
			a.mu.Unlock()
			a.wakePaths(b.ID())
			time.Sleep(moveGrace - 100*time.Millisecond)
			if a.barrenTo(b.ID(), rs[0].ID()) {
				t.Error("a circuit is left too early")
			}
		}
		time.Sleep(200 * time.Millisecond)
		if !a.barrenTo(b.ID(), rs[0].ID()) {
			t.Error("the relay may be asked at once")
		}
		a.mu.Lock()
		a.circuits[b.ID()] = slices.DeleteFunc(slices.Clone(a.circuits[b.ID()]), func(c heldCircuit) bool { return slices.Contains(left, c) })
		a.mu.Unlock()
		time.Sleep(moveRefrain)
		if a.barrenTo(b.ID(), rs[0].ID()) {
			t.Error("the relay is never asked again")
		}
	})
}
