package api

import (
	"flag"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/internal/scenario"
	"github.com/2xppg/xppg/netsim"
)

var slowTime = flag.Duration("slow", 0, "how long each story of a relay with a low limit lasts; 0: a few short ones")

const (
	slowWarm  = 2 * time.Second // what comes before does not count
	slowDrops = 0.02            // of what the relay carries, at most
	slowShort = 6 * time.Second
	slowTick  = 100 * time.Millisecond // more would be a part of the limit that counts
)

// newLone makes a relay that carries so many bits a second, and pairs that reach each other only by way of it.
func newLone(t *testing.T, rtt time.Duration, rate, pairs int) *row {
	t.Helper()
	w := &world{t: t, net: netsim.New(netsim.Config{Seed: 1}), link: netsim.Link{Delay: rtt / 8}}
	t.Cleanup(func() { _ = w.net.Close() })
	r := &row{world: w}
	r.relays[0] = w.public(relays)
	for range pairs {
		a, b := w.behind(netsim.Presets["symmetric"], noMesh), w.behind(netsim.Presets["symmetric"], noMesh)
		a.meet(r.relays[0])
		b.meet(r.relays[0])
		r.pairs = append(r.pairs, [2]*node{a, b})
	}
	time.Sleep(3 * time.Second)
	r.relays[0].SetRelayRules(RelayRules{BytesPerSecond: uint64(rate / 8)})
	for _, p := range r.pairs {
		p[0].join(p[1].ID().String())
		if info, _ := p[0].PathTo(p[1].ID()); len(info.Via) != 1 {
			t.Fatalf("path is %+v", info)
		}
	}
	return r
}

// slowCase is a relay with a low limit, and pairs that share it.
type slowCase struct {
	rtt          time.Duration
	mbits, pairs int
}

// slowResult is what came out of a story.
type slowResult struct {
	goodput        float64 // part of the limit
	drops, marks   float64 // of each packet that was carried on
	overflow, late uint64
	took           []time.Duration
	idle           time.Duration
}

func slowStory(t *testing.T, rtt time.Duration, rate, pairs int, lasts time.Duration) (res slowResult) {
	synctest.Test(t, func(t *testing.T) { res = newLone(t, rtt, rate, pairs).floods(slowTick, rate, lasts) })
	return res
}

// floods has each pair send all it can, while the first one sends a small message each tick, and tells what came of it. Goodput is part of rate.
func (r *row) floods(tick time.Duration, rate int, lasts time.Duration) (res slowResult) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	own := delays{every: tick}
	wg.Go(func() { own.run(r, 0, stop) })
	time.Sleep(2 * time.Second)
	res.idle = scenario.Quantile(own.lately(), 0.5)
	fs := make([]flood, len(r.pairs))
	for i := range fs {
		wg.Go(func() { fs[i].run(r, i, stop) })
	}
	time.Sleep(slowWarm)
	first, before := taken(fs), r.relays[0].RelayStats().Switch
	own.lately()
	time.Sleep(lasts)
	now := r.relays[0].RelayStats().Switch
	res.goodput = float64(taken(fs)-first) * 8 / lasts.Seconds() / float64(rate)
	res.overflow, res.late = now.Overflow-before.Overflow, now.Late-before.Late
	packets := float64(now.Packets - before.Packets)
	res.drops = float64(res.overflow+res.late) / packets
	res.marks = float64(now.Marked-before.Marked) / packets
	res.took = own.lately()
	close(stop)
	wg.Wait()
	return res
}

func taken(fs []flood) (sum int64) {
	for i := range fs {
		sum += fs[i].taken()
	}
	return sum
}

// slowStories are all of them, the ones for every run first.
func slowStories() (stories []slowCase) {
	for _, pairs := range []int{1, 4} {
		for _, rtt := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 80 * time.Millisecond} {
			for _, mbits := range []int{1, 2, 5, 20} {
				if pairs == 1 || mbits >= 5 {
					stories = append(stories, slowCase{rtt, mbits, pairs})
				}
			}
		}
	}
	if *slowTime == 0 {
		return stories[:6]
	}
	return stories
}

// Streams by way of a relay whose limit is low: the senders slow down when they are told, so that little is dropped and little waits.
func TestSlowRelay(t *testing.T) {
	for _, s := range slowStories() {
		t.Run(fmt.Sprintf("%v, %d Mbit-s, %d pairs", s.rtt, s.mbits, s.pairs), func(t *testing.T) {
			rate := s.mbits * 1_000_000
			res := slowStory(t, s.rtt, rate, s.pairs, max(*slowTime, slowShort))
			t.Logf("goodput %.3f of the limit; %.2f %% dropped (%d overflow, %d late), %.1f %% marked; small messages: %s", res.goodput,
				100*res.drops, res.overflow, res.late, 100*res.marks, added(res.took, res.idle))
			two := time.Duration(2 * 1500 * 8 * s.pairs * int(time.Second) / rate) // packets, of one that gets its share
			if wait := scenario.Quantile(res.took, 0.95) - res.idle; wait > max(rowMost, two) {
				t.Errorf("small messages take %v longer", wait)
			}
			if res.drops > slowDrops {
				t.Errorf("%.2f %% dropped", 100*res.drops)
			}
			if res.goodput < rowLeast {
				t.Errorf("goodput %.3f of the limit", res.goodput)
			}
		})
	}
}
