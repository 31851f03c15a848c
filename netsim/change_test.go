package netsim

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// A change in the nanosecond before a packet arrives is seen by it; one at the
// same instant never is, in whatever order goroutines run.
func TestChangesDoNotRaceWithPackets(t *testing.T) {
	type scene struct {
		*world
		server, h *Host
		r         *Router
		c         *Conn
	}
	for _, tt := range []struct {
		name   string
		reason DropReason
		change func(scene)
	}{
		{"partition", DropPartitioned, func(s scene) { s.Partition(s.server, s.h) }},
		{"one-way partition", DropPartitioned, func(s scene) { s.PartitionOneWay(s.server, s.h) }},
		{"unplug", DropLinkDown, func(s scene) { s.h.Unplug(time.Second) }},
		{"unplugged router", DropLinkDown, func(s scene) { s.r.Unplug(time.Second) }},
		{"outside address", DropNoRoute, func(s scene) { s.r.SetOutsideAddrs(addr("1.0.0.7")) }},
		{"reboot", DropLinkDown, func(s scene) { s.r.Reboot(time.Second) }},
		{"crash", DropHostDown, func(s scene) { s.h.Crash() }},
		{"rebind", DropNoMapping, func(s scene) { s.r.Rebind() }},
		{"close", DropNoSocket, func(s scene) { _ = s.c.Close() }},
		{"link", DropMTU, func(s scene) { s.h.SetLink(Link{}, Link{MTU: 20}) }},
		{"router's link", DropMTU, func(s scene) { s.r.SetLink(Link{}, Link{MTU: 20}) }},
		{"addresses", DropNoRoute, func(s scene) { s.h.SetAddrs(addr("192.168.1.9")) }},
		{"move", DropNoRoute, func(s scene) { s.h.Move(s.Internet(), addr("3.0.0.1")) }},
		{"buffer", DropBuffer, func(s scene) { _ = s.c.SetReadBuffer(1) }},
	} {
		play := func(t *testing.T, before time.Duration) (stats Stats) {
			synctest.Test(t, func(t *testing.T) {
				s := scene{world: newWorld(t, 1)}
				s.server = s.public("server", "2.0.0.1", Link{Delay: 10 * time.Millisecond})
				s.h, s.r = s.behind("a", "1.0.0.1", NAT{})
				s.h.SetLink(Link{}, Link{})
				s.c = s.listen(s.h, 5)
				server := s.listen(s.server, 1)
				s.send(s.c, "2.0.0.1:1", "open")
				seen := s.wantPacket(server, "open")
				s.send(server, seen.String(), "answer")
				for range 3 { // something else that happens at that instant
					go time.Sleep(10*time.Millisecond + 1 - before)
				}
				go func() {
					time.Sleep(10*time.Millisecond + 1 - before)
					tt.change(s)
				}()
				time.Sleep(time.Second)
				stats = s.Stats()
				if s.c.closed && !s.c.queue.empty() {
					t.Error("a closed socket holds packets")
				}
			})
			return stats
		}
		t.Run(tt.name, func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
			for i := range 20 {
				runtime.GOMAXPROCS(1 + i%2)
				if s := play(t, 0); s.Delivered != 2 {
					t.Fatalf("run %d: at the same instant: %+v", i, s)
				}
				if s := play(t, 1); s.Delivered != 1 || s.Dropped[tt.reason] != 1 {
					t.Fatalf("run %d: a nanosecond before: %+v", i, s)
				}
			}
		})
	}
}

// What is written at the instant of a change sees it.
func TestChangesComeBeforeWrites(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ha := w.public("a", "1.0.0.1", Link{})
		a, b := w.listen(ha, 1), w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		for i := range 10 {
			mtu := 1000 + i%2*100
			ha.SetLink(Link{MTU: mtu}, Link{})
			w.send(a, "1.0.0.2:2", fmt.Sprintf("%01050d", i))
			if mtu < 1078 {
				w.wantNothing(b)
			} else {
				w.wantPacket(b, fmt.Sprintf("%01050d", i))
			}
		}
	})
}
