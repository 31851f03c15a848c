package matrix

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/2xppg/xppg/internal/scenario"
)

var seeds = flag.Int("seeds", 10, "runs of each pair with 0 to 5 % loss, and as many without")

// The bars: what can go direct does so in 99 % of the runs with 0 to 5 % loss and round trips of 20 to 200 ms. Without
// loss both sides use a direct path within 2 round trips of both knowing of each other in half of the runs, and within
// 3 in 95 %.
const (
	wantDirect = 0.99
	wantP50    = 2.001 // each of up to ten steps takes a nanosecond
	wantP95    = 3.0
)

func TestMatrix(t *testing.T) {
	for _, a := range scenario.Kinds() {
		for _, b := range scenario.Kinds() {
			t.Run(fmt.Sprintf("%s calls %s", a, b), func(t *testing.T) {
				lossy := fill(t, a, b, scenario.MatrixConfig{Loss: -1})
				clean := fill(t, a, b, scenario.MatrixConfig{Seed: 1 << 20})
				p50, p95 := scenario.Quantile(clean.RTTs, 0.5), scenario.Quantile(clean.RTTs, 0.95)
				t.Logf("direct %d of %d with loss, %d of %d without; p50 %.2f RTT, p95 %.2f RTT; with loss p50 %.2f, p95 %.2f",
					lossy.Direct, lossy.Runs, clean.Direct, clean.Runs, p50, p95,
					scenario.Quantile(lossy.RTTs, 0.5), scenario.Quantile(lossy.RTTs, 0.95))
				if !scenario.Reachable(a, b) {
					if n := lossy.Direct + clean.Direct; n > 0 {
						t.Logf("direct %d times although nothing lets it expect that", n)
					}
					return
				}
				if share := float64(lossy.Direct) / float64(lossy.Runs); share < wantDirect {
					t.Errorf("direct in %.1f %% with loss, want %.0f %%", 100*share, 100*wantDirect)
				}
				if clean.Direct < clean.Runs {
					t.Errorf("direct in %d of %d without loss", clean.Direct, clean.Runs)
				}
				if p50 > wantP50 || p95 > wantP95 {
					t.Errorf("p50 %.3f RTT, p95 %.3f RTT, want at most 2 and 3", p50, p95)
				}
			})
		}
	}
}

// fill plays the runs of one pair, each in a bubble of its own.
func fill(t *testing.T, a, b string, cfg scenario.MatrixConfig) scenario.Cell {
	t.Helper()
	cell := scenario.Cell{A: a, B: b}
	for n := range *seeds {
		synctest.Test(t, func(t *testing.T) {
			run := cfg.Run(a, b, n)
			r, err := scenario.Punch(context.Background(), run)
			if err != nil {
				t.Fatalf("run %d, RTT %v, loss %.3f: %v", n, run.RTT, run.Loss, err)
			}
			if !r.Direct() && scenario.Reachable(a, b) {
				t.Logf("run %d, RTT %v, loss %.3f is not direct:\nA: %s\nB: %s", n, run.RTT, run.Loss, r.A.Record, r.B.Record)
			}
			cell.Add(r)
		})
	}
	return cell
}
