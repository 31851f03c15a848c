package scenario

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/internal/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// Every kind of place calls every other: those that can reach each other do, within two round trips, the others fail.
func TestPunchEveryPair(t *testing.T) {
	for _, a := range AllKinds() {
		for _, b := range AllKinds() {
			t.Run(fmt.Sprintf("%s calls %s", a, b), func(t *testing.T) {
				r := play(t, PunchConfig{WorldConfig: WorldConfig{A: a, B: b, Seed: 1}})
				if r.Direct() != Reachable(a, b) {
					t.Errorf("direct is %v, want %v: A: %s\nB: %s", r.Direct(), Reachable(a, b), r.A.Record, r.B.Record)
				}
				if r.Direct() && r.RTTs() > 2.001 { // each of up to ten steps takes a nanosecond
					t.Errorf("direct after %.3f RTT, want at most 2", r.RTTs())
				}
			})
		}
	}
}

// play plays a story in virtual time.
func play(t *testing.T, cfg PunchConfig) (r Result) {
	t.Helper()
	cfg.Wait = synctest.Wait
	synctest.Test(t, func(t *testing.T) {
		var err error
		if r, err = Punch(context.Background(), cfg); err != nil {
			t.Fatal(err)
		}
	})
	return r
}

// wantDirect fails unless both sides use the path that leads to an address within a prefix.
func wantDirect(t *testing.T, r Result, prefix string) {
	t.Helper()
	p := netip.MustParsePrefix(prefix)
	if !r.Direct() || !p.Contains(r.A.Record.Winner.Addr()) || !p.Contains(r.B.Record.Winner.Addr()) {
		t.Errorf("want direct paths in %s, got\n%s\n%s", p, r.A.Record, r.B.Record)
	}
}

// Two hosts of one home use its network, although their NAT does not turn packets round.
func TestPunchInOneHome(t *testing.T) {
	r := play(t, PunchConfig{WorldConfig: WorldConfig{A: "symmetric", SameIP: true, Seed: 1}})
	wantDirect(t, r, "192.168.1.0/24")
}

// Where the NATs for IPv4 let nothing through, firewalls for IPv6 do.
func TestPunchByIPv6(t *testing.T) {
	r := play(t, PunchConfig{WorldConfig: WorldConfig{A: "symmetric", B: "symmetric", IPv6: true, Seed: 1}})
	wantDirect(t, r, "2001:db8::/32")
}

func TestPunchWithLoss(t *testing.T) {
	direct := 0
	for seed := range uint64(30) {
		r := play(t, PunchConfig{WorldConfig: WorldConfig{Loss: 0.2, Seed: seed}})
		if r.Direct() {
			direct++
		}
	}
	if direct < 30 {
		t.Errorf("at 20 %% loss %d of 30 are direct", direct)
	}
}

func TestUnknownKind(t *testing.T) {
	if _, err := Punch(context.Background(), PunchConfig{WorldConfig: WorldConfig{A: "castle"}}); err == nil {
		t.Error("no error")
	}
}

func TestPunchStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		start := time.Now()
		r, err := Punch(ctx, PunchConfig{WorldConfig: WorldConfig{A: "symmetric", B: "symmetric", Seed: 1}})
		if err == nil && r.Direct() {
			t.Error("direct in no time")
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

// The only test here in real time: it is how the commands run.
func TestPunchInRealTime(t *testing.T) {
	r, err := Punch(t.Context(), PunchConfig{WorldConfig: WorldConfig{RTT: 20 * time.Millisecond, Seed: 1}})
	if err != nil || !r.Direct() {
		t.Errorf("error %v, A: %s", err, r.A.Record)
	}
}

func TestMatrix(t *testing.T) {
	var cells []Cell
	told := 0
	synctest.Test(t, func(t *testing.T) {
		var err error
		cells, err = Matrix(t.Context(), MatrixConfig{Runs: 2, OnCell: func(Cell) { told++ }})
		if err != nil {
			t.Fatal(err)
		}
	})
	if n := len(Kinds()); len(cells) != n*n || told != n*n {
		t.Fatalf("%d cells, %d told, want %d", len(cells), told, n*n)
	}
	for _, c := range cells {
		if (c.Direct == c.Runs) != c.Reachable || c.Runs != 2 {
			t.Errorf("%s calls %s: direct %d of %d, want %v", c.A, c.B, c.Direct, c.Runs, c.Reachable)
		}
	}
}

func TestQuantile(t *testing.T) {
	values := []float64{5, 1, 4, 2, 3}
	for q, want := range map[float64]float64{0: 1, 0.5: 3, 0.95: 5, 1: 5} {
		if got := Quantile(values, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
}

// One seed, one history: packet for packet, whatever the number of processors, although the nodes are real programs
// of many goroutines.
func TestPunchIsReproducible(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, w := range []WorldConfig{
		{A: "symmetric", B: "address-restricted", Seed: 7, Loss: 0.05, IPv6: true},
		{A: "linux", B: "linux-no-drop", Seed: 8, Loss: 0.02},
		{A: "port-restricted", SameIP: true, Seed: 9},
	} {
		digests := map[uint64]int{}
		for i := range 20 {
			runtime.GOMAXPROCS(1 + i%4)
			digests[play(t, PunchConfig{WorldConfig: w}).Digest]++
		}
		if len(digests) != 1 {
			t.Errorf("20 runs of %+v had %d histories: %v", w, len(digests), digests)
		}
	}
}
