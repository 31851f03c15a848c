package roam

import (
	"context"
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/internal/leaks"
)

var seeds = flag.Int("seeds", 3, "runs of each story")

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// A story is something that happens to the network of node 0, or of both, while messages flow.
type story struct {
	name   string
	nat    string // of node 1
	happen func(w *world, random *rand.Rand)
	bar    func(rtt time.Duration) time.Duration // the longest time without a message when nothing is lost; nil: none
}

func rebinding(rtt time.Duration) time.Duration { return 2*rtt + 100*time.Millisecond }
func roaming(rtt time.Duration) time.Duration   { return 3*rtt + 200*time.Millisecond }

// pause waits at random between a second and most.
func pause(random *rand.Rand, most time.Duration) {
	<-time.After(time.Second + time.Duration(random.Int64N(int64(most-time.Second))))
}

// Where node 1 lets in whoever comes from another address, the link finds the way by itself, and quickly: these have
// bars, for a path that loses nothing. Where it does not, or both have moved, the introducer has to help.
var stories = []story{
	{"a NAT forgets", "full-cone", func(w *world, _ *rand.Rand) { w.forget(w.nodes[0]) }, rebinding},
	{"one side moves", "full-cone", func(w *world, _ *rand.Rand) {
		w.move(w.nodes[0], w.rtt)
		w.nodes[0].ep.NetworkChanged()
	}, roaming},
	{"one side moves and is not told", "full-cone", func(w *world, _ *rand.Rand) { w.move(w.nodes[0], w.rtt) }, roaming},
	{"one side moves, the other filters", "port-restricted", func(w *world, _ *rand.Rand) { w.move(w.nodes[0], w.rtt) }, nil},
	{"one side moves and is told, the other filters", "port-restricted", func(w *world, _ *rand.Rand) {
		w.move(w.nodes[0], w.rtt)
		w.nodes[0].ep.NetworkChanged()
	}, nil},
	{"both NATs forget", "port-restricted", func(w *world, _ *rand.Rand) {
		w.forget(w.nodes[0])
		w.forget(w.nodes[1])
	}, nil},
	{"both move", "port-restricted", func(w *world, _ *rand.Rand) {
		for _, n := range w.nodes {
			w.move(n, w.rtt)
			n.ep.NetworkChanged()
		}
	}, nil},
	{"one side sleeps", "port-restricted", func(w *world, random *rand.Rand) {
		w.nodes[0].sleep()
		pause(random, 25*time.Second)
		w.nodes[0].wake()
	}, nil},
	{"the clock of one side jumps", "port-restricted", func(w *world, random *rand.Rand) {
		w.nodes[0].stallFor(time.Second + time.Duration(random.Int64N(int64(24*time.Second))))
	}, nil},
	{"one side sleeps and wakes elsewhere", "port-restricted", func(w *world, random *rand.Rand) {
		w.nodes[0].sleep()
		pause(random, 20*time.Second)
		w.move(w.nodes[0], w.rtt)
		w.nodes[0].wake()
		w.nodes[0].ep.NetworkChanged()
	}, nil},
}

func TestRoaming(t *testing.T) {
	for _, s := range stories {
		for _, lossy := range []bool{false, true} {
			name := s.name
			if lossy {
				name += ", with loss"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var gaps, over []float64
				for seed := range *seeds {
					rtt, gap := play(t, s, uint64(seed), lossy)
					gaps = append(gaps, float64(gap)/float64(time.Millisecond))
					if s.bar != nil {
						over = append(over, float64(gap)/float64(s.bar(rtt)))
					}
					if s.bar != nil && !lossy && gap > s.bar(rtt) {
						t.Errorf("seed %d: %v without a message at a round trip of %v, want at most %v", seed, gap, rtt, s.bar(rtt))
					}
				}
				t.Logf("%d runs: gap p50 %.0f ms, p95 %.0f ms, longest %.0f ms", len(gaps), quantile(gaps, 0.5), quantile(gaps, 0.95), quantile(gaps, 1))
				if s.bar != nil {
					t.Logf("of the bar: p50 %.2f, p95 %.2f, most %.2f", quantile(over, 0.5), quantile(over, 0.95), quantile(over, 1))
					if p := quantile(over, 0.95); len(over) >= 100 && p > 1 {
						t.Errorf("5 %% of the gaps are %.2f times the bar or more", p)
					}
				}
			})
		}
	}
}

// play plays a story and returns the round trip and the longest time without a message.
func play(t *testing.T, s story, seed uint64, lossy bool) (rtt, gap time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		w := newWorld(ctx, t, s, seed, lossy)
		defer w.close()
		random := rand.New(rand.NewPCG(seed, 1))
		stop := make(chan struct{})
		var flows []*flow
		for i, n := range w.nodes { // one way, the other way, or both
			if seed%3 == uint64(i) || seed%3 == 2 {
				flows = append(flows, n.start(stop))
			}
		}
		<-time.After(2*time.Second + time.Duration(random.Int64N(int64(200*time.Millisecond))))
		began := time.Now()
		s.happen(w, random)
		<-time.After(8 * time.Second)
		close(stop)
		for _, f := range flows {
			if err := <-f.done; err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
			gap = max(gap, f.gap(began))
		}
		rtt = w.rtt
	})
	return rtt, gap
}

func quantile(values []float64, q float64) float64 {
	slices.Sort(values)
	return values[min(int(q*float64(len(values))), len(values)-1)]
}
