package kcptransport

import (
	"sync"
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

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
