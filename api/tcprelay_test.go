package api

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/internal/scenario"
	"github.com/2xppg/xppg/netsim"
)

// tcpCase is a peer that comes to a relay by TCP or WebSocket, and the link of its network, which is the narrowest.
type tcpCase struct {
	kind    string
	rtt     time.Duration
	mbits   int
	queue   time.Duration // of the link
	pairs   int           // that share it
	goodput float64       // of the link, at least
	wait    time.Duration // that small messages take longer, p95, at most
}

// newByTCP makes a relay, a peer that comes to it by TCP or WebSocket, and others of which each makes a pair with it.
func newByTCP(t *testing.T, c tcpCase) *row {
	t.Helper()
	w := &world{t: t, net: netsim.New(netsim.Config{Seed: 1}), link: netsim.Link{Delay: c.rtt / 8}}
	t.Cleanup(func() { _ = w.net.Close() })
	r := &row{world: w}
	r.relays[0] = w.public(relays, listens)
	b := w.blocked("udp-blocked")
	ip := netip.MustParseAddrPort(r.relays[0].addr).Addr().String()
	b.join(map[string]string{"tcp": "tcp://" + ip + ":7337", "ws": "ws://" + ip + ":443/xppg"}[c.kind])
	for range c.pairs {
		a := w.behind(netsim.Presets["symmetric"], noMesh)
		a.meet(r.relays[0])
		r.pairs = append(r.pairs, [2]*node{a, b})
	}
	time.Sleep(3 * time.Second)
	for _, p := range r.pairs {
		p[0].join(b.ID().String())
	}
	rate := int64(c.mbits) * 1_000_000
	b.router.SetLink(netsim.Link{Hops: 2}, netsim.Link{Hops: 2, Rate: rate, Queue: int(c.queue.Seconds() * float64(rate) / 8)})
	return r
}

func tcpStory(t *testing.T, c tcpCase, lasts time.Duration) (res slowResult) {
	synctest.Test(t, func(t *testing.T) { res = newByTCP(t, c).floods(rowTick, c.mbits*1_000_000, lasts) })
	return res
}

// tcpStories are all of them, the ones for every run first.
func tcpStories() []tcpCase {
	short, long := 10*time.Millisecond, 80*time.Millisecond
	stories := []tcpCase{
		{"tcp", short, 8, 20 * time.Millisecond, 4, 0.85, 110 * time.Millisecond},
		{"ws", short, 8, 20 * time.Millisecond, 4, 0.85, 110 * time.Millisecond},
		{"tcp", short, 8, 20 * time.Millisecond, 1, 0.85, 20 * time.Millisecond},
		{"tcp", short, 100, 20 * time.Millisecond, 1, 0.85, 20 * time.Millisecond},
		{"tcp", long, 8, 100 * time.Millisecond, 1, 0.85, 20 * time.Millisecond},
		{"tcp", long, 50, 100 * time.Millisecond, 1, 0.85, 20 * time.Millisecond},
		{"tcp", long, 50, 100 * time.Millisecond, 4, 0.85, 30 * time.Millisecond},
		{"tcp", short, 8, 400 * time.Millisecond, 4, 0.85, 250 * time.Millisecond}, // the link's queue is not ours
	}
	if *slowTime == 0 {
		return stories[:4]
	}
	return stories
}

// Streams by way of a relay to a peer that comes by TCP, over a link that is the narrowest. What its connection does not take waits at
// the relay, which tells the senders.
func TestTCPRelay(t *testing.T) {
	for _, c := range tcpStories() {
		t.Run(fmt.Sprintf("%s, %v, %d Mbit-s, queue of %v, %d pairs", c.kind, c.rtt, c.mbits, c.queue, c.pairs), func(t *testing.T) {
			res := tcpStory(t, c, max(*slowTime, slowShort))
			t.Logf("goodput %.3f of the link; %.2f %% dropped (%d), %.1f %% marked; small messages: %s", res.goodput,
				100*res.drops, res.overflow, 100*res.marks, added(res.took, res.idle))
			if wait := scenario.Quantile(res.took, 0.95) - res.idle; wait > c.wait {
				t.Errorf("small messages take %v longer", wait)
			}
			if res.goodput < c.goodput || res.drops > slowDrops {
				t.Errorf("goodput %.3f of the link, %.2f %% dropped", res.goodput, 100*res.drops)
			}
		})
	}
}
