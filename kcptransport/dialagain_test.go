package kcptransport

import (
	"context"
	"io"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// A call that is given up and made anew, as when an introducer is found, while the peer calls, too: both sides take the handshakes
// for the same link. Otherwise one has a new link and the other one goes on with the streams of the old one.
func TestDialGivenUpAndMadeAnew(t *testing.T) {
	for _, late := range []time.Duration{0, 10 * time.Millisecond, 49 * time.Millisecond, 51 * time.Millisecond} {
		for _, after := range []time.Duration{0, time.Millisecond, 30 * time.Millisecond, 60 * time.Millisecond} {
			for _, byKey := range []bool{false, true} {
				inWorld(t, 100*time.Millisecond, func(w *world) {
					a, b := w.node(1), w.node(2)
					go func() {
						w.sleep(late)
						if byKey {
							b.dial(a)
						} else {
							b.join(a)
						}
					}()
					ctx, cancel := context.WithTimeout(w.ctx, after)
					defer cancel()
					_, err := a.Dial(ctx, Dial{Peer: b.ID(), Addrs: []netip.AddrPort{b.addr()}})
					if err != nil {
						a.dial(b)
					}
					w.sleep(time.Second)
					if len(a.Links()) != 1 || len(b.Links()) != 1 {
						t.Fatalf("b calls after %v, by key: %v; a anew after %v: %d and %d links", late, byKey, after, len(a.Links()), len(b.Links()))
					}
					l, m := a.Links()[0], b.Links()[0]
					w.serveEcho(l)
					w.serveEcho(m)
					w.wantEcho(l)
					w.wantEcho(m)
				})
			}
		}
	}
}

// The same at any moment, several times, from both sides and with loss.
func TestDialsGivenUpUnderLoss(t *testing.T) {
	for seed := range uint64(150) {
		inSeededWorld(t, seed, 60*time.Millisecond, func(w *world) {
			random := rand.New(rand.NewPCG(seed, 1))
			w.link.Loss = []float64{0, 0, 0.1}[seed%3]
			a, b := w.node(1), w.node(2)
			for _, ends := range [][2]*node{{a, b}, {b, a}} {
				go func() { // streams are used as soon as there is a link
					for seen := map[*Link]bool{}; w.ctx.Err() == nil; w.sleep(5 * time.Millisecond) {
						for _, l := range ends[0].Links() {
							if !seen[l] {
								seen[l] = true
								w.serveEcho(l)
								go echoes(w.ctx, l)
							}
						}
					}
				}()
				begin, byKey := time.Duration(random.IntN(100))*time.Millisecond, random.IntN(4) > 0
				limits := make([]time.Duration, random.IntN(5), 6)
				for i := range limits {
					limits[i] = time.Duration(random.IntN(250)) * time.Millisecond
				}
				limits = append(limits, 10*time.Second)
				go func() {
					w.sleep(begin)
					for _, limit := range limits {
						ctx, cancel := context.WithTimeout(w.ctx, limit)
						d := Dial{Addrs: []netip.AddrPort{ends[1].addr()}}
						if byKey {
							d.Peer = ends[1].ID()
						}
						_, err := ends[0].Dial(ctx, d)
						cancel()
						if err == nil {
							return
						}
					}
				}()
			}
			w.sleep(20 * time.Second)
			if len(a.Links()) != 1 || len(b.Links()) != 1 {
				t.Fatalf("seed %d: %d and %d links", seed, len(a.Links()), len(b.Links()))
			}
			for _, x := range []*node{a, b} {
				ctx, cancel := context.WithTimeout(w.ctx, 20*time.Second)
				if err := echoes(ctx, x.Links()[0]); err != nil {
					t.Errorf("seed %d: the two sides do not have the same link: %v", seed, err)
				}
				cancel()
			}
		})
	}
}

// echoes sends a message over a new stream of l and waits for it to come back.
func echoes(ctx context.Context, l *Link) error {
	s, err := l.OpenStream(ctx, "echo")
	if err != nil {
		return err
	}
	defer s.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = s.SetDeadline(deadline)
	}
	if _, err := s.Write([]byte("a message")); err != nil {
		return err
	}
	_, err = io.ReadFull(s, make([]byte, len("a message")))
	return err
}
