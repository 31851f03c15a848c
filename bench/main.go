package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"
)

// sizes says how much is measured.
type sizes struct {
	loopback, lossy      int64 // bytes
	echoes, spacedEchoes int
	limit                time.Duration // of one measurement
	forward              time.Duration // for which relays are measured
}

var fullSizes = sizes{loopback: 256 << 20, lossy: 64 << 20, echoes: 5000, spacedEchoes: 200, limit: 20 * time.Second, forward: time.Second}

// A benchmark measures one contender once.
type benchmark struct {
	name  string // for -only, by its beginning
	title string
	run   func(context.Context, contender, sizes) (result, error)
	among []contender
}

var benchmarks = []benchmark{
	{"loopback", "one stream on loopback, 256 MiB", benchLoopback, contenders},
	{"lossy-0", "64 MiB over 100 Mbit/s, RTT 50 ms, no loss", benchLossy(0), contenders},
	{"lossy-2", "64 MiB over 100 Mbit/s, RTT 50 ms, 2 % loss each way, at most 20 s", benchLossy(0.02), contenders},
	{"echo", "echo of 100 bytes on loopback, back to back", benchEcho(0), contenders},
	{"echo-spaced", "echo of 100 bytes on loopback, one every 10 ms", benchEcho(10 * time.Millisecond), contenders},
	{"forward-1200", "one relay process, packets of 1,200 bytes on loopback", benchForward(load{1200, 1}), relays},
	{"forward-100", "one relay process, packets of 100 bytes on loopback", benchForward(load{100, 1}), relays},
	{"forward-20x1200", "the same, packets of 20 circuits in turns, to 20 peers", benchForward(load{1200, 20}), relaysOfMany},
	{"forward-20x100", "the same, packets of 20 circuits in turns, to 20 peers", benchForward(load{100, 20}), relaysOfMany},
}

// errNotPossible is returned where a contender cannot take part.
var errNotPossible = errors.New("bench: not possible")

type options struct {
	runs            int
	only, contender string // beginnings of names; empty means all
	json            bool
	sizes           sizes
}

func main() {
	if beRelay() {
		return
	}
	os.Exit(run())
}

func run() int {
	opt := options{sizes: fullSizes}
	flag.IntVar(&opt.runs, "runs", 3, "rounds, of which the medians are shown")
	flag.StringVar(&opt.only, "only", "", "run only benchmarks whose name begins with this (loopback, lossy-0, lossy-2, echo, forward)")
	flag.StringVar(&opt.contender, "contender", "", "run only contenders whose name begins with this (xppg, quic, kcp, tcp; of relays xppg, bare, coturn, libp2p)")
	flag.BoolVar(&opt.json, "json", false, "print one JSON object for each figure instead of tables")
	profile := flag.String("cpuprofile", "", "write a CPU profile of everything to this file")
	flag.StringVar(&relayProfile, "relayprofile", "", "write CPU profiles of relay processes to files whose names begin with this and end with the relay's; the last run of each is kept")
	flag.Parse()
	if opt.runs < 1 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "bench: -runs must be 1 or more, and there are no arguments")
		return 2
	}
	// One contender would log about socket buffers, all of which are what the system allows.
	_ = os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	stopProfile, err := startProfile(*profile)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stopProfile()
	if err := measureAll(ctx, opt, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// startProfile writes a CPU profile to a file until it is stopped. Without a name it does nothing.
func startProfile(name string) (stop func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	f, err := os.Create(name)
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		return nil, fmt.Errorf("bench: profiling: %w", err)
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}

// measureAll runs what the options ask for and prints each benchmark when it is done.
func measureAll(ctx context.Context, opt options, w io.Writer) error {
	if !opt.json {
		fmt.Fprintf(w, "%s, %s/%s, %d CPUs, medians of %d\n",
			runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), opt.runs)
	}
	found := false
	for _, b := range benchmarks {
		if !strings.HasPrefix(b.name, opt.only) {
			continue
		}
		rows, err := measure(ctx, b, opt)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			continue
		}
		found = true
		if opt.json {
			err = printJSON(w, b, rows)
		} else {
			err = printTable(w, b, rows)
		}
		if err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("bench: no benchmark %q of a contender %q", opt.only, opt.contender)
	}
	return nil
}

// measure lets the contenders take turns.
func measure(ctx context.Context, b benchmark, opt options) ([]*row, error) {
	var rows []*row
	for round := range opt.runs {
		at := 0
		for _, c := range b.among {
			if !strings.HasPrefix(strings.ToLower(c.name), strings.ToLower(opt.contender)) {
				continue
			}
			r, err := measureOnce(ctx, b, c, opt.sizes)
			if errors.Is(err, errNotPossible) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("bench: %s of %s: %w", b.name, c.name, err)
			}
			if round == 0 {
				rows = append(rows, &row{contender: c.name})
			}
			rows[at].runs = append(rows[at].runs, r)
			at++
		}
	}
	return rows, nil
}

// measureOnce starts from a heap without what others left.
func measureOnce(ctx context.Context, b benchmark, c contender, s sizes) (result, error) {
	runtime.GC()
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit+s.limit)
	defer cancel()
	return b.run(ctx, c, s)
}
