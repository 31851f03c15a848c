package scenario

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/netsim"
	"github.com/2xppg/xppg/relaymesh"
)

var crowdPairs = flag.Int("pairs", 50, "of TestCrowd, up to 2,000")

// crowd is many nodes, each behind a NAT of its own, with links to one introducer.
type crowd struct {
	t     *testing.T
	net   *netsim.Network
	r     *node
	rAddr netip.AddrPort
	homes int
	nodes []*node
}

// place returns a new home.
func (c *crowd) place() Place {
	c.homes++
	hi, lo := byte(c.homes>>8), byte(c.homes)
	home := c.net.NewSegment(fmt.Sprint("home ", c.homes))
	router := c.net.NewRouter(fmt.Sprint("router ", c.homes), netsim.RouterConfig{
		Outside: c.net.Internet(), OutsideAddrs: []netip.Addr{netip.AddrFrom4([4]byte{20, 1, hi, lo})}, Inside: home,
		NAT: netsim.Presets["port-restricted"], Link: netsim.Link{Delay: 15 * time.Millisecond, Loss: 0.01, Hops: 2},
	})
	p := Place{Host: c.net.NewHost(fmt.Sprint("host ", c.homes), home, netsim.Link{}, netip.MustParseAddr("192.168.1.2")), Router: router}
	return c.listen(p)
}

func (c *crowd) listen(p Place) Place {
	var err error
	if p.Conn, err = p.Host.ListenUDP(p.local()); err != nil {
		c.t.Fatal(err)
	}
	return p
}

// node starts a node and connects it to the introducer.
func (c *crowd) node(p Place) (*node, *kcptransport.Link) {
	n, err := newNode(p, nodeConfig{seed: uint64(c.homes) << 8})
	if err != nil {
		c.t.Fatal(err)
	}
	c.nodes = append(c.nodes, n)
	if c.r == nil {
		return n, nil
	}
	n.discover(c.t.Context(), p.Addrs(), []netip.Addr{c.rAddr.Addr()})
	link, err := n.join(c.t.Context(), c.r.ep.ID(), c.rAddr)
	if err != nil {
		c.t.Fatal(err)
	}
	return n, link
}

// Thousands meet through one introducer at the same moment, while somebody asks it for more than it gives: all get their
// direct paths, and nobody but the greedy one is refused.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{t: t, net: netsim.New(netsim.Config{Seed: 1})}
		host := c.net.NewHost("introducer", c.net.Internet(), netsim.Link{}, introducerAddrs[0])
		c.rAddr = netip.AddrPortFrom(introducerAddrs[0], port)
		c.r, _ = c.node(c.listen(Place{Host: host}))
		c.r.serve(func(*kcptransport.Link) {})
		ctx := t.Context()
		var mu sync.Mutex
		var took []time.Duration
		punched := func(name string, n *node, link *kcptransport.Link, began time.Time) {
			side := n.punch(ctx, link, began)
			mu.Lock()
			defer mu.Unlock()
			if took = append(took, time.Since(began)); !side.Direct {
				t.Errorf("%s: %v", name, side.Err)
			}
		}
		var all sync.WaitGroup
		start := make(chan struct{})
		for i := range *crowdPairs {
			b, _ := c.node(c.place())
			b.serve(func(l *kcptransport.Link) { punched(fmt.Sprint("called ", i), b, l, time.Now()) })
			a, introducer := c.node(c.place())
			all.Go(func() {
				<-start
				began := time.Now()
				link, err := a.call(ctx, introducer, b.ep.ID())
				if err != nil {
					t.Errorf("caller %d: %v", i, err)
					return
				}
				punched(fmt.Sprint("caller ", i), a, link, began)
			})
		}
		_, introducer := c.node(c.place())
		asked, refused := 0, 0
		all.Go(func() {
			<-start
			for ; asked < 1000; asked++ {
				all.Go(func() {
					if knock(ctx, introducer, c.nodes[1].ep.ID()) {
						return
					}
					mu.Lock()
					defer mu.Unlock()
					refused++
				})
				time.Sleep(5 * time.Millisecond)
			}
		})
		close(start)
		all.Wait()
		time.Sleep(40 * time.Second) // longer than any introduction lasts
		stats := c.r.intro.Stats()
		if len(took) != 2**crowdPairs || stats.Active != 0 {
			t.Errorf("%d of %d sides are through, %d introductions are left", len(took), 2**crowdPairs, stats.Active)
		}
		told := int(stats.Refused[relaymesh.RefusedRate] + stats.Refused[relaymesh.RefusedBusy])
		if most := 64 + 2*5 + 1; asked-told > most || refused > told || refused < told*99/100 { // a refusal may be lost, and late
			t.Errorf("greedy: asked %d times, was told %d refusals and heard %d, want at most %d introductions; refused in all: %v",
				asked, told, refused, most, stats.Refused)
		}
		t.Logf("%d pairs: call to direct path p50 %v, longest %v; greedy: asked %d times, refused %d times",
			*crowdPairs, Quantile(took, 0.5), Quantile(took, 1), asked, refused)
		for _, n := range c.nodes {
			if err := n.close(); err != nil {
				t.Error(err)
			}
		}
		if err := c.net.Close(); err != nil {
			t.Error(err)
		}
	})
}

// knock asks for an introduction and hangs up. It reports whether it was given.
func knock(ctx context.Context, introducer *kcptransport.Link, target kcptransport.PeerID) bool {
	ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	channel, err := introduce(ctx, introducer, target)
	if err == nil {
		hangUp := context.AfterFunc(ctx, func() { _ = channel.Close() })
		defer hangUp()
		_, err = channel.Recv()
		_ = channel.Close()
	}
	return !errors.As(err, new(*relaymesh.RefusedError))
}
