package netsim

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A program on a paused host stands still at its next read or write.
func TestPause(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ha := w.public("a", "1.0.0.1", Link{})
		a, b := w.listen(ha, 1), w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		turns := make(chan time.Duration, 5)
		start := time.Now()
		go func() { // says a word every second, and listens all the time
			for range 5 {
				if _, err := a.WriteToUDPAddrPort([]byte("tick"), addrPort("1.0.0.2:2")); err != nil {
					t.Error(err)
				}
				turns <- time.Since(start)
				time.Sleep(time.Second)
			}
		}()
		read := make(chan time.Duration, 2)
		go func() {
			for buf := make([]byte, 10); ; read <- time.Since(start) {
				if _, _, err := a.ReadFrom(buf); err != nil {
					return
				}
			}
		}()
		time.Sleep(1500 * time.Millisecond)
		ha.Pause()
		w.send(b, "1.0.0.1:1", "one")
		time.Sleep(time.Minute)
		w.send(b, "1.0.0.1:1", "two")
		synctest.Wait()
		if len(turns) != 2 || len(read) != 0 {
			t.Errorf("a paused host wrote %d times and read %d times", len(turns), len(read))
		}
		if got := w.Stats().Delivered; got != 3 {
			t.Errorf("%d packets wait or were read before, want 1 and 2 ticks", got)
		}
		ha.Pause() // changes nothing
		ha.Resume()
		resumed := time.Since(start) + 1
		time.Sleep(time.Minute)
		for i, want := range []time.Duration{0, time.Second, resumed, resumed + time.Second, resumed + 2*time.Second} {
			if got := <-turns; got != want {
				t.Errorf("write %d at %v, want %v", i, got, want)
			}
		}
		if one, two := <-read, <-read; one != resumed || two != resumed {
			t.Errorf("reads at %v and %v, resumed at %v", one, two, resumed)
		}
		_ = a.Close()
	})
}

// A deadline that passes while the host is paused has passed when it resumes, not
// before; closing wakes at any time.
func TestDeadlinesAndClosingOfAPausedHost(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h := w.public("a", "1.0.0.1", Link{})
		c, d := w.listen(h, 1), w.listen(h, 2)
		_ = c.SetDeadline(time.Now().Add(time.Second))
		h.Pause()
		time.Sleep(time.Nanosecond)
		start := time.Now()
		errs := make(chan error, 3)
		go func() {
			_, _, err := c.ReadFrom(make([]byte, 1))
			errs <- err
		}()
		go func() { errs <- c.WriteTTL(nil, addrPort("1.0.0.2:1"), 0) }()
		go func() { errs <- d.WriteTTL(nil, addrPort("1.0.0.2:1"), 0) }()
		time.AfterFunc(5*time.Second, func() { _ = d.Close() })
		if err := <-errs; !errors.Is(err, net.ErrClosed) || time.Since(start) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		h.Resume()
		for range 2 {
			if err := <-errs; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 5*time.Second+1 {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		}
	})
}

// What is written at the very instant of Pause is sent, whichever comes first.
func TestPauseBeginsANanosecondLater(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h := w.public("a", "1.0.0.1", Link{})
		c := w.listen(h, 1)
		h.Pause()
		w.send(c, "1.0.0.1:1", "sent")
		time.Sleep(time.Second)
		h.Pause() // changes nothing
		sent := false
		go func() {
			_, _ = c.WriteToUDPAddrPort(nil, addrPort("1.0.0.1:1"))
			sent = true
		}()
		synctest.Wait()
		if sent || w.Stats().Sent != 1 {
			t.Errorf("%d packets sent", w.Stats().Sent)
		}
		_ = c.Close()
	})
}

func TestPausedHostHasOnlyItsBuffer(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ha := w.public("a", "1.0.0.1", Link{})
		a, b := w.listen(ha, 1), w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		_ = a.SetReadBuffer(3 * (headers4 + 1))
		ha.Pause()
		for range 5 {
			w.send(b, "1.0.0.1:1", "x")
		}
		time.Sleep(time.Second)
		w.wantDrops(DropBuffer, 2)
		ha.Resume()
		for range 3 {
			w.wantPacket(a, "x")
		}
	})
}

func TestCrashAndStart(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ha := w.public("a", "1.0.0.1", Link{})
		a, b := w.listen(ha, 1), w.listen(w.public("b", "1.0.0.2", Link{Delay: time.Millisecond}), 2)
		waits := make(chan error, 1)
		go func() {
			_, _, err := a.ReadFrom(make([]byte, 1))
			waits <- err
		}()
		time.Sleep(time.Second)
		w.send(a, "1.0.0.2:2", "never left")
		ha.Crash()
		wantDown := func(what string, err error) {
			t.Helper()
			var op *net.OpError
			if !errors.Is(err, syscall.ENETDOWN) || !errors.As(err, &op) {
				t.Errorf("%s: %v", what, err)
			}
		}
		wantDown("a read that waits", <-waits)
		_, _, err := a.ReadFrom(make([]byte, 1))
		wantDown("a read", err)
		_, err = a.WriteTo(nil, b.LocalAddr())
		wantDown("a write", err)
		wantDown("a deadline", a.SetDeadline(time.Time{}))
		_, err = ha.ListenUDP(addrPort("0.0.0.0:1"))
		wantDown("a new socket", err)
		w.send(b, "1.0.0.1:1", "to nobody")
		w.wantNothing(b)
		w.wantDrops(DropHostDown, 2)

		ha.Start()
		again := w.listen(ha, 1) // the port is free
		if err := a.Close(); err != nil {
			t.Errorf("closing a dead socket: %v", err)
		}
		_, _, err = a.ReadFrom(make([]byte, 1))
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("and then reading it: %v", err)
		}
		w.send(b, "1.0.0.1:1", "back")
		w.wantPacket(again, "back")
		ha.Start() // changes nothing
		w.send(again, "1.0.0.2:2", "here I am")
		w.wantPacket(b, "here I am")
	})
}

// A host can crash and start at one instant, also while it is paused.
func TestCrashOfAPausedHost(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h := w.public("a", "1.0.0.1", Link{})
		a := w.listen(h, 1)
		h.Pause()
		waits := make(chan error, 1)
		go func() {
			_, _, err := a.ReadFrom(make([]byte, 1))
			waits <- err
		}()
		time.Sleep(time.Second)
		h.Crash()
		h.Start()
		again := w.listen(h, 1)
		if err := <-waits; !errors.Is(err, syscall.ENETDOWN) {
			t.Error(err)
		}
		w.send(again, "1.0.0.1:1", "to myself")
		w.wantPacket(again, "to myself")
	})
}
