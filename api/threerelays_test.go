package api

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/internal/scenario"
	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/netsim"
)

var rowTime = flag.Duration("row", 0, "how long each story of three relays in a row lasts; 0: two short ones")

const (
	rowRate   = 50_000_000            // bits a second of the slowest hop
	rowWarm   = 3 * time.Second       // what comes before does not count
	rowLeast  = 0.85                  // of the rate arrives, in all stories,
	rowMost   = 20 * time.Millisecond // and small messages take so much longer, p95
	rowTick   = 20 * time.Millisecond
	rowShort  = 6 * time.Second
	rowKind   = "bulk"
	rowMinute = "minute"
)

// row is three relays in a row and pairs of peers that reach each other only by way of all of them.
type row struct {
	*world
	relays [3]*node
	pairs  [][2]*node
}

// newRow makes a row. Each of the four hops takes oneWay; slow says which hop has the rate and how.
func newRow(t *testing.T, seed uint64, oneWay time.Duration, slow func(r *row), pairs int) *row {
	t.Helper()
	// A hop is two links, out of a host and into the next one.
	w := &world{t: t, net: netsim.New(netsim.Config{Seed: seed}), link: netsim.Link{Delay: oneWay / 2}}
	t.Cleanup(func() { _ = w.net.Close() })
	r := &row{world: w}
	for i := range r.relays {
		r.relays[i] = w.public(relays)
	}
	r.relays[0].meet(r.relays[1])
	r.relays[1].meet(r.relays[2])
	for range pairs {
		a, b := w.behind(netsim.Presets["symmetric"], noMesh), w.behind(netsim.Presets["symmetric"], noMesh)
		a.meet(r.relays[0])
		b.meet(r.relays[2])
		r.pairs = append(r.pairs, [2]*node{a, b})
	}
	time.Sleep(5 * time.Second) // the relays' records are known by then
	for _, p := range r.pairs {
		p[0].join(p[1].ID().String())
		if info, _ := p[0].PathTo(p[1].ID()); len(info.Via) != 3 {
			t.Fatalf("path is %+v", info)
		}
	}
	slow(r)
	time.Sleep(time.Second)
	return r
}

// slowLinks gives relays and peers links of the rate, with a queue of 100 ms.
func slowLinks(nodes func(r *row) []*node) func(r *row) {
	return func(r *row) {
		link := r.link
		link.Rate = rowRate
		for _, n := range nodes(r) {
			n.host.SetLink(link, link)
		}
	}
}

func slowMiddle(r *row) []*node { return r.relays[1:2] }
func slowAll(r *row) []*node    { return r.nodes }

// slowRelay is a relay in the middle that was told to carry no more.
func slowRelay(r *row) { r.relays[1].SetRelayRules(RelayRules{BytesPerSecond: rowRate / 8}) }

// flood sends as much as a stream takes until stop is closed, and counts what arrives from then on.
type flood struct {
	mu    sync.Mutex
	bytes int64
}

func (f *flood) taken() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bytes
}

func (f *flood) run(r *row, pair int, stop <-chan struct{}) {
	a, b := r.pairs[pair][0], r.pairs[pair][1]
	kind := fmt.Sprint(rowKind, pair)
	b.OnStream(kind, func(_ kcptransport.PeerID, s *kcptransport.Stream) {
		buf := make([]byte, 64<<10)
		for {
			n, err := s.Read(buf)
			f.mu.Lock()
			f.bytes += int64(n)
			f.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	s, err := a.OpenStream(r.t.Context(), b.ID(), kind)
	if err != nil {
		r.t.Error(err)
		return
	}
	s.SetPriority(kcptransport.PriorityBulk)
	go func() {
		<-stop
		s.Reset(0)
	}()
	for buf := make([]byte, 64<<10); ; {
		if _, err := s.Write(buf); err != nil {
			return
		}
	}
}

// delays are how long messages of 100 bytes took one way.
type delays struct {
	every time.Duration // the pause between two

	mu   sync.Mutex
	took []time.Duration
}

// lately returns what was measured since it was last asked.
func (d *delays) lately() []time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	took := d.took
	d.took = nil
	return took
}

// run sends small messages on an interactive stream of a pair, at even pauses, until stop is closed.
func (d *delays) run(r *row, pair int, stop <-chan struct{}) {
	a, b := r.pairs[pair][0], r.pairs[pair][1]
	kind := fmt.Sprint(rowMinute, pair)
	start := time.Now()
	b.OnStream(kind, func(_ kcptransport.PeerID, s *kcptransport.Stream) {
		buf := make([]byte, tickSize)
		for {
			if _, err := io.ReadFull(s, buf); err != nil {
				return
			}
			d.mu.Lock()
			d.took = append(d.took, time.Since(start)-time.Duration(binary.BigEndian.Uint64(buf)))
			d.mu.Unlock()
		}
	})
	s, err := a.OpenStream(r.t.Context(), b.ID(), kind)
	if err != nil {
		r.t.Error(err)
		return
	}
	s.SetPriority(kcptransport.PriorityInteractive)
	defer s.Reset(0)
	tick := time.NewTicker(d.every)
	defer tick.Stop()
	buf := make([]byte, tickSize)
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		binary.BigEndian.PutUint64(buf, uint64(time.Since(start)))
		if _, err := s.Write(buf); err != nil {
			if !errors.Is(err, io.ErrClosedPipe) {
				r.t.Error(err)
			}
			return
		}
	}
}

// rowResult is what came out of a story.
type rowResult struct {
	goodput   []float64 // part of the slowest hop, of each flood
	own       []time.Duration
	idle      time.Duration // median of own before the floods
	other     []time.Duration
	otherIdle time.Duration
}

// rowStory lets some pairs flood the row while they, and one more pair, send small messages.
func rowStory(t *testing.T, oneWay, lasts time.Duration, slow func(r *row), floods int) (res rowResult) {
	synctest.Test(t, func(t *testing.T) {
		r := newRow(t, 1, oneWay, slow, floods+1)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		own, other := delays{every: rowTick}, delays{every: rowTick}
		wg.Go(func() { own.run(r, 0, stop) })
		wg.Go(func() { other.run(r, floods, stop) })
		time.Sleep(2 * time.Second)
		res.idle, res.otherIdle = scenario.Quantile(own.lately(), 0.5), scenario.Quantile(other.lately(), 0.5)
		fs := make([]flood, floods)
		for i := range fs {
			wg.Go(func() { fs[i].run(r, i, stop) })
		}
		time.Sleep(rowWarm)
		first := make([]int64, floods)
		for i := range fs {
			first[i] = fs[i].taken()
		}
		own.lately()
		other.lately()
		time.Sleep(lasts - rowWarm)
		for i := range fs {
			bits := float64(fs[i].taken()-first[i]) * 8
			res.goodput = append(res.goodput, bits/(lasts-rowWarm).Seconds()/rowRate)
		}
		res.own, res.other = own.lately(), other.lately()
		close(stop)
		wg.Wait()
	})
	return res
}

// jain is Jain's index of fairness: 1 when all are equal.
func jain(x []float64) float64 {
	var sum, squares float64
	for _, v := range x {
		sum += v
		squares += v * v
	}
	return sum * sum / (float64(len(x)) * squares)
}

func added(took []time.Duration, idle time.Duration) string {
	q := func(p float64) time.Duration {
		return (scenario.Quantile(took, p) - idle).Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("added p50 %v, p95 %v, longest %v (idle %v)", q(0.5), q(0.95), q(1), idle)
}

// A stream fills a circuit of three relays, and small messages on the same link and on another circuit by the same relays wait
// little longer than when nothing else is sent. Where a relay is the narrowest hop, it has a short queue and marks what waits. A
// link that is the narrowest marks nothing: there the controller sees the queue itself.
func TestThreeRelays(t *testing.T) {
	for _, story := range []struct {
		name   string
		oneWay time.Duration
		slow   func(r *row)
		floods int
	}{
		{"a slow relay, 20 ms", 20 * time.Millisecond, slowRelay, 1},
		{"a slow link in the middle, 20 ms", 20 * time.Millisecond, slowLinks(slowMiddle), 1},
		{"all links slow, 20 ms", 20 * time.Millisecond, slowLinks(slowAll), 1},
		{"a slow relay, 10 ms", 10 * time.Millisecond, slowRelay, 1},
		{"a slow link in the middle, 10 ms", 10 * time.Millisecond, slowLinks(slowMiddle), 1},
		{"all links slow, 10 ms", 10 * time.Millisecond, slowLinks(slowAll), 1},
		{"a slow relay, two streams", 20 * time.Millisecond, slowRelay, 2},
		{"a slow link in the middle, two streams", 20 * time.Millisecond, slowLinks(slowMiddle), 2},
	}[:rowStories()] {
		t.Run(story.name, func(t *testing.T) {
			lasts := max(*rowTime, rowShort)
			res := rowStory(t, story.oneWay, lasts, story.slow, story.floods)
			t.Logf("goodput %.3f of the slowest hop; on the same link %s; on another circuit %s", res.goodput,
				added(res.own, res.idle), added(res.other, res.otherIdle))
			if story.floods > 1 {
				t.Logf("fairness %.3f", jain(res.goodput))
				if jain(res.goodput) < 0.95 {
					t.Error("the two streams do not share evenly")
				}
			}
			sum := 0.0
			for _, g := range res.goodput {
				sum += g
			}
			if sum < rowLeast {
				t.Errorf("goodput %.3f of the slowest hop", sum)
			}
			for _, d := range []time.Duration{scenario.Quantile(res.own, 0.95) - res.idle, scenario.Quantile(res.other, 0.95) - res.otherIdle} {
				if d > rowMost {
					t.Errorf("small messages take %v longer", d)
				}
			}
		})
	}
}

// rowStories returns how many of the stories are told.
func rowStories() int {
	if *rowTime == 0 {
		return 2
	}
	return 8
}
