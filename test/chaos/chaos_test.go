package chaos

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/api"
	"github.com/2xppg/xppg/internal/leaks"
	"github.com/2xppg/xppg/internal/scenario"
)

var (
	nodes   = flag.Int("nodes", 8, "in each run, 4 at least")
	minutes = flag.Int("minutes", 2, "of network in each run")
	seeds   = flag.Int("seeds", 1, "runs")
	seed    = flag.Uint64("seed", 1, "of the first run")
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

const (
	sendTimeout = 40 * time.Second
	calmTime    = 90 * time.Second // after the last fault began, until everything must work: a minute of it, and the time to find each other again
	settleTime  = 3 * time.Minute  // after the last fault began, until nobody talks any more
	grace       = 5 * time.Second  // for a message to be handled after it was taken in
)

func TestChaos(t *testing.T) {
	for i := range *seeds {
		s := *seed + uint64(i)
		t.Run(fmt.Sprintf("seed %d", s), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { run(t, s) })
		})
	}
}

// run is one hour, or however long it is to be.
func run(t *testing.T, seed uint64) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := newWorld(ctx, t, seed)
	defer w.close()
	<-time.After(30 * time.Second) // until they know each other
	began := time.Now()
	end := began.Add(time.Duration(*minutes) * time.Minute)
	var mu sync.Mutex
	happened := map[string]int{}
	var all sync.WaitGroup
	talkers := make([]*talker, len(w.nodes))
	for i, n := range w.nodes {
		talkers[i] = &talker{node: n, sent: map[from]uint64{}, failed: map[string]int{}, r: rand.New(rand.NewPCG(seed, uint64(i)))}
		all.Go(func() { talkers[i].talk(t, end) })
		all.Go(func() {
			w.wreck(n, rand.New(rand.NewPCG(seed, uint64(1000+i))), end, func(name string) {
				mu.Lock()
				defer mu.Unlock()
				happened[name]++
			})
		})
	}
	all.Wait()
	<-time.After(grace)
	for _, name := range slices.Sorted(maps.Keys(happened)) {
		t.Logf("%3d times: %s", happened[name], name)
	}
	sent, lost, failed, calm, refused := 0, 0, map[string]int{}, 0, 0
	for _, k := range talkers {
		sent += k.tried
		calm, refused = calm+k.calm, refused+k.refused
		lost += k.check(t)
		for why, n := range k.failed {
			failed[why] += n
		}
	}
	t.Logf("%d messages of %d nodes in %v, %d lost; not taken in: %v", sent, len(w.nodes), end.Sub(began), lost, failed)
	if refused > 0 {
		t.Errorf("%d of %d messages were not taken in long after the last fault", refused, calm)
	}
	w.checkReachable(t)
}

// talker sends numbered messages from one node to others, one after the other.
type talker struct {
	node   *node
	r      *rand.Rand
	sent   map[from]uint64 // to each node in the present run: the latest number
	run    int
	tried  int
	failed map[string]int // by reason
	taken  []delivery

	calm, refused int // messages when all must work, and those of them that were not taken in
}

// delivery is a message that its sender was told was taken in.
type delivery struct {
	message
	began, ended time.Time
}

// talk talks until some time after the last fault, which begins before end.
func (k *talker) talk(t *testing.T, end time.Time) {
	others := slices.DeleteFunc(slices.Clone(k.node.w.nodes), func(to *node) bool { return to == k.node })
	for time.Now().Before(end.Add(settleTime)) {
		<-time.After(time.Duration(200+k.r.IntN(4000)) * time.Millisecond)
		to := others[k.r.IntN(len(others))]
		pg, run := k.node.playground()
		if k.node.down() {
			continue
		}
		if run != k.run {
			clear(k.sent)
			k.run = run
		}
		key := from{node: to.number}
		k.sent[key]++
		k.tried++
		if time.Now().After(end.Add(calmTime)) {
			k.calm++
		}
		d := delivery{message: message{from: from{k.node.number, run}, to: key, number: k.sent[key]}, began: time.Now()}
		ctx, cancel := context.WithTimeout(k.node.w.ctx, sendTimeout)
		err := pg.Send(ctx, "number", payload{k.node.number, run, d.number}, to.id)
		cancel()
		if d.ended = time.Now(); err == nil {
			k.taken = append(k.taken, d)
			continue
		}
		k.failed[reason(err)]++
		if d.began.After(end.Add(calmTime)) {
			k.refused++
			t.Logf("node %d (%s) to node %d (%s), %v after the last fault: %v",
				k.node.number, k.node.kind(), to.number, to.kind(), d.began.Sub(end), err)
		}
	}
}

// reason says in a word why a message was not taken in.
func reason(err error) string {
	switch {
	case errors.Is(err, api.ErrNotConnected):
		return "no link"
	case errors.Is(err, api.ErrClosed):
		return "its sender crashed"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	return "the link ended"
}

// check returns how many messages were taken in and never handled, although the receiver did not crash.
func (k *talker) check(t *testing.T) (lost int) {
	for _, d := range k.taken {
		to := k.node.w.nodes[d.to.node]
		if to.has(d.message) || slices.ContainsFunc(to.crashes(), func(at time.Time) bool {
			return at.After(d.began.Add(-grace)) && at.Before(d.ended.Add(grace))
		}) {
			continue
		}
		lost++
		t.Errorf("message %d of node %d, run %d, was taken in by node %d and never handled", d.number, d.from.node, d.from.run, d.to.node)
	}
	return lost
}

// has reports whether any run of the node handled a message.
func (n *node) has(m message) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for run := 1; run <= n.run; run++ {
		if m.to.run = run; n.got[m] {
			return true
		}
	}
	return false
}

// crashes returns when the node crashed.
func (n *node) crashes() []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.falls)
}

// kind returns the kind of place of a node, as package scenario calls it.
func (n *node) kind() string {
	if n.nat == "" {
		return scenario.Open
	}
	return n.nat
}

// checkReachable has every pair of nodes connect.
func (w *world) checkReachable(t *testing.T) {
	var all sync.WaitGroup
	for i, a := range w.nodes {
		all.Go(func() {
			for _, b := range w.nodes[i+1:] {
				ctx, cancel := context.WithTimeout(w.ctx, 2*time.Minute)
				pg, _ := a.playground()
				_, err := pg.Join(ctx, b.id.String())
				cancel()
				if err != nil {
					t.Errorf("node %d (%s) does not reach node %d (%s): %v", a.number, a.kind(), b.number, b.kind(), err)
				}
			}
		})
	}
	all.Wait()
}
