package kcptransport

import (
	"context"
	"testing"
	"time"
)

// One side has given a link up and calls anew while the other one, which has not yet, is about to meet it: what comes of the call belongs to
// no link that ends meanwhile.
func TestCallWhileOtherSideMeets(t *testing.T) {
	for later := time.Duration(0); later <= 300*time.Millisecond; later += 10 * time.Millisecond {
		inWorld(t, 40*time.Millisecond, func(w *world) {
			a, b, l, m := w.pair()
			w.sleep(20 * time.Second)
			w.net.Partition(a.host, b.host)
			_ = m.SendDatagram([]byte("anybody there?"))
			w.sleep(later)
			_ = l.SendDatagram([]byte("anybody there?"))
			w.sleep(29 * time.Second)
			go func() {
				ctx, cancel := context.WithTimeout(w.ctx, 1500*time.Millisecond)
				defer cancel()
				_, _ = a.Dial(ctx, Dial{Peer: b.ID(), Signal: w.couriers(a, b, 10*time.Second)})
			}()
			w.wantEnd(m, 3*time.Second)
			again, err := b.Dial(w.ctx, Dial{Peer: a.ID(), Signal: w.couriers(b, a, 50*time.Millisecond)})
			if err != nil {
				w.Fatal(err)
			}
			w.net.Heal(a.host, b.host)
			w.sleep(200 * time.Millisecond)
			for _, l := range a.Links() {
				w.serveEcho(l)
			}
			again.Probe(Path{Addr: a.addr()}, 0)
			ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
			defer cancel()
			if err := echoes(ctx, again); err != nil {
				w.Errorf("the other side gives up %v later: %v", later, err)
			}
		})
	}
}
