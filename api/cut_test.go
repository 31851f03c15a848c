package api

import (
	"encoding/binary"
	"flag"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/internal/scenario"
	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/netsim"
)

var cuts = flag.Int("cuts", 3, "runs of each story in which a path is cut")

// ticker sends numbered messages of 100 bytes over one stream, one every two milliseconds, and watches how they arrive.
type ticker struct {
	mu      sync.Mutex
	next    uint64
	wrong   int
	last    time.Time
	longest time.Duration
	since   time.Time
}

const tickSize = 100

func (k *ticker) receive(r io.Reader) {
	buf := make([]byte, tickSize)
	for {
		if _, err := io.ReadFull(r, buf); err != nil {
			return
		}
		k.mu.Lock()
		now := time.Now()
		if !k.since.IsZero() && now.After(k.since) && !k.last.IsZero() {
			k.longest = max(k.longest, now.Sub(k.last))
		}
		k.last = now
		if n := binary.BigEndian.Uint64(buf); n != k.next {
			k.wrong++
		}
		k.next++
		k.mu.Unlock()
	}
}

func (k *ticker) send(t *testing.T, w io.Writer, stop <-chan struct{}) (sent uint64) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	buf := make([]byte, tickSize)
	for {
		select {
		case <-stop:
			return sent
		case <-tick.C:
		}
		binary.BigEndian.PutUint64(buf, sent)
		if _, err := w.Write(buf); err != nil {
			t.Error(err)
			return sent
		}
		sent++
	}
}

// cutStory lets messages flow both ways while something happens, and returns the longest time without one on either side.
func cutStory(t *testing.T, seed int, prepare func(t *testing.T, w *world) (a, b *node), happen func(w *world, a, b *node)) (longest time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: netsim.New(netsim.Config{Seed: uint64(seed)}), link: netsim.Link{Delay: 10 * time.Millisecond}}
		t.Cleanup(func() { _ = w.net.Close() })
		a, b := prepare(t, w)
		time.Sleep(time.Duration(rand.New(rand.NewPCG(uint64(seed), 1)).IntN(1000)) * time.Millisecond)
		var ticks [2]ticker
		var sent [2]uint64
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for i, ends := range [2][2]*node{{a, b}, {b, a}} {
			ends[1].OnStream("tick", func(_ kcptransport.PeerID, s *kcptransport.Stream) { ticks[i].receive(s) })
			s, err := ends[0].OpenStream(t.Context(), ends[1].ID(), "tick")
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() { sent[i] = ticks[i].send(t, s, stop) })
		}
		time.Sleep(500 * time.Millisecond)
		for i := range ticks {
			ticks[i].mu.Lock()
			ticks[i].since = time.Now()
			ticks[i].mu.Unlock()
		}
		happen(w, a, b)
		time.Sleep(3 * time.Second)
		close(stop)
		wg.Wait()
		time.Sleep(time.Second)
		for i := range ticks {
			k := &ticks[i]
			k.mu.Lock()
			if k.wrong > 0 || k.next != sent[i] {
				t.Errorf("seed %d, way %d: %d messages sent, %d received, %d out of order", seed, i, sent[i], k.next, k.wrong)
			}
			longest = max(longest, k.longest)
			k.mu.Unlock()
		}
	})
	return longest
}

// rows starts two nodes, and between them three relays in a row and three others: 5 ms from each to the next, and to the nodes, which
// have joined each other by both ways.
func (w *world) rows() (a, b *node) {
	w.t.Helper()
	w.link = netsim.Link{Delay: 2500 * time.Microsecond}
	var rs []*node
	for range 6 {
		rs = append(rs, w.public(relays))
	}
	rs[0].meet(rs[1])
	rs[1].meet(rs[2])
	rs[3].meet(rs[4])
	rs[4].meet(rs[5])
	a, b = w.behind(netsim.Presets["symmetric"], noMesh), w.behind(netsim.Presets["symmetric"], noMesh)
	a.meet(rs[0])
	a.meet(rs[3])
	b.meet(rs[2])
	b.meet(rs[5])
	time.Sleep(5 * time.Second)
	a.join(b.ID().String())
	w.eventually("there are two circuits", 10*time.Second, func() bool { return len(a.circuitsTo(b.ID())) >= 2 })
	w.eventually("the other side has the link", time.Second, func() bool { _, ok := b.PathTo(a.ID()); return ok })
	return a, b
}

// What carries the link is cut or killed in the middle of messages both ways: the next path takes over within a few round trips,
// and no message is lost, doubled or out of order.
func TestCuts(t *testing.T) {
	directOne := func(t *testing.T, w *world) (a, b *node) {
		a, b, _ = w.relayed("port-restricted", "port-restricted", 1)
		a.join(b.ID().String())
		w.direct(a, b)
		time.Sleep(time.Second)
		return a, b
	}
	rows := func(t *testing.T, w *world) (a, b *node) {
		a, b = w.rows()
		if info, _ := a.PathTo(b.ID()); len(info.Via) != 3 {
			t.Fatalf("path is %+v", info)
		}
		return a, b
	}
	killRelay := func(hop int) func(w *world, a, _ *node) {
		return func(w *world, a, b *node) {
			info, _ := a.PathTo(b.ID())
			for _, n := range w.nodes {
				if n.ID() == info.Via[hop] {
					n.host.SetAddrs()
				}
			}
		}
	}
	for _, story := range []struct {
		name    string
		prepare func(t *testing.T, w *world) (a, b *node)
		happen  func(w *world, a, b *node)
		bar     time.Duration
	}{
		{"the direct path is cut", directOne, func(w *world, a, b *node) { w.net.Partition(a.host, b.host) }, 150 * time.Millisecond},
		{"it is cut one way", directOne, func(w *world, a, b *node) { w.net.PartitionOneWay(a.host, b.host) }, 150 * time.Millisecond},
		{"the first of three relays dies", rows, killRelay(0), 300 * time.Millisecond},
		{"the second of three relays dies", rows, killRelay(1), 300 * time.Millisecond},
	} {
		t.Run(story.name, func(t *testing.T) {
			var gaps []time.Duration
			for seed := range *cuts {
				gaps = append(gaps, cutStory(t, seed, story.prepare, story.happen))
			}
			p95 := scenario.Quantile(gaps, 0.95)
			t.Logf("%d runs: no message for p50 %v, p95 %v, longest %v", len(gaps), scenario.Quantile(gaps, 0.5), p95, scenario.Quantile(gaps, 1))
			if p95 > story.bar {
				t.Errorf("p95 %v, want at most %v", p95, story.bar)
			}
		})
	}
}
