package kcptransport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

func TestDatagrams(t *testing.T) {
	inWorld(t, 20*time.Millisecond, func(w *world) {
		_, _, l, m := w.pair()
		largest := make([]byte, l.MaxDatagram())
		seeded(1).Read(largest)
		for _, b := range [][]byte{largest, {}, []byte("x")} {
			if err := l.SendDatagram(b); err != nil {
				w.Fatal(err)
			}
			if got, err := m.ReceiveDatagram(w.ctx); err != nil || !bytes.Equal(got, b) {
				w.Fatalf("got %d bytes, %v, want %d", len(got), err, len(b))
			}
		}
		if err := l.SendDatagram(append(largest, 0)); !errors.Is(err, ErrTooLarge) {
			w.Errorf("a datagram that is too large: %v", err)
		}
		ctx, cancel := context.WithTimeout(w.ctx, time.Second)
		defer cancel()
		if _, err := m.ReceiveDatagram(ctx); !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("no datagram: %v", err)
		}

		// Who does not fetch loses the oldest.
		for i := range 2 * maxDatagramQueue {
			if err := l.SendDatagram([]byte(fmt.Sprint(i))); err != nil {
				w.Fatal(err)
			}
			w.sleep(time.Millisecond)
		}
		w.sleep(time.Second)
		if got, err := m.ReceiveDatagram(w.ctx); err != nil || string(got) != fmt.Sprint(maxDatagramQueue) {
			w.Errorf("the oldest is %s, %v", got, err)
		}
		if n := m.Stats().DatagramsDropped; n != maxDatagramQueue {
			w.Errorf("%d were counted as dropped, want %d", n, maxDatagramQueue)
		}

		// What has come can still be fetched when the link has ended.
		_ = l.Close()
		w.wantEnd(m, time.Second)
		if _, err := m.ReceiveDatagram(w.ctx); err != nil {
			w.Error(err)
		}
		for err := error(nil); err == nil; {
			_, err = m.ReceiveDatagram(w.ctx)
			var peer *PeerError
			if err != nil && !errors.As(err, &peer) {
				w.Errorf("the end of the link: %v", err)
			}
		}
		if err := l.SendDatagram(nil); !errors.Is(err, ErrClosed) {
			w.Errorf("sending on a closed link: %v", err)
		}
	})
}

// A full packet has at most 60 bytes around what the application wrote.
func TestOverhead(t *testing.T) {
	inWorld(t, 20*time.Millisecond, func(w *world) {
		_, _, l, m := w.pair()
		before := l.Stats()
		const size = 4 << 20
		w.startTransfer(l, m, size).wait()
		after := l.Stats()
		bytes, packets := after.BytesSent-before.BytesSent, after.PacketsSent-before.PacketsSent
		full := float64(defaultMaxPacket) - float64(size)/(float64(bytes)/defaultMaxPacket)
		w.Logf("%d packets, %.1f bytes of overhead in each", packets, full)
		if full > 60 || float64(packets) > 1.01*size/(defaultMaxPacket-60) {
			w.Errorf("%d packets of %d bytes for %d bytes: %.1f bytes of overhead in each", packets, bytes/packets, size, full)
		}
		if l.MaxDatagram() < defaultMaxPacket-60 {
			w.Errorf("a datagram has at most %d bytes", l.MaxDatagram())
		}
	})
}

// Close delivers what was written before it.
func TestCloseDeliversFirst(t *testing.T) {
	inWorld(t, 100*time.Millisecond, func(w *world) {
		_, _, l, m := w.pair()
		tr := w.startTransfer(l, m, 300<<10)
		w.sleep(time.Millisecond)
		start := time.Now()
		_ = l.Close()
		w.Logf("close took %v", time.Since(start))
		tr.wait()
		var peer *PeerError
		if err := w.wantEnd(m, time.Second); !errors.As(err, &peer) || peer.Code != 0 {
			w.Errorf("the other side ended with %v", err)
		}
	})
}

// CloseWithError does not wait for that, and tells the code and the reason.
func TestCloseWithError(t *testing.T) {
	inWorld(t, 100*time.Millisecond, func(w *world) {
		_, _, l, m := w.pair()
		s := w.open(l, "bulk")
		_, _ = s.Write(make([]byte, 1<<20))
		r, err := m.AcceptStream(w.ctx)
		if err != nil {
			w.Fatal(err)
		}
		start := time.Now()
		_ = l.CloseWithError(42, "enough\x1b[2J"+strings.Repeat("é", 200))
		if took := time.Since(start); took > 110*time.Millisecond {
			w.Errorf("it took %v", took)
		}
		var peer *PeerError
		if err := w.wantEnd(m, time.Second); !errors.As(err, &peer) || peer.Code != 42 || !strings.HasPrefix(peer.Reason, "enough?[2Jé") {
			w.Errorf("the other side ended with %v", err)
		}
		if _, err := io.Copy(io.Discard, r); !errors.As(err, &peer) {
			w.Errorf("a stream of the other side ended with %v", err)
		}
		if err := l.Err(); !errors.Is(err, ErrClosed) || !errors.Is(err, net.ErrClosed) {
			w.Errorf("this side ended with %v", err)
		}
		if _, err := s.Write([]byte("x")); !errors.Is(err, ErrClosed) {
			w.Errorf("a stream of this side ended with %v", err)
		}
		if _, err := l.OpenStream(w.ctx, "x"); !errors.Is(err, ErrClosed) {
			w.Errorf("opening a stream: %v", err)
		}
		if _, err := l.AcceptStream(w.ctx); !errors.Is(err, ErrClosed) {
			w.Errorf("accepting a stream: %v", err)
		}
		if _, err := l.WaitPath(w.ctx); !errors.Is(err, ErrClosed) {
			w.Errorf("waiting for a path: %v", err)
		}
	})
}

// Both close at once, and the word of one gets lost: both end soon.
func TestCloseTogether(t *testing.T) {
	inWorld(t, 100*time.Millisecond, func(w *world) {
		_, _, l, m := w.pair()
		var wg sync.WaitGroup
		start := time.Now()
		wg.Go(func() { _ = l.Close() })
		wg.Go(func() { _ = m.CloseWithError(7, "") })
		wg.Wait()
		if took := time.Since(start); took > 200*time.Millisecond {
			w.Errorf("it took %v", took)
		}
	})
}

// The peer vanishes while the link is idle: KeepAlive + DeadAfter at the latest.
func TestDeadPeerIdle(t *testing.T) {
	inWorld(t, 100*time.Millisecond, func(w *world) {
		_, b, l, _ := w.pair()
		s := w.open(l, "wait")
		failed := make(chan error, 1)
		go func() {
			_, err := s.Read(make([]byte, 1))
			failed <- err
		}()
		w.sleep(time.Second)
		b.vanish()
		start := time.Now()
		err := w.wantEnd(l, defaultKeepAlive+defaultDeadAfter)
		var gone *GoneError
		var timeout net.Error
		if !errors.As(err, &gone) || !errors.As(err, &timeout) || !timeout.Timeout() || gone.Peer != b.ID() {
			w.Errorf("the link ended with %v", err)
		}
		if took := time.Since(start); took < defaultDeadAfter {
			w.Errorf("the peer was given up after %v", took)
		}
		if err := <-failed; !errors.As(err, &gone) {
			w.Errorf("the stream ended with %v", err)
		}
	})
}

// The peer vanishes during a transfer: DeadAfter, and the writer that waits gets the reason.
func TestDeadPeerBusy(t *testing.T) {
	inWorld(t, 100*time.Millisecond, func(w *world) {
		_, b, l, _ := w.pair()
		s := w.open(l, "bulk")
		failed := make(chan error, 1)
		go func() {
			_, err := s.Write(make([]byte, 64<<20))
			failed <- err
		}()
		w.sleep(2 * time.Second)
		b.vanish()
		start := time.Now()
		sent := l.Stats().PacketsSent
		var gone *GoneError
		if err := <-failed; !errors.As(err, &gone) {
			w.Errorf("the stream ended with %v", err)
		}
		if took := time.Since(start); took < defaultDeadAfter || took > defaultDeadAfter+time.Second {
			w.Errorf("it took %v, want %v", took, defaultDeadAfter)
		}
		if n := l.Stats().PacketsSent - sent; n > 5000 {
			w.Errorf("%d packets were sent to nobody", n)
		}
	})
}

// An idle link sends nothing but a probe and its answer every 29 s.
func TestIdle(t *testing.T) {
	inWorld(t, 100*time.Millisecond, func(w *world) {
		_, _, l, m := w.pair()
		w.serveEcho(m)
		w.wantEcho(l)
		w.sleep(10 * time.Second)
		before, other := l.Stats(), m.Stats()
		w.sleep(30 * time.Minute)
		sent := l.Stats().PacketsSent - before.PacketsSent + m.Stats().PacketsSent - other.PacketsSent
		if sent > 2*30*60/29+2 || sent < 2*30*60/30 {
			w.Errorf("%d packets in 30 minutes of idleness", sent)
		}
		if l.Err() != nil || m.Err() != nil {
			w.Errorf("the link ended: %v, %v", l.Err(), m.Err())
		}
		w.wantEcho(l)
	})
}

// A break of the network shorter than DeadAfter harms nothing.
func TestOutage(t *testing.T) {
	inWorld(t, 50*time.Millisecond, func(w *world) {
		a, b, l, m := w.pair()
		w.link.Rate = 10_000_000
		a.host.SetLink(w.link, w.link)
		tr := w.startTransfer(l, m, 4<<20)
		w.sleep(time.Second)
		w.net.Partition(a.host, b.host)
		w.sleep(20 * time.Second)
		w.net.Heal(a.host, b.host)
		healed := time.Now()
		tr.wait()
		w.Logf("the rest took %v", time.Since(healed))
		if took := time.Since(healed); took > 12*time.Second {
			w.Errorf("the rest took %v", took)
		}
	})
}

// OnPath tells the path in use at once and every change, in order, until it is stopped.
func TestOnPath(t *testing.T) {
	inWorld(t, 50*time.Millisecond, func(w *world) {
		_, b, l, m := w.pair()
		w.serveEcho(m)
		var seen, stopped pathLog
		l.OnPath(seen.add)
		stop := l.OnPath(stopped.add)
		w.sleep(time.Millisecond)
		if seen.len() != 1 || stopped.len() != 1 {
			w.Errorf("the first call came %d and %d times", seen.len(), stopped.len())
		}
		stop()
		stop()
		for i := range byte(3) {
			b.host.SetAddrs(nodeAddr(2, i+1))
			_ = m.SendDatagram([]byte("I am here"))
			w.wantPath(l, netip.AddrPortFrom(nodeAddr(2, i+1), 7337), time.Second)
		}
		w.sleep(time.Second)
		if seen.len() != 4 || stopped.len() != 1 {
			w.Fatalf("%d and %d calls", seen.len(), stopped.len())
		}
		for i, info := range seen.list {
			if info.Path.Addr.Addr() != nodeAddr(2, byte(i)) || !info.InUse {
				w.Errorf("change %d is to %v", i, info)
			}
		}
		_ = l.Close()
		l.OnPath(seen.add)
		w.sleep(time.Second)
		if seen.len() != 4 {
			w.Error("a call came after the end")
		}
	})
}

func TestStreamDeadline(t *testing.T) {
	inWorld(t, 50*time.Millisecond, func(w *world) {
		_, _, l, m := w.pair()
		w.serveEcho(m)
		s := w.open(l, "echo")
		_ = s.SetReadDeadline(time.Now().Add(time.Second))
		start := time.Now()
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			w.Errorf("%v after %v", err, time.Since(start))
		}
		_ = s.SetReadDeadline(time.Time{})
		w.wantEchoOn(s, []byte("still there"))
		if s.LocalAddr().String() != m.Peer().String() || s.RemoteAddr().String() != l.Peer().String() {
			w.Errorf("addresses are %v and %v", s.LocalAddr(), s.RemoteAddr())
		}
	})
}

func TestManyStreams(t *testing.T) {
	inWorld(t, 50*time.Millisecond, func(w *world) {
		_, _, l, m := w.pair()
		w.serveEcho(m)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				s := w.open(l, "echo")
				defer s.Close()
				w.wantEchoOn(s, bytes.Repeat([]byte{byte(i)}, 1000*i+1))
			})
		}
		wg.Wait()
		w.sleep(5 * time.Second)
		if n, o := l.Stats().Streams, m.Stats().Streams; n != 0 || o != 0 {
			w.Errorf("%d and %d streams are left", n, o)
		}
	})
}

// 200 links on one endpoint, all at work.
func TestManyLinks(t *testing.T) {
	inWorld(t, 50*time.Millisecond, func(w *world) {
		hub := w.node(250)
		go func() {
			for {
				l, err := hub.Accept(context.Background())
				if err != nil {
					return
				}
				w.serveEcho(l)
			}
		}()
		var wg sync.WaitGroup
		for i := range 200 {
			x := w.node(byte(i + 1))
			wg.Go(func() {
				l := x.dial(hub)
				for range 3 {
					w.wantEcho(l)
				}
			})
		}
		wg.Wait()
		if n := len(hub.Links()); n != 200 {
			w.Errorf("%d links", n)
		}
	})
}

// The same scenario gives the same packets at the same times, every time.
func TestDeterminism(t *testing.T) {
	for _, how := range []string{"key", "address"} {
		t.Run(how, func(t *testing.T) {
			var first uint64
			for i := range 5 {
				inWorld(t, 40*time.Millisecond, func(w *world) {
					w.link = netsim.Link{Delay: 10 * time.Millisecond, Loss: 0.02, Jitter: 3 * time.Millisecond, Rate: 50_000_000}
					got := w.scenario(how == "key")
					if i == 0 {
						first = got
						w.Logf("digest %x", got)
					} else if got != first {
						w.Errorf("run %d has digest %x, the first %x", i, got, first)
					}
				})
			}
		})
	}
}

// scenario has three nodes talk, transfer and move, and returns the digest of all packets.
func (w *world) scenario(byKey bool) uint64 {
	a, b, c := w.node(1), w.node(2), w.node(3)
	open := a.join
	if byKey {
		open = a.dial
	}
	l := open(b)
	m := b.accept()
	w.serveEcho(m)
	s := w.open(l, "echo")
	for j := range 20 {
		w.wantEchoOn(s, bytes.Repeat([]byte("message "), 100*j+1))
		w.sleep(time.Duration(j*j) * time.Millisecond)
	}
	l2 := open(c)
	m2 := c.accept()
	tr := w.startTransfer(l2, m2, 1<<20)
	up := w.startTransfer(m, l, 1<<20)
	w.sleep(100 * time.Millisecond)
	a.host.SetAddrs(nodeAddr(1, 1))
	tr.wait()
	up.wait()
	w.sleep(time.Minute)
	_ = l.Close()
	_ = m2.CloseWithError(1, "done")
	return w.net.Digest()
}
