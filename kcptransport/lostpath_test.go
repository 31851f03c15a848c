package kcptransport

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// The only path of a link, a circuit, has ended, and the two sides meet again and again by way of an introducer. Each time both learn that
// it is time to punch; but a link to which no path is found ends as it would if they did not meet.
func TestMeetWithoutPath(t *testing.T) {
	for _, punched := range []bool{false, true} {
		inWorld(t, 40*time.Millisecond, func(w *world) {
			var met [2]atomic.Int32
			counts := func(i int) func(*Config) {
				return func(c *Config) { c.OnMet = func(*Link) { met[i].Add(1) } }
			}
			a, b := w.node(1, counts(0)), w.node(2, counts(1))
			r := w.relay(10)
			a.dial(r.node)
			b.dial(r.node)
			w.sleep(time.Second)
			ca, cb := w.circuit(a, b, r)
			l, err := a.Dial(w.ctx, Dial{Peer: b.ID(), Signal: w.couriers(a, b, 20*time.Millisecond)})
			if err != nil {
				w.Fatal(err)
			}
			m := b.accept()
			w.sleep(time.Second)
			ca.Close()
			cb.Close()
			begin, was := time.Now(), [2]int32{met[0].Load(), met[1].Load()}
			for time.Since(begin) < defaultDeadAfter-5*time.Second {
				if again, err := a.Dial(w.ctx, Dial{Peer: b.ID(), Signal: w.couriers(a, b, 20*time.Millisecond)}); err != nil || again != l {
					w.Fatalf("after %v: %v, %v", time.Since(begin), again, err)
				}
				w.sleep(7 * time.Second)
			}
			for i := range met {
				if n := met[i].Load() - was[i]; n != 4 {
					w.Errorf("side %d was told %d times that the two have met", i, n)
				}
			}
			if punched {
				l.Probe(Path{Addr: b.addr()}, 0)
				w.waitPath(l)
				w.sleep(time.Minute)
				w.serveEcho(m)
				w.wantEcho(l)
				return
			}
			for _, l := range []*Link{l, m} {
				if gone := (*GoneError)(nil); !errors.As(w.wantEnd(l, 3*time.Second), &gone) {
					w.Errorf("the link ended with %v", l.Err())
				}
			}
		})
	}
}
