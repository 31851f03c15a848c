package kcptransport

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// mixedDials is what TestDialsMixed does with two nodes: each dials the other one in all ways, gives dials up, closes links and is restarted.
type mixedDials struct {
	*world
	nodes   [2]*node
	boots   byte
	mu      sync.Mutex // guards the nodes' Endpoints and boots
	begin   time.Time
	cuts    bool
	history []string
}

func (x *mixedDials) note(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.history = append(x.history, fmt.Sprintf("%v ", time.Since(x.begin))+fmt.Sprintf(format, args...))
}

// endpoint returns that of a node now.
func (x *mixedDials) endpoint(i int) *Endpoint {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.nodes[i].Endpoint
}

// line is the way by an introducer between two nodes, whatever their endpoints are by now.
type mixedLine struct {
	x    *mixedDials
	to   int
	slow time.Duration
}

func (l mixedLine) Send(packet []byte) error {
	packet = append([]byte(nil), packet...)
	time.AfterFunc(l.slow, func() { l.x.endpoint(l.to).HandleSignal(packet, mixedLine{l.x, 1 - l.to, l.slow}) })
	return nil
}

// dial is one call of Dial by node i.
func (x *mixedDials) dial(i int, how int, slow, limit time.Duration) error {
	e, other := x.endpoint(i), x.nodes[1-i]
	ctx, cancel := context.WithTimeout(x.ctx, limit)
	defer cancel()
	d := Dial{Peer: other.cfg.Identity.ID()}
	if how != 1 {
		d.Addrs = []netip.AddrPort{other.addr()}
	}
	if how == 0 {
		d.Peer = PeerID{}
	}
	if how == 1 || how == 2 {
		d.Signal = mixedLine{x, 1 - i, slow}
	}
	l, err := e.Dial(ctx, d)
	if err == nil {
		x.note("%d: dialled (%d, limit %v): %v", i, how, limit, l.local)
	} else {
		x.note("%d: dialled (%d, limit %v) %v", i, how, limit, err)
	}
	return err
}

// restart ends the endpoint of node i and begins another one with the same identity at the same address.
func (x *mixedDials) restart(i int) {
	old := x.endpoint(i)
	old.Close()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.boots++
	x.nodes[i].start(x.boots)
}

// Whatever two nodes do with each other, in the end both have the same link, as soon as one of them has called once more: dials in all ways,
// many given up, links closed, nodes restarted with the same identity, the way cut for longer than links last, packets lost.
func TestDialsMixed(t *testing.T) {
	for seed := range uint64(60) {
		inSeededWorld(t, seed, 60*time.Millisecond, func(w *world) {
			random := rand.New(rand.NewPCG(seed, 2))
			x := &mixedDials{world: w, boots: 10, begin: time.Now()}
			w.link.Loss = []float64{0, 0, 0.05, 0.15}[seed%4]
			if x.cuts = seed%8 >= 4; x.cuts {
				w.link.Loss /= 5 // links end soon
			}
			var change []func(*Config)
			for i := range 2 {
				change = append(change, func(c *Config) {
					if !x.cuts {
						return
					}
					c.DeadAfter = 1500 * time.Millisecond
					c.OnTrouble = func(*Link) {
						x.mu.Lock()
						slow, limit := 20*time.Millisecond+time.Duration(random.IntN(200))*time.Millisecond, time.Duration(random.IntN(1500))*time.Millisecond
						x.mu.Unlock()
						x.dial(i, 1, slow, limit)
					}
				})
			}
			x.nodes = [2]*node{w.node(1, change[0]), w.node(2, change[1])}
			for i := range x.nodes {
				go func() { // streams are used as soon as there is a link
					for seen := map[*Link]bool{}; w.ctx.Err() == nil; w.sleep(5 * time.Millisecond) {
						for _, l := range x.endpoint(i).Links() {
							if _, ok := l.Path(); !ok { // as who dials with a Signal does
								l.Probe(Path{Addr: x.nodes[1-i].addr()}, 0)
							}
							if !seen[l] {
								seen[l] = true
								x.note("%d has link %v", i, l.local)
								go func() { <-l.Done(); x.note("%d: link %v ended: %v", i, l.local, l.Err()) }()
								w.serveEcho(l)
								go echoes(w.ctx, l)
							}
						}
					}
				}()
			}
			var wg sync.WaitGroup
			for i := range x.nodes {
				random := rand.New(rand.NewPCG(seed, uint64(3+i)))
				ms := func(n int) time.Duration { return time.Duration(random.IntN(n)) * time.Millisecond }
				wg.Go(func() {
					for range 3 + random.IntN(6) {
						w.sleep(ms(150))
						switch n := random.IntN(20); {
						case n < 12:
							how, slow, limit := random.IntN(4), 20*time.Millisecond+ms(60), ms(300)
							if random.IntN(2) == 0 {
								x.dial(i, how, slow, limit)
							} else {
								wg.Go(func() { x.dial(i, how, slow, limit) })
							}
						case n < 15:
							for _, l := range x.endpoint(i).Links() {
								x.note("%d: closes %v", i, l.local)
								l.CloseWithError(7, "")
							}
						case n < 17:
							for _, l := range x.endpoint(i).Links() {
								x.note("%d: closes %v gently", i, l.local)
								l.Close()
							}
						case n < 18 && x.cuts:
							x.note("%d: the way is cut", i)
							x.net.Partition(x.nodes[0].host, x.nodes[1].host)
							w.sleep(500*time.Millisecond + ms(1500))
							x.net.Heal(x.nodes[0].host, x.nodes[1].host)
							x.note("%d: no longer", i)
						case n < 19:
							x.note("%d: restarts", i)
							x.restart(i)
						}
					}
				})
			}
			wg.Wait()
			x.note("through")
			for range 2 {
				x.mu.Lock()
				how := 2 + random.IntN(2)
				x.mu.Unlock()
				for i := range x.nodes {
					if !x.cuts || seed%3 != uint64(i) {
						wg.Go(func() { x.dial(i, how, 30*time.Millisecond, 10*time.Second) })
					}
				}
				wg.Wait()
				w.sleep(45 * time.Second)
			}
			fail := func(format string, args ...any) {
				t.Helper()
				t.Errorf("seed %d: "+format, append([]any{seed}, args...)...)
			}
			for i := range x.nodes {
				if n := len(x.endpoint(i).Links()); n != 1 {
					fail("%d has %d links", i, n)
					continue
				}
				ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
				if err := echoes(ctx, x.endpoint(i).Links()[0]); err != nil {
					fail("the two sides do not have the same link: %v", err)
				}
				cancel()
			}
			if t.Failed() {
				x.mu.Lock()
				t.Logf("seed %d:\n%s", seed, strings.Join(x.history, "\n"))
				x.mu.Unlock()
			}
		})
		if t.Failed() {
			return
		}
	}
}
