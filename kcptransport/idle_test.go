package kcptransport

import (
	"context"
	"flag"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/2xppg/xppg/internal/udp"
)

var idleNodes = flag.Int("idle", 8, "nodes of TestIdleCost, each linked to all others; 46 make 1,035 links")

// What a link costs that was used and then has nothing to do: memory, packets, time of the processor.
func TestIdleCost(t *testing.T) {
	t.Run("link", func(t *testing.T) { testIdleCost(t, 0, 4.2, func(w *world, l *Link) { w.wantEcho(l) }) })
	t.Run("NATs found to wait for a minute", func(t *testing.T) {
		testIdleCost(t, time.Minute, 2.2, func(w *world, l *Link) { w.wantEcho(l) })
	})
	t.Run("NATs found to wait for two minutes", func(t *testing.T) { // by package api
		testIdleCost(t, 103500*time.Millisecond, 1.3, func(w *world, l *Link) { w.wantEcho(l) })
	})
	t.Run("open stream", func(t *testing.T) {
		testIdleCost(t, 0, 4.2, func(w *world, l *Link) { w.wantEchoOn(w.open(l, "echo"), []byte("a message")) })
	})
	t.Run("after a megabyte", func(t *testing.T) {
		if *idleNodes > 20 {
			t.Skip("takes long")
		}
		testIdleCost(t, 0, 4.2, func(w *world, l *Link) { w.wantEchoOn(w.open(l, "echo"), make([]byte, 1<<20)) })
	})
}

// testIdleCost counts as packets of a link what both ends send, keepalives, their answers and renewals of keys. Two a minute
// from each end is the least that suits a NAT which forgets 30 s after what came from inside, and then a little more, to be early.
func testIdleCost(t *testing.T, pause time.Duration, most float64, use func(w *world, l *Link)) {
	quiet := 10 * time.Minute
	if *idleNodes > 20 {
		quiet = time.Hour
	}
	inWorld(t, 40*time.Millisecond, func(w *world) {
		var nodes []*node
		for i := range *idleNodes {
			n := w.node(byte(i + 1))
			n.SetKeepAlive(pause, 0)
			nodes = append(nodes, n)
			go func() {
				for {
					l, err := n.Accept(w.ctx)
					if err != nil {
						return
					}
					w.serveEcho(l)
				}
			}()
		}
		before, ends := memoryInUse(), 0
		for i, n := range nodes {
			for _, m := range nodes[i+1:] {
				use(w, n.dial(m))
				ends += 2
			}
		}
		w.sleep(3 * time.Minute)
		each := (memoryInUse() - before) / ends
		packets := func() (sum uint64) {
			for _, n := range nodes {
				for _, l := range n.Links() {
					sum += l.Stats().PacketsSent
				}
			}
			return sum
		}
		sent, start := packets(), processorTime()
		w.sleep(quiet)
		perMinute := float64(packets()-sent) / float64(ends/2) / quiet.Minutes()
		busy := processorTime() - start
		t.Logf("%d links: %.1f KiB for each end; in %v, %.2f packets a minute on each link, and %.2f s of processor time: %.2f %% of a core for 1,000 links",
			ends/2, float64(each)/1024, quiet, perMinute, busy.Seconds(), 100*busy.Seconds()/quiet.Seconds()*1000/float64(ends/2))
		for _, n := range nodes {
			if len(n.Links()) != len(nodes)-1 {
				t.Errorf("%d links are left", len(n.Links()))
			}
		}
		if each > 64<<10 || perMinute > most {
			t.Errorf("an idle link costs %d bytes and %.2f packets a minute; want 65,536 and %.1f", each, perMinute, most)
		}
	})
}

// BenchmarkIdleLinks leaves 1,035 links between 46 endpoints in this process, over real sockets, in peace for a minute.
func BenchmarkIdleLinks(b *testing.B) {
	ctx := context.Background()
	var nodes []*Endpoint
	for i := range 46 {
		conn, err := udp.Listen("127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		e, err := Listen(Config{Conn: conn, Identity: testIdentity(byte(i + 1)), App: "test"})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { e.Close() })
		go func() {
			for {
				if _, err := e.Accept(ctx); err != nil {
					return
				}
			}
		}()
		nodes = append(nodes, e)
	}
	before, links := memoryInUse(), 0
	for i, n := range nodes {
		for _, m := range nodes[i+1:] {
			if _, err := n.Dial(ctx, Dial{Peer: m.ID(), Addrs: []netip.AddrPort{m.LocalAddr()}}); err != nil {
				b.Fatal(err)
			}
			links++
		}
	}
	time.Sleep(20 * time.Second)
	each := float64(memoryInUse()-before) / 1024 / float64(2*links)
	for b.Loop() {
		busy := processorTime()
		time.Sleep(time.Minute)
		b.ReportMetric(each, "KiB/end")
		b.ReportMetric(100*(processorTime()-busy).Minutes()*1000/float64(links), "%core/1000links")
	}
}

// memoryInUse returns the bytes of heap and stacks in use.
func memoryInUse() int {
	runtime.GC()
	runtime.GC() // also what pools kept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}
