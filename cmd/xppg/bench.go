package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/2xppg/xppg/internal/units"
)

type benchEvent struct {
	Event   string  `json:"event"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
	MbitS   float64 `json:"mbit_s"`
	Path    string  `json:"path"`
	Wire    uint64  `json:"wire_bytes"`
}

func (a *app) benchCommand() *cobra.Command {
	var size string
	var reverse bool
	var streams int
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "bench TARGET",
		Short: "Measure throughput to a node started with --allow-bench",
		Example: `  xppg bench host:7337 --bytes 64MiB
  xppg bench TICKET --bytes 1GiB --streams 4 --reverse`,
		Args: exactArgs(1, "a target"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := units.ParseBytes(size)
			if err != nil {
				return fmt.Errorf("--bytes: %w", err)
			}
			if streams < 1 || streams > 64 {
				return fmt.Errorf("--streams %d: 1 to 64 streams can be used", streams)
			}
			if err := checkSpan("timeout", timeout, longestWait); err != nil {
				return err
			}
			return a.runBench(cmd.Context(), args[0], n, streams, reverse, timeout)
		},
	}
	f := cmd.Flags()
	f.StringVar(&size, "bytes", "64MiB", "how much to move, as 1000, 64KiB, 10MB …")
	f.BoolVar(&reverse, "reverse", false, "receive instead of sending")
	f.IntVar(&streams, "streams", 1, "how many streams to spread it over")
	f.DurationVar(&timeout, "timeout", 5*time.Minute, "how long to try in all")
	return cmd
}

func (a *app) runBench(ctx context.Context, target string, n int64, streams int, reverse bool, timeout time.Duration) error {
	pg, id, _, cancel, err := a.joinOne(&ctx, target, timeout)
	if err != nil {
		return err
	}
	defer cancel()
	defer a.stop(pg)
	r, err := pg.Bench(ctx, id, n, streams, reverse)
	if err != nil {
		return err
	}
	path, _ := pg.PathTo(id)
	sec := r.Elapsed.Seconds()
	mbit := math.Round(float64(r.Bytes)*8/sec/1e4) / 100
	a.print.emit(benchEvent{"bench", r.Bytes, math.Round(sec*1e6) / 1e6, mbit, path.Path, r.WireBytes},
		"%s in %s: %.1f Mbit/s over a %s path (%s on the wire)", showBytes(r.Bytes), showDuration(r.Elapsed), mbit, path.Path, showBytes(int64(r.WireBytes)))
	return nil
}
