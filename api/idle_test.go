package api

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
	"github.com/2xppg/xppg/stunclient"
)

// The tests of NATs settle in few steps, and the pause is never longer than a mapping lives.
func TestIdleWaits(t *testing.T) {
	for _, c := range []struct {
		lives, pause time.Duration // 0: as long as by default
		tests        int
	}{
		{5 * time.Second, 10 * time.Second / 3, 5},
		{15 * time.Second, 9 * time.Second, 5},
		{20 * time.Second, 16200 * time.Millisecond, 4},
		{30 * time.Second, 0, 3},
		{40 * time.Second, 0, 3},
		{60 * time.Second, 40500 * time.Millisecond, 2},
		{90 * time.Second, 58500 * time.Millisecond, 2},
		{120 * time.Second, 103500 * time.Millisecond, 2},
		{time.Hour, 103500 * time.Millisecond, 2},
	} {
		var known stunclient.Lifetime
		tests := 0
		for wait, more := nextIdleWait(known); more; wait, more = nextIdleWait(known) {
			if tests++; wait < c.lives {
				known.Min = wait
			} else {
				known.Max = wait
			}
		}
		if got := idlePause(known); got != c.pause || tests != c.tests {
			t.Errorf("%v: a pause of %v after %d tests (%+v), want %v after %d", c.lives, got, tests, known, c.pause, c.tests)
		}
	}
}

// idleNAT forgets some time after the last packet from inside.
func idleNAT(timeout time.Duration) netsim.NAT {
	return netsim.NAT{Filtering: netsim.AddressAndPortDependent, Ports: netsim.RandomPorts, Timeout: timeout}
}

// idler starts a node that measures: behind a NAT with a timeout, or without any when that is 0.
func (w *world) idler(timeout time.Duration, change ...func(*Config)) *node {
	w.t.Helper()
	var h *netsim.Host
	var addr string
	if timeout > 0 {
		h, _ = w.home(idleNAT(timeout))
	} else {
		w.places++
		ip := netip.AddrFrom4([4]byte{20, 0, 0, byte(w.places)})
		h, addr = w.net.NewHost(fmt.Sprint("public", w.places), w.net.Internet(), w.link, ip), netip.AddrPortFrom(ip, 7337).String()
	}
	spares := func(c *Config) {
		c.SpareSocket = func() (stunclient.Socket, error) { return h.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 0)) }
	}
	n := w.start(h, append([]func(*Config){noMesh, spares}, change...))
	n.addr = addr
	return n
}

// moveTo moves a node behind another router.
func (n *node) moveTo(outside string, nat netsim.NAT) {
	home, _ := n.w.network(n.w.net.Internet(), outside, nat, netsim.Link{Hops: 2})
	n.host.Move(home, netip.MustParseAddr("10.0.0.5"))
	n.NetworkChanged()
}

// perMinute counts what both ends of the links between nodes send in a time, in packets a minute.
func (w *world) perMinute(d time.Duration, a, b *node) float64 {
	sent := func() uint64 {
		return a.ep.Link(b.ID()).Stats().PacketsSent + b.ep.Link(a.ID()).Stats().PacketsSent
	}
	before := sent()
	time.Sleep(d)
	return float64(sent()-before) / d.Minutes()
}

// Two nodes without anything to say keep their link for hours with as few packets as their NATs allow, and what they have to say
// then arrives at once.
func TestIdleLinks(t *testing.T) {
	const second = time.Second
	kinds := []time.Duration{20 * second, 30 * second, 60 * second, 120 * second, 0}
	// Packets a minute, at most, with the shorter-lived of the two: peer records, renewed each 20 minutes, are among them.
	most := map[time.Duration]float64{20 * second: 8.1, 30 * second: 4.7, 60 * second: 3.6, 120 * second: 1.8, 0: 1.8}
	for i, x := range kinds {
		for _, y := range kinds[i:] {
			t.Run(fmt.Sprintf("%v and %v", x, y), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					helper := w.idler(0)
					a, b := w.idler(x), w.idler(y)
					a.meet(helper)
					b.meet(helper)
					a.join(b.ID().String())
					w.eventually("a direct path", 15*time.Second, func() bool {
						info, ok := b.PathTo(a.ID())
						return ok && info.Direct
					})
					time.Sleep(8 * time.Minute)
					la, lb := a.ep.Link(b.ID()), b.ep.Link(a.ID())
					changes := la.Stats().PathChanges + lb.Stats().PathChanges
					for _, ends := range [][2]*node{{a, b}, {b, a}} {
						n := w.perMinute(2*time.Hour, a, b)
						if n > most[x] {
							t.Errorf("%.2f packets a minute", n)
						}
						t.Logf("%.2f packets a minute", n)
						start := time.Now()
						if err := ends[0].SendText(w.ctx(10*time.Second), "good morning", ends[1].ID()); err != nil {
							t.Fatal(err)
						}
						if took := time.Since(start); took > 100*time.Millisecond { // there and back it is 60 ms
							t.Errorf("it took %v", took)
						}
					}
					if a.ep.Link(b.ID()) != la || b.ep.Link(a.ID()) != lb || la.Stats().PathChanges+lb.Stats().PathChanges != changes {
						t.Error("the link did not stay as it was")
					}
				})
			})
		}
	}
}

// A NAT that forgets after five seconds is held open as well, and who is behind it is reached at once.
func TestIdleBehindHastyNAT(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		helper := w.idler(0)
		a := w.idler(5 * time.Second)
		a.meet(helper)
		time.Sleep(8 * time.Minute)
		l := helper.ep.Link(a.ID())
		for range 20 {
			time.Sleep(time.Minute + 1700*time.Millisecond) // at some time between two keepalives
			start := time.Now()
			if err := helper.SendText(w.ctx(10*time.Second), "are you there?", a.ID()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took > 100*time.Millisecond { // there and back it is 60 ms
				t.Errorf("it took %v", took)
			}
		}
		if helper.ep.Link(a.ID()) != l {
			t.Error("the link did not stay as it was")
		}
		if n := w.perMinute(time.Hour, a, helper); n > 40 {
			t.Errorf("%.1f packets a minute", n)
		}
	})
}

// Nodes that others reach by IPv6 are quiet for long there; who was reached by nobody is not.
func TestIdleByIPv6(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		six := func() *node {
			w.places++
			ip := netip.AddrFrom16([16]byte{0x26, 0, 15: byte(w.places)})
			n := w.start(w.net.NewHost(fmt.Sprint("six", w.places), w.net.Internet(), w.link, ip), []func(*Config){noMesh})
			n.addr = netip.AddrPortFrom(ip, 7337).String()
			return n
		}
		a, b, c := six(), six(), six()
		b.meet(a)
		c.meet(b)
		time.Sleep(15 * time.Minute)
		if n := w.perMinute(time.Hour, a, b); n > 1.8 {
			t.Errorf("%.2f packets a minute between nodes that others reach", n)
		}
		if n := w.perMinute(time.Hour, b, c); n < 4 || n > 4.7 {
			t.Errorf("%.2f packets a minute where one may be behind a filter", n)
		}
	})
}

// The NAT is tested anew after a day: routers are replaced. The pause stays what it was until something else is known.
func TestIdleAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		helper := w.idler(0)
		var opened atomic.Int32
		a := w.idler(120*time.Second, func(c *Config) {
			open := c.SpareSocket
			c.SpareSocket = func() (stunclient.Socket, error) { opened.Add(1); return open() }
		})
		a.meet(helper)
		time.Sleep(20 * time.Hour)
		if opened.Load() != 2 {
			t.Errorf("%d spare sockets in the first hours, want 2", opened.Load())
		}
		time.Sleep(5 * time.Hour)
		if opened.Load() != 4 {
			t.Errorf("%d spare sockets after a day, want 4", opened.Load())
		}
		if n := w.perMinute(time.Hour, a, helper); n > 1.7 {
			t.Errorf("%.2f packets a minute", n)
		}
	})
}

// A node that was told a pause keeps to it and tests nothing.
func TestKeepAliveOfOnesOwn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		helper := w.idler(0)
		var opened atomic.Int32
		a := w.idler(120*time.Second, func(c *Config) {
			c.KeepAlive = 20 * time.Second
			open := c.SpareSocket
			c.SpareSocket = func() (stunclient.Socket, error) { opened.Add(1); return open() }
		})
		a.meet(helper)
		time.Sleep(10 * time.Minute)
		if n := w.perMinute(time.Hour, a, helper); n < 5.9 || n > 6.5 || opened.Load() > 0 {
			t.Errorf("%.2f packets a minute, %d spare sockets", n, opened.Load())
		}
	})
}

// What was measured counts for one network. In another one it is measured anew.
func TestIdleInAnotherNetwork(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		helper := w.idler(0)
		a := w.idler(120 * time.Second)
		a.meet(helper)
		time.Sleep(8 * time.Minute)
		if n := w.perMinute(time.Hour, a, helper); n > 1.7 {
			t.Errorf("%.2f packets a minute", n)
		}
		a.moveTo("20.0.9.1", idleNAT(30*time.Second))
		time.Sleep(8 * time.Minute)
		if n := w.perMinute(time.Hour, a, helper); n < 4 || n > 4.7 {
			t.Errorf("%.2f packets a minute where the NAT forgets after 30 s", n)
		}
		a.moveTo("20.0.9.2", idleNAT(120*time.Second))
		time.Sleep(8 * time.Minute)
		if n := w.perMinute(time.Hour, a, helper); n > 1.7 {
			t.Errorf("%.2f packets a minute", n)
		}
	})
}

// Nobody has others send packets to somebody else, nor to places that are not public.
func TestKnockOfStrangers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		helper, third, n := w.public(noMesh), w.public(noMesh), w.public(noMesh)
		n.meet(helper)
		third.meet(helper)
		for _, addr := range []string{third.addr, "192.168.1.1:7337", "127.0.0.1:7337", "224.0.0.1:7337", "0.0.0.0:7337"} {
			if err := n.knockOf(helper.ID())(w.ctx(time.Minute), netip.MustParseAddrPort(addr), dialBackToken{}); err == nil {
				t.Errorf("%s was sent packets", addr)
			}
		}
		if err := n.knockOf(helper.ID())(w.ctx(time.Minute), netip.MustParseAddrPort(n.addr), dialBackToken{}); err != nil {
			t.Error(err)
		}
		refused := 0
		for range 2 * dialBackBurst {
			if n.knockOf(helper.ID())(w.ctx(time.Minute), netip.MustParseAddrPort(n.addr), dialBackToken{}) != nil {
				refused++
			}
		}
		if refused < dialBackBurst/2 {
			t.Errorf("%d requests in a row, %d refused", 2*dialBackBurst, refused)
		}
	})
}

// In a mesh, records are most of what travels on idle links. Who has nothing new to say waits for others who do.
func TestIdleMesh(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		mesh := func(c *Config) { c.MaxPeers = 32 }
		nodes := []*node{w.idler(0, mesh)}
		for i := range 11 {
			n := w.idler([]time.Duration{0, 60 * time.Second, 120 * time.Second}[i%3], mesh)
			n.meet(nodes[0])
			nodes = append(nodes, n)
		}
		time.Sleep(30 * time.Minute)
		count := func() (ends int, sent uint64) {
			for _, n := range nodes {
				for _, l := range n.ep.Links() {
					ends, sent = ends+1, sent+l.Stats().PacketsSent
				}
			}
			return ends, sent
		}
		_, before := count()
		time.Sleep(time.Hour)
		ends, after := count()
		links := float64(ends) / 2
		each := float64(after-before) / 60 / links
		t.Logf("%.0f links, %.2f packets a minute on each", links, each)
		if links != 66 || each > 3 { // 38 of them have an end behind a NAT that forgets after 60 s
			t.Errorf("%.0f links, %.2f packets a minute on each", links, each)
		}
	})
}

// Records that may wait get to the other end of a line of nodes in time.
func TestIdleRecordsSpread(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		line := []*node{w.idler(0)}
		for range 5 {
			n := w.idler(0)
			n.meet(line[len(line)-1])
			line = append(line, n)
		}
		for range 12 {
			time.Sleep(25 * time.Minute)
			for _, n := range line {
				for _, o := range line {
					if info := n.recordOf(o.ID()); info == nil || time.Since(info.made) > recordLifetime*3/4 {
						t.Fatalf("the record of %s at %s is %+v", o.ID().Short(), n.ID().Short(), info)
					}
				}
			}
		}
	})
}
