package netsim

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// wantTimeout reads until the deadline, which is to be after d.
func (w *world) wantTimeout(c *Conn, d time.Duration) {
	w.t.Helper()
	start := time.Now()
	if _, _, err := c.ReadFrom(make([]byte, 9)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != d {
		w.t.Errorf("%v after %v, want a timeout after %v", err, time.Since(start), d)
	}
}

func TestReadDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.listen(w.public("a", "1.0.0.1", Link{}), 1)
		_ = a.SetReadDeadline(time.Now().Add(time.Second))
		w.wantTimeout(a, time.Second)
		w.wantTimeout(a, 0) // it stays in force

		w.send(a, "1.0.0.1:1", "to myself")
		time.Sleep(time.Millisecond)
		w.wantTimeout(a, 0) // even when there is something to read
		_ = a.SetReadDeadline(time.Time{})
		w.wantPacket(a, "to myself")

		_ = a.SetReadDeadline(time.Now().Add(time.Minute))
		time.AfterFunc(time.Second, func() { _ = a.SetReadDeadline(time.Now().Add(2 * time.Second)) })
		w.wantTimeout(a, 3*time.Second) // sooner than it was
		_ = a.SetReadDeadline(time.Now().Add(time.Second))
		time.AfterFunc(time.Millisecond, func() { _ = a.SetReadDeadline(time.Now().Add(time.Minute)) })
		w.wantTimeout(a, time.Minute+time.Millisecond) // later than it was
		_ = a.SetReadDeadline(time.Now().Add(time.Minute))
		time.AfterFunc(time.Second, func() { _ = a.SetReadDeadline(time.Unix(1, 0)) })
		w.wantTimeout(a, time.Second) // how one unblocks a reader
	})
}

func TestDeadlinesAreApart(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.listen(w.public("a", "1.0.0.1", Link{}), 1)
		to := addrPort("1.0.0.1:1")
		_ = a.SetWriteDeadline(time.Now())
		if n, err := a.WriteBatch([][]byte{{1}}, []netip.AddrPort{to}); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("wrote %d, %v", n, err)
		}
		if err := a.WriteTTL([]byte{1}, to, 1); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("wrote, %v", err)
		}
		_ = a.SetWriteDeadline(time.Time{})
		_ = a.SetReadDeadline(time.Now())
		w.send(a, "1.0.0.1:1", "x")
		_ = a.SetDeadline(time.Now().Add(time.Second))
		w.wantPacket(a, "x")
	})
}

// A deadline and a packet at one instant: the deadline wins, whoever runs first.
func TestDeadlineAtArrival(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			a := w.listen(w.public("a", "1.0.0.1", Link{Delay: time.Millisecond}), 1)
			b := w.listen(w.public("b", "1.0.0.2", Link{}), 2)
			w.send(a, "1.0.0.2:2", "x")
			_ = b.SetReadDeadline(time.Now().Add(time.Millisecond + 1))
			w.wantTimeout(b, time.Millisecond+1)
			w.wantPacket(b, "x")
		})
	}
}
