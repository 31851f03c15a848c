package kcptransport

import (
	"sync"
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

// Both sides of a link whose path fails meet again, and the answers come only when both have given the link up: what they get is a
// new one, with which both can do something.
func TestMeetTooLate(t *testing.T) {
	for _, apart := range []time.Duration{0, 100 * time.Millisecond, 1500 * time.Millisecond} {
		t.Run(apart.String(), func(t *testing.T) {
			inWorld(t, 40*time.Millisecond, func(w *world) {
				a, b, l, m := w.pair()
				w.sleep(20 * time.Second)
				w.net.Partition(a.host, b.host)
				_, _ = l.SendDatagram([]byte("anybody there?")), m.SendDatagram([]byte("anybody there?"))
				w.sleep(29 * time.Second)
				var links [2]*Link
				var wg sync.WaitGroup
				for i, ends := range [][2]*node{{a, b}, {b, a}} {
					wg.Go(func() {
						w.sleep(time.Duration(i) * apart)
						var err error
						signal := w.couriers(ends[0], ends[1], time.Second)
						if links[i], err = ends[0].Dial(w.ctx, Dial{Peer: ends[1].ID(), Signal: signal}); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				if t.Failed() {
					return
				}
				for i, old := range []*Link{l, m} {
					if w.wantEnd(old, time.Millisecond); links[i] == old {
						t.Error("the link that has ended")
					}
				}
				w.net.Heal(a.host, b.host)
				links[0].Probe(Path{Addr: b.addr()}, 0)
				w.waitPath(links[0])
				w.serveEcho(links[1])
				w.wantEcho(links[0])
			})
		})
	}
}

// Who waits for an answer that comes too late shares the link that another call has begun meanwhile.
func TestMeetTooLateWithAnother(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		a, b, l, m := w.pair()
		w.sleep(20 * time.Second)
		w.net.Partition(a.host, b.host)
		_ = l.SendDatagram([]byte("anybody there?"))
		w.sleep(29 * time.Second)
		var first *Link
		var wg sync.WaitGroup
		wg.Go(func() {
			var err error
			if first, err = a.Dial(w.ctx, Dial{Peer: b.ID(), Signal: w.couriers(a, b, 4*time.Second)}); err != nil {
				t.Error(err)
			}
		})
		w.wantEnd(l, 2*time.Second)
		w.net.Heal(a.host, b.host)
		second := a.dial(b)
		if wg.Wait(); first != second {
			t.Error("two links")
		}
		w.wantEnd(m, time.Second)
	})
}

// The two sides of a link whose NAT forgot meet again, each by a handshake of its own: one of the two new sessions is used, and nobody
// goes on confirming the other one.
func TestMeetTwiceAtOnce(t *testing.T) {
	for _, apart := range []time.Duration{0, 10 * time.Millisecond, 60 * time.Millisecond, time.Second, 5 * time.Second} {
		t.Run(apart.String(), func(t *testing.T) {
			inWorld(t, 40*time.Millisecond, func(w *world) {
				a, router := w.behindNAT(1, netsim.NAT{Filtering: netsim.AddressAndPortDependent, Ports: netsim.RandomPorts})
				b := w.node(2)
				l := a.dial(b)
				m := b.accept()
				w.sleep(20 * time.Second)
				router.Rebind()
				_ = m.SendDatagram([]byte("anybody there?"))
				w.sleep(600 * time.Millisecond)
				var wg sync.WaitGroup
				for i, ends := range [][2]*node{{a, b}, {b, a}} {
					wg.Go(func() {
						w.sleep(time.Duration(i) * apart)
						if _, err := ends[0].Dial(w.ctx, Dial{Peer: ends[1].ID(), Signal: w.couriers(ends[0], ends[1], 50*time.Millisecond)}); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				w.sleep(time.Minute)
				if n := w.perMinute(10*time.Minute, l, m); n > 4.5 {
					t.Errorf("%.2f packets a minute", n)
				}
				w.serveEcho(m)
				w.wantEcho(l)
			})
		})
	}
}
