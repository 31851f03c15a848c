package kcptransport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

func TestStreamHalfClose(t *testing.T) {
	inBubble(t, simModel{delay: 10 * time.Millisecond}, func(t *testing.T, p *muxPair) {
		s := p.open(p.a, "k")
		s.Write([]byte("question"))
		s.CloseWrite()
		if _, err := s.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write after CloseWrite: %v", err)
		}
		r := p.accept(p.b)
		q, err := io.ReadAll(r)
		if err != nil || string(q) != "question" {
			t.Fatalf("%q, %v", q, err)
		}
		r.Write([]byte("answer"))
		r.Close()
		a, err := io.ReadAll(s)
		if err != nil || string(a) != "answer" {
			t.Fatalf("%q, %v", a, err)
		}
		s.Close()
		p.wantIdle()
		p.wantStreams(0)
	})
}

func TestStreamReset(t *testing.T) {
	inBubble(t, simModel{delay: 10 * time.Millisecond, loss: 0.1}, func(t *testing.T, p *muxPair) {
		for i := range uint32(20) {
			s := p.open(p.a, "k")
			s.Write([]byte("x"))
			r := p.accept(p.b)
			p.wantRead(r, "x")
			if i%2 == 1 { // the side that accepted can do so too
				s, r = r, s
			}
			s.Reset(42)
			var reset *ResetError
			if _, err := r.Read(make([]byte, 1)); !errors.As(err, &reset) || reset.Code != 42 || !reset.Remote {
				t.Errorf("Read of the other side: %v", err)
			}
			if _, err := r.Write(make([]byte, 1)); !errors.As(err, &reset) || reset.Code != 42 || !reset.Remote {
				t.Errorf("Write of the other side: %v", err)
			}
			if _, err := s.Read(make([]byte, 1)); !errors.As(err, &reset) || reset.Code != 42 || reset.Remote {
				t.Errorf("Read of this side: %v", err)
			}
		}
		p.wantIdle()
		p.wantStreams(0)
	})
}

// A stream that is reset before the peer heard of it is not given to the peer, or is reset there too.
func TestStreamResetAtOnce(t *testing.T) {
	inBubble(t, simModel{delay: 10 * time.Millisecond}, func(t *testing.T, p *muxPair) {
		p.open(p.a, "k").Reset(1)
		s := p.open(p.a, "k")
		s.Write([]byte("x"))
		pass(time.Millisecond)
		s.Reset(2)
		p.wantIdle()
		p.wantStreams(0)
		if n := len(p.b.accepts); n != 0 {
			t.Errorf("%d dead streams wait to be accepted", n)
		}
	})
}

func TestStreamDeadlines(t *testing.T) {
	inBubble(t, simModel{delay: 10 * time.Millisecond}, func(t *testing.T, p *muxPair) {
		s := p.open(p.a, "k")
		start := time.Now()
		s.SetReadDeadline(start.Add(time.Second))
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("Read: %v after %v", err, time.Since(start))
		}
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read past the deadline: %v", err)
		}
		s.SetWriteDeadline(start.Add(2 * time.Second))
		n, err := s.Write(make([]byte, 16<<20)) // nobody accepts, so it blocks
		if !errors.Is(err, os.ErrDeadlineExceeded) || n < sendBuffer || time.Since(start) != 2*time.Second {
			t.Errorf("Write: %d bytes, %v after %v", n, err, time.Since(start))
		}
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Error("it is not a net.Error that says Timeout")
		}

		// A deadline that is set while Read waits wakes it; one that is taken back does not.
		s.SetReadDeadline(time.Time{})
		failed := make(chan error)
		go func() {
			_, err := s.Read(make([]byte, 1))
			failed <- err
		}()
		pass(time.Second)
		s.SetReadDeadline(time.Now().Add(time.Second))
		s.SetReadDeadline(time.Now().Add(time.Hour))
		pass(2 * time.Second)
		select {
		case err := <-failed:
			t.Errorf("an obsolete deadline ended Read: %v", err)
		default:
		}
		s.SetDeadline(time.Now().Add(-time.Second))
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read after a deadline in the past: %v", err)
		}

		// After a timeout the stream goes on where it was.
		s.SetDeadline(time.Time{})
		r := p.accept(p.b)
		go io.Copy(io.Discard, r)
		r.Write([]byte("still here"))
		p.wantRead(s, "still here")
		if _, err := s.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		s.Close()
		r.Close()
	})
}

func TestStreamCloseWakes(t *testing.T) {
	for name, end := range map[string]func(s *Stream){
		"close": func(s *Stream) { s.Close() },
		"reset": func(s *Stream) { s.Reset(1) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, simModel{delay: 10 * time.Millisecond}, func(t *testing.T, p *muxPair) {
				s := p.open(p.a, "k")
				failed := make(chan error)
				go func() {
					_, err := s.Read(make([]byte, 1))
					failed <- err
				}()
				go func() {
					_, err := s.Write(make([]byte, 16<<20))
					failed <- err
				}()
				pass(time.Second)
				end(s)
				for range 2 {
					err := <-failed
					var reset *ResetError
					if !errors.Is(err, net.ErrClosed) && !errors.As(err, &reset) {
						t.Error(err)
					}
				}
			})
		})
	}
}

// What was written before Close arrives, and the data does not keep the streams alive.
func TestStreamCloseDelivers(t *testing.T) {
	inBubble(t, simModel{delay: 20 * time.Millisecond, loss: 0.05, rate: 50e6, queue: 200e3}, func(t *testing.T, p *muxPair) {
		s := p.open(p.a, "k")
		want, _ := io.ReadAll(pattern(3, 2<<20))
		if _, err := s.Write(want); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		s.Close()
		if time.Since(start) != 0 {
			t.Error("Close blocked")
		}
		r := p.accept(p.b)
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes arrived: %v", len(got), err)
		}
		var reset *ResetError
		if _, err := r.Write([]byte("x")); !errors.As(err, &reset) || !reset.Remote {
			t.Errorf("Write to a stream whose other side is closed: %v", err)
		}
		r.Close()
		p.wantIdle()
		p.wantStreams(0)
	})
}

// The peer's Write fails after Close, even while it is blocked, and nothing is left behind.
func TestStreamCloseStopsPeer(t *testing.T) {
	inBubble(t, simModel{delay: 20 * time.Millisecond, loss: 0.05}, func(t *testing.T, p *muxPair) {
		s := p.open(p.a, "k")
		r := p.accept(p.b)
		failed := make(chan error)
		go func() {
			for {
				if _, err := r.Write(make([]byte, 1<<20)); err != nil {
					failed <- err
					return
				}
			}
		}()
		pass(time.Second)
		s.Close()
		var reset *ResetError
		if err := <-failed; !errors.As(err, &reset) || !reset.Remote || reset.Code != 0 {
			t.Errorf("Write: %v", err)
		}
		p.wantEOF(r)
		r.Close()
		p.wantIdle()
		p.wantStreams(0)
	})
}

// A reader that does not read stops the writer, and what is buffered for it is bounded; when it reads again, all goes
// on although the announcements are lost now and then.
func TestStreamSlowReader(t *testing.T) {
	for _, loss := range []float64{0, 0.3} {
		inBubble(t, simModel{delay: 10 * time.Millisecond, loss: loss}, func(t *testing.T, p *muxPair) {
			s := p.open(p.a, "k")
			const total = 12 << 20
			var written atomic.Int64
			go func() {
				buf := make([]byte, 64<<10)
				for range total / len(buf) {
					n, err := s.Write(buf)
					if written.Add(int64(n)); err != nil {
						t.Error(err)
						return
					}
				}
				s.CloseWrite()
			}()
			r := p.accept(p.b)
			pass(20 * time.Second)
			const bound = sendBuffer + readBuffer + recvWindowNew*1204 + 64<<10
			if at := written.Load(); loss == 0 && at > bound {
				t.Errorf("%d bytes were written although nobody reads, want at most %d", at, bound)
			}
			got := 0
			buf := make([]byte, 100<<10)
			for {
				n, err := io.ReadFull(r, buf)
				if got += n; err != nil {
					break
				}
				start := time.Now()
				pass(5 * time.Millisecond)
				if d := time.Since(start); d > 3*time.Second {
					t.Errorf("the stream stood still for %v", d)
				}
			}
			if got != total {
				t.Errorf("read %d bytes of %d", got, total)
			}
			if d := time.Since(p.start); loss == 0 && d > 25*time.Second {
				t.Errorf("it took until %v", d)
			}
			s.Close()
			r.Close()
			p.wantIdle()
		})
	}
}

// A closed stream whose peer takes nothing is given up after a while.
func TestStreamLinger(t *testing.T) {
	inBubble(t, simModel{delay: 10 * time.Millisecond}, func(t *testing.T, p *muxPair) {
		s := p.open(p.a, "k")
		s.Write(make([]byte, 2<<20))
		r := p.accept(p.b)
		s.Close()
		pass(3 * lingerPeriod)
		p.do(func() {
			if n := p.a.stats().Streams; n != 0 {
				t.Errorf("%d streams linger", n)
			}
		})
		var reset *ResetError
		if _, err := io.ReadAll(r); !errors.As(err, &reset) || reset.Code != ResetAbandoned {
			t.Errorf("Read: %v", err)
		}
		p.wantIdle()
	})
}

func TestStreamWritesDoNotMix(t *testing.T) {
	inBubble(t, simModel{delay: 5 * time.Millisecond, rate: 50e6}, func(t *testing.T, p *muxPair) {
		s := p.open(p.a, "k")
		const size = 300 << 10
		for i := range byte(8) {
			go s.Write(bytes.Repeat([]byte{i}, size))
		}
		r := p.accept(p.b)
		buf := make([]byte, size)
		for range 8 {
			io.ReadFull(r, buf)
			if !bytes.Equal(buf, bytes.Repeat(buf[:1], size)) {
				t.Fatal("two writes were mixed")
			}
		}
	})
}

func TestStreamAddresses(t *testing.T) {
	inBubble(t, simModel{}, func(t *testing.T, p *muxPair) {
		var c net.Conn = p.open(p.a, "kind")
		if got := fmt.Sprint(c.LocalAddr(), c.RemoteAddr()); got != "192.0.2.1:7337 192.0.2.2:7337" {
			t.Error(got)
		}
	})
}
