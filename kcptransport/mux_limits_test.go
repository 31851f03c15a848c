package kcptransport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestMuxManyStreams(t *testing.T) {
	inBubble(t, simModel{delay: 10 * time.Millisecond, rate: 100e6, queue: 200e3, loss: 0.02}, func(t *testing.T, p *muxPair) {
		const streams, size = 100, 50 << 10
		serve := func(m *mux) { // sends back what comes
			for range streams {
				r := p.accept(m)
				go func() {
					b, err := io.ReadAll(r)
					if err != nil {
						t.Error(err)
					}
					r.Write(b)
					r.Close()
				}()
			}
		}
		go serve(p.a)
		go serve(p.b)
		done := make(chan struct{})
		for i := range 2 * streams {
			go func() {
				defer func() { done <- struct{}{} }()
				s := p.open([]*mux{p.a, p.b}[i%2], fmt.Sprint(i))
				want, _ := io.ReadAll(pattern(byte(i), size))
				go func() {
					s.Write(want)
					s.CloseWrite()
				}()
				got, err := io.ReadAll(s)
				if err != nil || string(got) != string(want) {
					t.Errorf("stream %d brought back %d bytes, %v", i, len(got), err)
				}
				s.Close()
			}()
		}
		for range 2 * streams {
			<-done
		}
		p.wantIdle()
		p.wantStreams(0)
	})
}

// A stream does not wait for what another one lost, nor for one that nobody reads.
func TestMuxHeadOfLine(t *testing.T) {
	inBubble(t, simModel{delay: 25 * time.Millisecond, rate: 50e6, queue: 300e3}, func(t *testing.T, p *muxPair) {
		bulk := p.open(p.a, "bulk")
		go func() {
			for {
				if _, err := bulk.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}()
		stuck := p.accept(p.b) // and nobody reads it
		pass(time.Second)
		s := p.open(p.a, "echo")
		start := time.Now()
		s.Write([]byte("x"))
		r := p.accept(p.b)
		p.wantRead(r, "x")
		if d := time.Since(start); d > 30*time.Millisecond {
			t.Errorf("the message took %v", d)
		}
		go io.Copy(io.Discard, stuck)
		pass(time.Second)
		for _, loss := range []float64{0, 0.02} {
			p.do(func() { p.ab.model.loss = loss })
			var took []time.Duration
			for range 100 {
				start := time.Now()
				s.Write([]byte("x"))
				p.wantRead(r, "x")
				took = append(took, time.Since(start))
				pass(10 * time.Millisecond)
			}
			slices.Sort(took)
			half, most := took[len(took)/2], took[len(took)*95/100]
			t.Logf("one-way time of a message beside bulk at loss %v: p50 %v, p95 %v", loss, half, most)
			if half > 45*time.Millisecond || most > 100*time.Millisecond {
				t.Errorf("loss %v: messages beside bulk take p50 %v, p95 %v", loss, half, most)
			}
		}
		bulk.Reset(0)
	})
}

func TestMuxStreamLimit(t *testing.T) {
	inBubble(t, simModel{delay: 10 * time.Millisecond}, func(t *testing.T, p *muxPair) {
		var open []*Stream
		for range 10 {
			s := p.open(p.a, "k")
			s.Write([]byte("x"))
			open = append(open, s)
		}
		pass(time.Second)
		var reset *ResetError
		refused := 0
		for _, s := range open {
			s.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := s.Read(make([]byte, 1)); errors.As(err, &reset) {
				refused++
				if reset.Code != ResetRefused || !reset.Remote {
					t.Error(reset)
				}
			}
		}
		if refused != 6 {
			t.Errorf("%d streams were refused, want 6", refused)
		}
		for range 4 {
			p.accept(p.b).Reset(0)
		}
		pass(time.Second)
		s := p.open(p.a, "k") // there is room again
		s.Write([]byte("y"))
		p.wantRead(p.accept(p.b), "y")
	}, func(_ *muxPair, a, b *muxConfig) { a.maxStreams, b.maxStreams = 100, 4 })
}

func TestMuxOpenLimits(t *testing.T) {
	inBubble(t, simModel{delay: 10 * time.Millisecond}, func(t *testing.T, p *muxPair) {
		if _, err := p.a.open(string(make([]byte, maxKind+1))); err == nil {
			t.Error("a kind of 65 bytes was taken")
		}
		if _, err := p.a.open(""); err == nil {
			t.Error("a stream without a kind was opened")
		}
		p.open(p.a, string(make([]byte, maxKind))).Write([]byte("x"))
		if kind := p.accept(p.b).Kind(); len(kind) != maxKind {
			t.Errorf("its kind has %d bytes", len(kind))
		}
		p.open(p.a, "k")
		if _, err := p.a.open("k"); !errors.Is(err, errTooManyStreams) {
			t.Errorf("opening one too many: %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		p.accept(p.b)
		if _, err := p.b.accept(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("accept: %v", err)
		}
	}, withStreams(2))
}

// After close everything fails with its error, but what came before can be read.
func TestMuxClose(t *testing.T) {
	inBubble(t, simModel{delay: 10 * time.Millisecond}, func(t *testing.T, p *muxPair) {
		s := p.open(p.a, "k")
		s.Write([]byte("last words"))
		r := p.accept(p.b)
		pass(time.Second)
		failed := make(chan error)
		go func() {
			_, err := s.Read(make([]byte, 1))
			failed <- err
		}()
		go func() {
			_, err := p.a.accept(context.Background())
			failed <- err
		}()
		pass(time.Second)
		p.stop()
		for range 2 {
			if err := <-failed; !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		}
		if got, err := io.ReadAll(r); string(got) != "last words" || !errors.Is(err, net.ErrClosed) {
			t.Errorf("%q, %v", got, err)
		}
		if _, err := r.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if _, err := p.a.open("k"); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		s.Close()
		s.Reset(1)
		if err := p.a.input(time.Now(), []byte("x")); err != nil {
			t.Error(err)
		}
	})
}

// Ten thousand streams leave nothing behind, also when packets are lost at every point of their lives.
func TestMuxForgets(t *testing.T) {
	inBubble(t, simModel{delay: time.Millisecond, loss: 0.05}, func(t *testing.T, p *muxPair) {
		round := func(n int) {
			const parallel = 50
			done := make(chan struct{})
			go func() {
				for range n {
					r := p.accept(p.b)
					go func() {
						io.ReadAll(r)
						r.Write([]byte("answer"))
						r.Close()
					}()
				}
			}()
			for w := range parallel {
				go func() {
					for i := range n / parallel {
						s := p.open(p.a, "k")
						s.Write([]byte("question"))
						s.CloseWrite()
						if (w+i)%5 > 0 { // some do not wait for the answer
							io.ReadAll(s)
						}
						s.Close()
					}
					done <- struct{}{}
				}()
			}
			for range parallel {
				<-done
			}
			p.wantIdle()
			p.wantStreams(0)
		}
		memory := func() uint64 {
			runtime.GC()
			runtime.GC()
			var ms runtime.MemStats
			runtime.ReadMemStats(&ms)
			return ms.HeapAlloc
		}
		round(1000)
		start := memory()
		round(10000)
		if end := memory(); end > start+1<<20 {
			t.Errorf("%d KB of memory are kept after 10,000 streams", (end-start)>>10)
		}
		if low := p.b.peerSeen.low; low != 11000 {
			t.Errorf("the watermark of streams is %d", low)
		}
	})
}

// Losing the path stops everything; with a new one the stream goes on at once.
func TestMuxPathChange(t *testing.T) {
	inBubble(t, simModel{delay: 10 * time.Millisecond, rate: 50e6, queue: 150e3}, func(t *testing.T, p *muxPair) {
		s := p.open(p.a, "bulk")
		go func() {
			for {
				if _, err := s.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}()
		r := p.accept(p.b)
		var mu sync.Mutex
		got := 0
		last := time.Now()
		var gap time.Duration
		go func() {
			buf := make([]byte, 64<<10)
			for {
				n, err := r.Read(buf)
				if err != nil {
					return
				}
				mu.Lock()
				got += n
				gap = max(gap, time.Since(last))
				last = time.Now()
				mu.Unlock()
			}
		}()
		pass(2 * time.Second)
		p.do(func() { // everything is lost for 5 seconds, and nobody knows
			p.ab.model.loss, p.ba.model.loss = 1, 1
		})
		pass(5 * time.Second)
		var sent int
		p.do(func() { sent = p.ab.sent })
		pass(5 * time.Second)
		p.do(func() {
			if n := p.ab.sent - sent; n > 20 {
				t.Errorf("%d packets were sent in 5 s into a path that brings nothing back", n)
			}
			p.a.blocked(true) // it is found out
			p.b.blocked(true)
		})
		pass(time.Second)
		p.do(func() {
			if at := p.a.next(); !at.IsZero() {
				t.Error("a mux without a path wants to be woken")
			}
			p.ab.model.loss, p.ba.model.loss = 0, 0
			p.ab.model.delay, p.ba.model.delay = 50*time.Millisecond, 50*time.Millisecond
			for _, m := range []*mux{p.a, p.b} {
				m.pathChanged(time.Now(), false)
				m.blocked(false)
			}
			mu.Lock()
			gap = 0
			last = time.Now()
			mu.Unlock()
		})
		p.wake()
		mu.Lock()
		before := got
		mu.Unlock()
		pass(5 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		t.Logf("went on after %v, %d MB in 5 s", gap, (got-before)>>20)
		if gap > 500*time.Millisecond {
			t.Errorf("the stream stood still for %v after the new path was there", gap)
		}
		if got-before < 18<<20 {
			t.Errorf("%d MB in 5 s on the new path", (got-before)>>20)
		}
		s.Reset(0)
	})
}

// An idle mux asks for no timer, and nothing is sent.
func TestMuxIdle(t *testing.T) {
	inBubble(t, simModel{delay: 10 * time.Millisecond, loss: 0.1}, func(t *testing.T, p *muxPair) {
		s := p.open(p.a, "k")
		s.Write(make([]byte, 100<<10))
		r := p.accept(p.b)
		p.wantRead(r, string(make([]byte, 100<<10)))
		p.wantIdle()
		var sent, turns int
		p.do(func() { sent, turns = p.ab.sent+p.ba.sent, p.turns })
		pass(time.Hour)
		p.do(func() {
			if n := p.ab.sent + p.ba.sent - sent; n != 0 {
				t.Errorf("%d packets were sent in an idle hour", n)
			}
			if n := p.turns - turns; n > 2 {
				t.Errorf("the loop turned %d times in an idle hour", n)
			}
		})
	})
}

// Two links on one path get about the same, and leave room in its queue.
func TestMuxFairness(t *testing.T) {
	if raceEnabled {
		t.Skip("takes long with the race detector")
	}
	inBubble(t, simModel{delay: 25 * time.Millisecond, rate: 100e6, queue: 625e3}, func(t *testing.T, p *muxPair) {
		flow := func(a, b *mux, got *atomic.Int64) {
			s := p.open(a, "bulk")
			go func() {
				for {
					if _, err := s.Write(make([]byte, 64<<10)); err != nil {
						return
					}
				}
			}()
			r := p.accept(b)
			buf := make([]byte, 64<<10)
			for {
				n, err := r.Read(buf)
				if err != nil {
					return
				}
				got.Add(int64(n))
			}
		}
		var first, second atomic.Int64
		go flow(p.a, p.b, &first)
		pass(2 * time.Second)
		a, b := p.add()
		go flow(a, b, &second)
		pass(2 * time.Second)
		atFirst, atSecond := first.Load(), second.Load()
		pass(6 * time.Second)
		p.stop()
		f, s := float64(first.Load()-atFirst)*8/6/100e6, float64(second.Load()-atSecond)*8/6/100e6
		t.Logf("%.2f and %.2f of the link, lost %d and %d, longest queue %v", f, s, p.a.counts.Lost, a.counts.Lost, p.ab.maxQueue)
		if f+s < 0.85 || f > 3*s || s > 3*f {
			t.Errorf("two flows get %.2f and %.2f of the link", f, s)
		}
	})
}
