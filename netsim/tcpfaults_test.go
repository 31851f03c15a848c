package netsim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Whatever the links do, what is read is what was written.
func TestStreamOverBadLinks(t *testing.T) {
	for name, pair := range LinkPresets {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(_ *testing.T, w *world) {
				ha, hb := w.public("a", "1.0.0.1", Link{}), w.public("b", "1.0.0.2", Link{})
				ha.SetLink(pair.Up, pair.Down)
				l := w.listenTCP(hb, "0.0.0.0:80")
				a := w.dial(ha, "1.0.0.2:80")
				b := w.accept(l)
				w.transfer(a, b, random(200_000))
				w.transfer(b, a, random(200_000))
			})
		})
	}
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(bad)
		done := make(chan time.Duration)
		go func() { done <- w.transfer(b, a, random(30_000)) }()
		w.transfer(a, b, random(30_000))
		<-done
		s := w.Stats()
		if s.Dropped[DropLoss] == 0 || s.Dropped[DropQueue] == 0 || s.Dropped[DropCorrupt] == 0 || s.Duplicated == 0 {
			t.Errorf("not much goes wrong on this link: %+v", s)
		}
	})
}

// A loss costs time, not bytes: one segment among many a round trip, the last one the
// time until a retransmission.
func TestLossDelaysAStream(t *testing.T) {
	const delay = 50 * time.Millisecond
	lose := func(size int, after, down time.Duration) (took time.Duration) {
		inBubble(t, func(t *testing.T, w *world) {
			a, b := w.pair(Link{Delay: delay, Rate: 10_000_000})
			time.AfterFunc(after, func() { a.host.Unplug(down) })
			took = w.transfer(a, b, random(size))
			if got := w.Stats().Dropped[DropLinkDown]; (got == 1 || got == 2) != (down > 0) {
				t.Errorf("%d segments lost", got)
			}
		})
		return took
	}
	// In the fourth round trip segments leave two by two, as acknowledgements come. Three of those that follow tell of the one that is missing.
	calm, lost := lose(300_000, 650*time.Millisecond, 0), lose(300_000, 650*time.Millisecond, 1100*time.Microsecond)
	if lost-calm > 4*delay+minRTO/2 || lost < calm {
		t.Errorf("a segment in the middle: %v instead of %v", lost, calm)
	}
	// The round trip is 200 ms: each of the two links takes 50 ms each way. Nothing follows
	// the last segment but the end, which is its own.
	calm, lost = lose(1000, 0, 0), lose(1000, 0, 1)
	if lost-calm < 2*minRTO-10*time.Millisecond || lost-calm > 2*minRTO+30*time.Millisecond {
		t.Errorf("the only segment: %v instead of %v", lost, calm)
	}
}

// A partition stops a stream for as long as it lasts, and ends it when it lasts longer
// than a real socket would wait: about a quarter of an hour.
func TestPartitionOfAStream(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(Link{Delay: 10 * time.Millisecond})
		w.Partition(a.host, b.host)
		time.AfterFunc(10*time.Second, func() { w.Heal(a.host, b.host) })
		if took := w.transfer(a, b, random(1000)); took < 10*time.Second || took > 30*time.Second {
			t.Errorf("read after %v", took)
		}
		time.Sleep(time.Second)
		w.Partition(a.host, b.host)
		_, _ = b.Write([]byte("x"))
		start := time.Now()
		// Who has sent something gives up by retransmissions, who only waits by keepalives.
		w.wantErr("waiting", second(a.Read(make([]byte, 1))), syscall.ETIMEDOUT)
		if took := time.Since(start); took > 10*keepaliveEvery || took < 10*keepaliveEvery-2*time.Second {
			t.Errorf("gives up waiting after %v", took)
		}
		w.wantErr("sending", second(b.Write(make([]byte, 1<<20))), syscall.ETIMEDOUT)
		if took := time.Since(start); took < 15*time.Minute || took > 20*time.Minute {
			t.Errorf("gives up sending after %v", took)
		}
	})
}

// A host that crashes tells nobody; when it is there again it knows of nothing.
func TestCrashEndsStreams(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(Link{Delay: 10 * time.Millisecond})
		l := w.listenTCP(b.host, "0.0.0.0:81")
		errs := make(chan error, 2)
		go func() { errs <- second(b.Read(make([]byte, 1))) }()
		go func() { errs <- second(l.Accept()) }()
		synctest.Wait()
		b.host.Crash()
		w.wantErr("a call of the crashed host", <-errs, syscall.ENETDOWN)
		w.wantErr("another one", <-errs, syscall.ENETDOWN)
		w.wantErr("listening on it", second(b.host.ListenTCP(addrPort("0.0.0.0:80"))), syscall.ENETDOWN)
		w.wantErr("dialling from it", second(b.host.DialTCP(context.Background(), addrPort("1.0.0.1:1"))), syscall.ENETDOWN)
		_, _ = a.Write([]byte("x"))
		time.Sleep(time.Second)
		b.host.Start()
		w.wantErr("who was connected", second(a.Read(make([]byte, 1))), syscall.ECONNRESET)
		w.listenTCP(b.host, "0.0.0.0:80")
		w.dial(a.host, "1.0.0.2:80")
	})
}

// The machine of a stopped process takes what fits its buffers; nothing is lost.
func TestPauseHoldsUpStreams(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.pair(Link{Delay: 10 * time.Millisecond})
		b.host.Pause()
		time.AfterFunc(time.Hour, b.host.Resume)
		if took := w.transfer(a, b, random(1_000_000)); took < time.Hour || took > time.Hour+time.Minute {
			t.Errorf("read after %v", took)
		}
	})
}

// Closing before everything that came was read resets the stream, as Linux does.
func TestCloseWithUnreadData(t *testing.T) {
	inBubble(t, func(_ *testing.T, w *world) {
		a, b := w.pair(Link{Delay: 10 * time.Millisecond})
		_, _ = a.Write([]byte("nobody reads this"))
		time.Sleep(time.Second)
		_ = b.Close()
		w.wantErr("read", second(a.Read(make([]byte, 1))), syscall.ECONNRESET)
	})
	inBubble(t, func(_ *testing.T, w *world) { // nor is there anybody to accept it
		h := w.public("a", "1.0.0.1", Link{})
		l := w.listenTCP(h, "0.0.0.0:80")
		a := w.dial(h, "1.0.0.1:80")
		time.Sleep(time.Second)
		_ = l.Close()
		w.wantErr("read", second(a.Read(make([]byte, 1))), syscall.ECONNRESET)
	})
}

// A listener whom nobody asks for streams takes no more than 128.
func TestBacklog(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, b := w.public("a", "1.0.0.1", Link{}), w.public("b", "1.0.0.2", Link{})
		l := w.listenTCP(b, "0.0.0.0:80")
		for range backlog {
			w.dial(a, "1.0.0.2:80")
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		w.wantErr("one more", second(a.DialTCP(ctx, addrPort("1.0.0.2:80"))), context.DeadlineExceeded)
		w.accept(l)
		w.dial(a, "1.0.0.2:80")
	})
}

// streams is a story in which eight streams through bad links race each other, while the
// network changes. It returns the digest.
func streams(t *testing.T, seed uint64) (digest uint64) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed)
		server := w.public("server", "2.0.0.1", bad)
		l := w.listenTCP(server, "0.0.0.0:80")
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
			}
		}()
		for i := range 4 {
			h, r := w.behind(fmt.Sprint(i), fmt.Sprintf("1.0.0.%d", i+1), NAT{Mapping: Behaviour(i % 3), Ports: RandomPorts})
			h.SetLink(bad, bad)
			time.AfterFunc(time.Duration(i)*time.Second, func() { r.Unplug(time.Second / 2) })
			for j := range 2 {
				go func() {
					time.Sleep(time.Duration(j) * time.Millisecond) // for the ports
					c, err := h.DialTCP(context.Background(), addrPort("2.0.0.1:80"))
					if err != nil {
						return
					}
					defer c.Close()
					want := random(4000 + i*j)
					go func() { _, _ = c.Write(want); _ = c.CloseWrite() }()
					if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
						t.Errorf("stream %d of %d: %d bytes, %v", j, i, len(got), err)
					}
				}()
			}
		}
		time.Sleep(5 * time.Minute)
		digest = w.Digest()
		if s := w.Stats(); s.Dropped[DropLoss] == 0 || s.Dropped[DropLinkDown] == 0 {
			t.Errorf("not much happens: %+v", s)
		}
		w.close()
	})
	return digest
}

func TestStreamsAreReproducible(t *testing.T) {
	want := sameEachTime(t, 20, func() uint64 { return streams(t, 1) })
	if streams(t, 2) == want {
		t.Error("another seed gives the same digest")
	}
}
