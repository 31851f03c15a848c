package kcptransport

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// courier carries packets between two endpoints by way of somebody who takes delay for each way.
type courier struct {
	w     *world
	to    *node
	delay time.Duration
	back  *courier
	lose  int // of the packets to come
}

func (w *world) couriers(a, b *node, delay time.Duration) (toB *courier) {
	toB = &courier{w: w, to: b, delay: delay}
	toB.back = &courier{w: w, to: a, delay: delay, back: toB}
	return toB
}

func (c *courier) Send(packet []byte) error {
	if c.lose > 0 {
		c.lose--
		return errors.New("lost")
	}
	packet = slices.Clone(packet)
	time.AfterFunc(c.delay, func() { c.to.HandleSignal(packet, c.back) })
	return nil
}

// Two nodes that cannot reach each other at first get a link by way of a third; streams wait until there is a path.
func TestSignalThenPath(t *testing.T) {
	for _, lose := range []int{0, 1, 2} {
		inWorld(t, 40*time.Millisecond, func(w *world) {
			a, b := w.node(1), w.node(2)
			c := w.couriers(a, b, 50*time.Millisecond)
			c.lose = lose
			l, err := a.Dial(w.ctx, Dial{Peer: b.ID(), Signal: c})
			if err != nil {
				w.Fatal(err)
			}
			if rtt := l.SignalRTT(); rtt.Round(time.Millisecond) != 100*time.Millisecond {
				w.Errorf("the way by the introducer takes %v, want 100 ms", rtt)
			}
			m := b.accept()
			if _, ok := l.Path(); ok {
				w.Fatal("there is a path already")
			}
			w.serveEcho(m)
			s := w.open(l, "echo")
			_, _ = s.Write([]byte("held back"))
			if err := l.SendDatagram([]byte("too")); err != nil {
				w.Error(err)
			}
			w.sleep(2 * time.Second)
			if n := m.Stats().Streams; n != 0 {
				w.Errorf("%d streams came without a path", n)
			}
			l.Probe(Path{Addr: b.addr()}, 0)
			start := time.Now()
			if info := w.waitPath(l); info.Path.Addr != b.addr() {
				w.Errorf("path is %v", info)
			}
			if took := time.Since(start); took > 45*time.Millisecond {
				w.Errorf("the path took %v, want a round trip", took)
			}
			w.waitPath(m)
			w.wantEchoOn(s, nil)
			got := make([]byte, 9)
			if _, err := s.Read(got); err != nil || string(got) != "held back" {
				w.Errorf("got %q, %v", got, err)
			}
			if d, err := m.ReceiveDatagram(w.ctx); err != nil || string(d) != "too" {
				w.Errorf("got %q, %v", d, err)
			}
			if m.SignalRTT() != 0 {
				w.Error("the side that was called measured the way by the introducer")
			}
		})
	}
}

// A link that never finds a path ends by itself.
func TestSignalWithoutPath(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		a, b := w.node(1), w.node(2)
		l, err := a.Dial(w.ctx, Dial{Peer: b.ID(), Signal: w.couriers(a, b, 50*time.Millisecond)})
		if err != nil {
			w.Fatal(err)
		}
		m := b.accept()
		var gone *GoneError
		for _, l := range []*Link{l, m} {
			if err := w.wantEnd(l, defaultDeadAfter+5*time.Second); !errors.As(err, &gone) {
				w.Errorf("the link ended with %v", err)
			}
		}
	})
}

// Closing a link without a path tells the peer the way there is.
func TestSignalClose(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		a, b := w.node(1), w.node(2)
		l, err := a.Dial(w.ctx, Dial{Peer: b.ID(), Signal: w.couriers(a, b, 50*time.Millisecond)})
		if err != nil {
			w.Fatal(err)
		}
		m := b.accept()
		start := time.Now()
		_ = l.CloseWithError(5, "no path")
		if took := time.Since(start); took > time.Millisecond {
			w.Errorf("it took %v", took)
		}
		var peer *PeerError
		if err := w.wantEnd(m, time.Second); !errors.As(err, &peer) || peer.Code != 5 {
			w.Errorf("the other side ended with %v", err)
		}
	})
}

// Both call each other by way of the introducer at once.
func TestSignalTogether(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		a, b := w.node(1), w.node(2)
		c := w.couriers(a, b, 50*time.Millisecond)
		other := make(chan *Link)
		go func() {
			m, err := b.Dial(w.ctx, Dial{Peer: a.ID(), Signal: c.back})
			if err != nil {
				w.Error(err)
			}
			other <- m
		}()
		l, err := a.Dial(w.ctx, Dial{Peer: b.ID(), Signal: c})
		if err != nil {
			w.Fatal(err)
		}
		m := <-other
		w.sleep(time.Second)
		m.Probe(Path{Addr: a.addr()}, 0)
		w.waitPath(l)
		w.waitPath(m)
		w.serveEcho(l)
		w.wantEcho(m)
		if len(a.Links()) != 1 || len(b.Links()) != 1 {
			w.Error("there is more than one link")
		}
	})
}

// An address and an introducer are tried at once, and the faster one wins.
func TestSignalBesideAddress(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		a, b := w.node(1), w.node(2)
		c := w.couriers(a, b, 50*time.Millisecond)
		l, err := a.Dial(w.ctx, Dial{Peer: b.ID(), Addrs: []netip.AddrPort{b.addr()}, Signal: c})
		if err != nil {
			w.Fatal(err)
		}
		if _, ok := l.Path(); !ok {
			w.Error("there is no path")
		}
		m := b.accept()
		w.sleep(time.Minute)
		w.serveEcho(m)
		w.wantEcho(l)
		if len(b.Links()) != 1 || m.Err() != nil {
			w.Errorf("%d links, %v", len(b.Links()), m.Err())
		}
	})
}

// Nonsense that comes by an introducer does nothing.
func TestSignalNonsense(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		a := w.node(1)
		c := w.couriers(a, a, time.Millisecond)
		for _, p := range [][]byte{nil, {0xC8}, make([]byte, 5000), append([]byte{0xC8}, make([]byte, 40)...), append([]byte{0xC0, 1}, make([]byte, 1198)...)} {
			a.HandleSignal(p, c)
			a.HandleSignal(p, nil)
		}
		a.wantNoLink(time.Second)
	})
}

// Of two calls for the same peer each has an introducer of its own. That the one of the later call leads nowhere does no harm.
func TestDialsWithSignals(t *testing.T) {
	for _, loses := range []int{0, 1} { // which of the two
		inWorld(t, 40*time.Millisecond, func(w *world) {
			a, b := w.node(1), w.node(2)
			ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
			defer cancel()
			results := make(chan error, 2)
			for i := range 2 {
				c := w.couriers(a, b, 50*time.Millisecond)
				if i == loses {
					c.lose = 1000
				}
				go func() {
					_, err := a.Dial(ctx, Dial{Peer: b.ID(), Signal: c})
					results <- err
				}()
				synctest.Wait()
			}
			start := time.Now()
			for range 2 {
				if err := <-results; err != nil {
					w.Error(err)
				}
			}
			if took := time.Since(start); took > 150*time.Millisecond {
				w.Errorf("the link took %v", took)
			}
		})
	}
}

// A Dial that was to help a link whose path fails is answered whatever becomes of the link meanwhile.
func TestDialForLinkThatEnds(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		a, b, l, _ := w.pair()
		w.serveEcho(l)
		c := w.couriers(a, b, 300*time.Millisecond)
		s := w.open(l, "echo")
		w.net.Partition(a.host, b.host)
		_, _ = s.Write([]byte("nobody hears this"))
		w.sleep(time.Second)
		failed := make(chan error, 1)
		go func() {
			_, err := a.Dial(w.ctx, Dial{Peer: b.ID(), Signal: c})
			failed <- err
		}()
		w.sleep(100 * time.Millisecond)
		_ = l.CloseWithError(1, "enough")
		select {
		case err := <-failed:
			if err == nil {
				w.Error("no error")
			}
		case <-time.After(time.Minute):
			w.Error("Dial does not return")
		}
	})
}

// A node was restarted and calls while the other side still asks introducers for a path of the old link. The new link is for
// whoever accepts links: nobody has asked for one.
func TestRestartWhileMeetingAgain(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		a, b, l, _ := w.pair()
		w.serveEcho(l)
		b.host.Crash()
		_ = b.Close()
		b.host.Start()
		met := make(chan error, 1)
		if err := l.SendDatagram([]byte("are you there?")); err != nil {
			w.Fatal(err)
		}
		w.sleep(time.Second)
		c := w.couriers(a, b, time.Hour) // nothing comes of it
		go func() {
			_, err := a.Dial(w.ctx, Dial{Peer: b.ID(), Signal: c})
			met <- err
		}()
		w.sleep(time.Second)
		b.start(3)
		m := b.dial(a)
		w.serveEcho(a.accept())
		w.wantEcho(m)
		if err := <-met; err != nil {
			w.Error(err)
		}
		if err := w.wantEnd(l, time.Second); !errors.Is(err, ErrReplaced) {
			w.Errorf("the old link ended with %v", err)
		}
	})
}
