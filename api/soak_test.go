package api

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/netsim"
)

var (
	soakTime  = flag.Duration("soak", 20*time.Minute, "network time of the soak")
	soakNodes = flag.Int("soaknodes", 8, "nodes of the soak, a tenth as many relays beside them, at least two")
)

// soakPause returns the time between two faults: a minute, and more when there is much of it.
func soakPause() time.Duration { return max(time.Minute, *soakTime/288) }

// soakPatience is within what time two nodes that can be connected must be.
const soakPatience = 10 * time.Second

// soak is a mesh to which things happen.
type soak struct {
	*world
	random *rand.Rand
	relays []*node
	nodes  []*node
	moves  int
	asked  int

	mu    sync.Mutex
	worst time.Duration
}

// soakFault is a bad thing that happens to a node, and is over when it returns. From then on the node can be connected.
type soakFault struct {
	name   string
	relay  bool // it happens to a relay
	happen func(s *soak, n *node)
}

var soakFaultKinds = []soakFault{
	{"its NAT forgets", false, func(_ *soak, n *node) {
		n.router.Rebind()
		time.Sleep(30 * time.Second) // nobody can reach a node that is not told, until it sends something: keepalives do
	}},
	{"it moves", false, func(s *soak, n *node) {
		s.moves++
		nat := []string{"port-restricted", "symmetric", "full-cone"}[s.random.IntN(3)]
		n.moveBehind(fmt.Sprintf("20.%d.%d.1", 1+s.moves/250, s.moves%250), nat)
	}},
	{"its cable is out three times", false, func(s *soak, n *node) {
		for range 3 {
			d := time.Second + time.Duration(s.random.Int64N(int64(5*time.Second)))
			n.host.Unplug(d)
			time.Sleep(d + time.Second)
		}
	}},
	{"it leaves and comes back", false, func(s *soak, n *node) { s.stop(n, false) }},
	{"it crashes and comes back", false, func(s *soak, n *node) { s.stop(n, true) }},
	{"its cable is out", true, func(_ *soak, n *node) {
		n.host.Unplug(3 * time.Second)
		time.Sleep(3 * time.Second)
	}},
	{"it drains, leaves and comes back", true, func(s *soak, n *node) {
		n.DrainRelay(s.ctx(10 * time.Second))
		s.stop(n, false)
	}},
	{"it crashes and comes back", true, func(s *soak, n *node) { s.stop(n, true) }},
}

// stop has a node be away for 5 s to 5 minutes.
func (s *soak) stop(n *node, crash bool) {
	if crash {
		n.host.Crash()
	}
	if err := n.Close(); err != nil && !crash {
		s.t.Error(err)
	}
	time.Sleep(5*time.Second + time.Duration(s.random.Int64N(int64(5*time.Minute))))
	if crash {
		n.host.Start()
	}
	n.run()
}

// fault has one bad thing happen, and then everybody talk to whom it happened to.
func (s *soak) fault() {
	f := soakFaultKinds[s.random.IntN(len(soakFaultKinds))]
	of := s.nodes
	if f.relay {
		of = s.relays
	}
	n := of[s.random.IntN(len(of))]
	f.happen(s, n)
	after := fmt.Sprintf("of %s: %s", n.ID().Short(), f.name)
	pairs := s.pairsOf(n)
	for range 4 {
		pairs = append(pairs, [2]*node{s.nodes[s.random.IntN(len(s.nodes))], s.nodes[s.random.IntN(len(s.nodes))]})
	}
	s.check(after, pairs)
}

// pairsOf returns a node with each other one, in one order or the other.
func (s *soak) pairsOf(n *node) (pairs [][2]*node) {
	for _, o := range slices.Concat(s.nodes, s.relays) {
		if s.random.IntN(2) == 0 {
			pairs = append(pairs, [2]*node{n, o})
		} else {
			pairs = append(pairs, [2]*node{o, n})
		}
	}
	return pairs
}

// check has pairs talk at the same time: each must be able to within ten seconds.
func (s *soak) check(after string, pairs [][2]*node) {
	var all sync.WaitGroup
	for _, p := range pairs {
		if p[0] == p[1] {
			continue
		}
		s.asked++
		all.Go(func() {
			start := time.Now()
			err := talk(s.t.Context(), p[0], p[1])
			took := time.Since(start)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.worst = max(s.worst, took)
			if err != nil {
				s.t.Errorf("%v, %s: %s to %s: %v in %v", start.Sub(epoch), after, p[0].ID().Short(), p[1].ID().Short(), err, took)
			}
		})
	}
	all.Wait()
}

// talk tries to have a message taken in, again when a try fails, as long as patience lasts.
func talk(ctx context.Context, a, b *node) error {
	ctx, cancel := context.WithTimeout(ctx, soakPatience)
	defer cancel()
	for {
		_, err := a.Join(ctx, b.ID().String())
		if err == nil {
			err = a.SendText(ctx, "soak", b.ID())
		}
		if err == nil || !pause(ctx, 100*time.Millisecond) {
			return err
		}
	}
}

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // when bubbles begin

// A mesh of nodes behind all kinds of NATs and a few relays lives through faults, one after the other: everybody can talk to
// whom it happened within ten seconds after each, and nothing grows.
func TestSoak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSoak(t)
		time.Sleep(time.Minute)
		s.checkAll("at the start")
		var heaps, routines []int
		for end, next := time.Now().Add(*soakTime), time.Now(); time.Now().Before(end); time.Sleep(soakPause()) {
			if now := time.Now(); !now.Before(next) { // long after the last fault: what is held then is not on its way
				next = now.Add(*soakTime / 16)
				heap, n := memoryAndRoutines()
				heaps, routines = append(heaps, heap), append(routines, n)
				t.Logf("%v: heap %d KiB, %d goroutines, %d links, %d circuits, %d packets sent; %d pairs asked, the slowest took %v",
					now.Sub(epoch), heap, n, s.links(), s.circuits(), s.net.Stats().Sent, s.asked, s.worst)
			}
			s.fault()
		}
		s.checkAll("at the end")
		t.Logf("%d pairs asked, the slowest took %v", s.asked, s.worst)
		wantNoGrowth(t, "KiB of heap", heaps)
		wantNoGrowth(t, "goroutines", routines)
	})
}

func newSoak(t *testing.T) *soak {
	w := &world{t: t, net: netsim.New(netsim.Config{Seed: 1}), link: netsim.Link{Delay: 10 * time.Millisecond}}
	t.Cleanup(func() { _ = w.net.Close() })
	s := &soak{world: w, random: rand.New(rand.NewPCG(1, 2))}
	relays := max(2, *soakNodes/10)
	var join []string
	for i := range relays {
		join = append(join, fmt.Sprintf("20.0.0.%d:7337", i+1))
	}
	for i := range relays {
		others := slices.Delete(slices.Clone(join), i, i+1)
		s.relays = append(s.relays, w.public(func(c *Config) { c.Relay, c.Join = RelayOn, others }))
	}
	kinds := []string{"port-restricted", "symmetric", "full-cone", "linux", "address-restricted"}
	for i := range *soakNodes {
		s.nodes = append(s.nodes, w.behind(netsim.Presets[kinds[i%len(kinds)]], func(c *Config) { c.Join = join }))
	}
	return s
}

// checkAll has every pair talk.
func (s *soak) checkAll(when string) {
	var pairs [][2]*node
	for i, a := range s.nodes {
		for _, b := range s.nodes[i+1:] {
			pairs = append(pairs, [2]*node{a, b})
		}
	}
	s.check(when, pairs)
}

// wantNoGrowth looks at what was counted in the second and the last quarter of a long time: the first one is for filling pools.
func wantNoGrowth(t *testing.T, what string, counts []int) {
	quarter := len(counts) / 4
	if quarter < 3 {
		return
	}
	if before, after := slices.Max(counts[quarter:2*quarter]), slices.Max(counts[len(counts)-quarter:]); after > before+before/4 {
		t.Errorf("%s grow: %v", what, counts)
	}
}

func memoryAndRoutines() (kib, routines int) {
	runtime.GC()
	runtime.GC() // empties pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc >> 10), runtime.NumGoroutine()
}

func (s *soak) links() (n int) {
	for _, x := range s.nodes {
		n += len(x.Peers())
	}
	return n
}

func (s *soak) circuits() (n int) {
	for _, x := range s.nodes {
		pg := x.Playground
		pg.mu.Lock()
		for _, c := range pg.circuits {
			n += len(c)
		}
		pg.mu.Unlock()
	}
	return n
}
