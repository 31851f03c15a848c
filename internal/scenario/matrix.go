package scenario

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Cell is what came of one kind of place calling another, a number of times.
type Cell struct {
	A, B      string
	Reachable bool // what RFC 4787 reasoning says
	Runs      int
	Direct    int             // of Runs
	After     []time.Duration // of the direct ones, from both knowing of each other, in no order
	RTTs      []float64       // the same in round trips between the two
	Packets   uint64          // of all runs together
}

// Add takes in one more run.
func (c *Cell) Add(r Result) {
	c.Runs++
	c.Packets += r.Packets
	if r.Direct() {
		c.Direct++
		c.After = append(c.After, r.After())
		c.RTTs = append(c.RTTs, r.RTTs())
	}
}

// Quantile returns the smallest of values that is not smaller than a share q of them, 0 when there are none.
func Quantile[T time.Duration | float64](values []T, q float64) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := int(q * float64(len(sorted)))
	return sorted[min(n, len(sorted)-1)]
}

// MatrixConfig says how to fill a matrix of all kinds of places. The zero value of a field means its default.
type MatrixConfig struct {
	Seed     uint64        // of the first run of each pair; the next run has the next one
	Runs     int           // of each pair. Default 1.
	RTT      time.Duration // 0: drawn for each run, 20 to 200 ms
	Loss     float64       // negative: drawn for each run, 0 to 5 %
	Timeout  time.Duration // of the punching of one run. Default 3 s.
	Parallel int           // runs at a time. Default 32.
	PCAP     string        // a directory for a capture of each run, as caller-called-seed.pcapng; empty: none
	OnCell   func(Cell)    // called as soon as a pair is done, one call at a time; may be nil
}

// Run returns the story of run number n of a pair.
func (c MatrixConfig) Run(a, b string, n int) PunchConfig {
	seed := c.Seed + uint64(n)
	random := rand.New(rand.NewPCG(seed, 0x6d61747269780000))
	rtt := 20*time.Millisecond + time.Duration(random.Int64N(int64(180*time.Millisecond)))
	loss := 0.05 * random.Float64()
	if c.RTT > 0 {
		rtt = c.RTT
	}
	if c.Loss >= 0 {
		loss = c.Loss
	}
	timeout := c.Timeout
	if timeout == 0 {
		timeout = 3 * time.Second
	}
	return PunchConfig{WorldConfig: WorldConfig{A: a, B: b, Seed: seed, RTT: rtt, Loss: loss}, Timeout: timeout}
}

// play plays one run, and captures it if that is wanted.
func (c MatrixConfig) play(ctx context.Context, run PunchConfig) (Result, error) {
	if c.PCAP == "" {
		return Punch(ctx, run)
	}
	f, err := os.Create(filepath.Join(c.PCAP, fmt.Sprintf("%s-%s-%d.pcapng", run.A, run.B, run.Seed)))
	if err != nil {
		return Result{}, fmt.Errorf("scenario: capture: %w", err)
	}
	w := bufio.NewWriterSize(f, 1<<16)
	run.Capture = w
	r, err := Punch(ctx, run)
	return r, errors.Join(err, w.Flush(), f.Close())
}

// Matrix plays the story of Punch for every pair of kinds, many at a time, in real time, and returns the cells row by
// row: all that the first kind calls, all that the second kind calls, and so on.
func Matrix(ctx context.Context, cfg MatrixConfig) ([]Cell, error) {
	cfg.Runs = max(cfg.Runs, 1)
	if cfg.Parallel <= 0 {
		cfg.Parallel = 32
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	kinds := Kinds()
	cells := make([]Cell, 0, len(kinds)*len(kinds))
	slots := make(chan struct{}, cfg.Parallel)
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, a := range kinds {
		for _, b := range kinds {
			cells = append(cells, Cell{A: a, B: b, Reachable: Reachable(a, b)})
			cell := &cells[len(cells)-1]
			for n := range cfg.Runs {
				all.Go(func() {
					slots <- struct{}{}
					r, err := cfg.play(ctx, cfg.Run(a, b, n))
					<-slots
					if err != nil {
						cancel(err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					if cell.Add(r); cell.Runs == cfg.Runs && cfg.OnCell != nil {
						cfg.OnCell(*cell)
					}
				})
			}
		}
	}
	all.Wait()
	return cells, context.Cause(ctx)
}
