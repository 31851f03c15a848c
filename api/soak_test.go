package api

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/netsim"
)

var (
	soakTime   = flag.Duration("soak", 20*time.Minute, "network time of the soak")
	soakNodes  = flag.Int("soaknodes", 8, "nodes of the soak, a tenth as many relays beside them, at least two")
	soakFaults = time.Minute // between two faults
)

// soak is a mesh to which things happen.
type soak struct {
	*world
	random *rand.Rand
	relays []*node
	nodes  []*node
	moves  int
	failed []string
}

// fault does one bad thing and returns when it is over.
func (s *soak) fault() string {
	n := s.nodes[s.random.IntN(len(s.nodes))]
	switch s.random.IntN(4) {
	case 0:
		n.router.Rebind()
		time.Sleep(30 * time.Second) // nobody can reach a node that is not told, until it sends something: keepalives do
		return "a NAT forgets"
	case 1:
		s.moves++
		nat := []string{"port-restricted", "symmetric", "full-cone"}[s.random.IntN(3)]
		n.moveBehind(fmt.Sprintf("20.1.%d.%d", s.moves/250, 1+s.moves%250), nat)
		return "a node moves"
	case 2:
		n.host.Unplug(5 * time.Second)
		time.Sleep(5 * time.Second)
		return "a cable is out for 5 s"
	default:
		r := s.relays[s.random.IntN(len(s.relays))]
		r.host.Unplug(3 * time.Second)
		time.Sleep(3 * time.Second)
		return "a relay is away for 3 s"
	}
}

// check has pairs chosen at random talk: each must be able to within ten seconds.
func (s *soak) check(after string) {
	for range 4 {
		a, b := s.nodes[s.random.IntN(len(s.nodes))], s.nodes[s.random.IntN(len(s.nodes))]
		if a == b {
			continue
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
		_, err := a.Join(ctx, b.ID().String())
		if err == nil {
			err = a.SendText(ctx, "soak", b.ID())
		}
		cancel()
		if err != nil {
			s.failed = append(s.failed, fmt.Sprintf("%v after %q: %v in %v", start.Sub(epoch), after, err, time.Since(start)))
		}
	}
}

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // when bubbles begin

// A mesh of nodes behind all kinds of NATs and a few relays lives through faults, one after the other: any two can talk
// within ten seconds after each, and nothing grows.
func TestSoak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: netsim.New(netsim.Config{Seed: 1}), link: netsim.Link{Delay: 10 * time.Millisecond}}
		t.Cleanup(func() { _ = w.net.Close() })
		s := &soak{world: w, random: rand.New(rand.NewPCG(1, 2))}
		for range max(2, *soakNodes/10) {
			r := w.public(func(c *Config) { c.Relay = RelayOn })
			if len(s.relays) > 0 {
				r.meet(s.relays[0])
			}
			s.relays = append(s.relays, r)
		}
		join := make([]string, len(s.relays))
		for i, r := range s.relays {
			join[i] = r.addr
		}
		kinds := []string{"port-restricted", "symmetric", "full-cone", "linux", "address-restricted"}
		for i := range *soakNodes {
			s.nodes = append(s.nodes, w.behind(netsim.Presets[kinds[i%len(kinds)]], func(c *Config) { c.Join = join }))
		}
		time.Sleep(time.Minute)
		s.check("the start")
		var heaps []uint64
		goroutines := 0
		for end, next := time.Now().Add(*soakTime), time.Now(); time.Now().Before(end); time.Sleep(soakFaults) {
			s.check(s.fault())
			if now := time.Now(); !now.Before(next) {
				next = now.Add(*soakTime / 8)
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				heaps, goroutines = append(heaps, m.HeapAlloc>>10), runtime.NumGoroutine()
				t.Logf("%v: heap %d KiB, %d goroutines, %d links, %d circuits", now.Sub(epoch), m.HeapAlloc>>10, goroutines, s.links(), s.circuits())
			}
		}
		for _, f := range s.failed {
			t.Error(f)
		}
		if n := len(heaps); n > 4 && heaps[n-1] > 2*slices.Max(heaps[:n/2]) {
			t.Errorf("memory grows: %v KiB", heaps)
		}
	})
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
