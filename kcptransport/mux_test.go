package kcptransport

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"
)

func TestMuxEcho(t *testing.T) {
	inBubble(t, simModel{delay: 10 * time.Millisecond}, func(t *testing.T, p *muxPair) {
		s := p.open(p.a, "echo")
		start := time.Now()
		s.Write([]byte("hello"))
		r := p.accept(p.b)
		if r.Kind() != "echo" || r.ID() != s.ID() {
			t.Fatalf("accepted %q, stream %d", r.Kind(), r.ID())
		}
		p.wantRead(r, "hello")
		if d := time.Since(start); d != 10*time.Millisecond {
			t.Errorf("the first message took %v", d)
		}
		for i := range 100 {
			start := time.Now()
			msg := fmt.Sprint("message ", i)
			r.Write([]byte(msg))
			p.wantRead(s, msg)
			s.Write([]byte(msg))
			p.wantRead(r, msg)
			if d := time.Since(start); d != 20*time.Millisecond {
				t.Errorf("round trip %d took %v", i, d)
			}
		}
		s.Close()
		p.wantEOF(r)
		r.Close()
		p.wantIdle()
		p.wantStreams(0)
	})
}

// transfer sends n bytes over one stream and returns how long it took until the last was read.
func transfer(t testing.TB, p *muxPair, n int64) time.Duration {
	t.Helper()
	start := time.Now()
	s := p.open(p.a, "bulk")
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 64<<10)
		if _, err := io.CopyBuffer(struct{ io.Writer }{s}, pattern(7, n), buf); err != nil {
			t.Error(err)
		}
		s.CloseWrite()
	})
	r := p.accept(p.b)
	got, want := sha256.New(), sha256.New()
	m, err := io.Copy(got, struct{ io.Reader }{r})
	if err != nil || m != n {
		t.Fatalf("read %d of %d bytes: %v", m, n, err)
	}
	took := time.Since(start)
	wg.Wait()
	io.Copy(want, pattern(7, n))
	if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Fatal("the bytes differ")
	}
	r.Close()
	s.Close()
	return took
}

func TestMuxIntegrity(t *testing.T) {
	for _, c := range []struct {
		name  string
		bytes int64
		model simModel
	}{
		{"fast path", 16 << 20, simModel{rate: 1e9, delay: 5 * time.Millisecond, queue: 1 << 20, loss: 0.02}},
		{"reordering and duplicates", 16 << 20, simModel{rate: 1e9, delay: 5 * time.Millisecond, jitter: 3 * time.Millisecond, duplicate: 0.05, loss: 0.01}},
		{"loss 30 %", 1 << 20, simModel{rate: 1e8, delay: 25 * time.Millisecond, loss: 0.3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, c.model, func(t *testing.T, p *muxPair) {
				took := transfer(t, p, c.bytes)
				p.wantIdle()
				p.stop()
				s := p.a.stats()
				t.Logf("%.0f Mbit/s, %d turns, %+v", float64(c.bytes)*8/took.Seconds()/1e6, p.turns, s.muxCounts)
			})
		})
	}
}

// At 100 Mbit/s with a queue of one bandwidth-delay product, what arrives is close to what the path can carry. Of the
// rate, 6.4 % are headers.
func TestMuxGoodput(t *testing.T) {
	for _, c := range []struct {
		loss, burst float64
		delay       time.Duration
		bytes       int64
		want, wire  float64 // part of the link; bytes sent for each delivered
	}{
		{0, 0, 25 * time.Millisecond, 64 << 20, 0.89, 1.09},
		{0.02, 0, 25 * time.Millisecond, 64 << 20, 0.86, 1.12},
		{0.1, 0, 25 * time.Millisecond, 64 << 20, 0.75, 1.22},
		{0.05, 0, 25 * time.Millisecond, 16 << 20, 0.68, 1.16},
		{0.008, 0.86, 25 * time.Millisecond, 16 << 20, 0.68, 1.2},
		{0, 0, 100 * time.Millisecond, 20 << 20, 0.5, 1.1},
	} {
		t.Run(fmt.Sprintf("RTT %v loss %v burst %v", 2*c.delay, c.loss, c.burst), func(t *testing.T) {
			if raceEnabled && c.bytes > 16<<20 {
				t.Skip("takes long with the race detector")
			}
			const rate = 100e6
			model := simModel{rate: rate, delay: c.delay, loss: c.loss, burst: c.burst, queue: int(rate / 8 * 2 * c.delay.Seconds())}
			inBubble(t, model, func(t *testing.T, p *muxPair) {
				took := transfer(t, p, c.bytes)
				p.stop()
				share := float64(c.bytes) * 8 / took.Seconds() / rate
				wire := float64(p.ab.bytes) / float64(c.bytes)
				t.Logf("%.3f of the link, wire %.3f, longest queue %v, %+v", share, wire, p.ab.maxQueue, p.a.stats())
				if share < c.want || wire > c.wire {
					t.Errorf("goodput is %.3f of the link, want %.2f; %.3f bytes were sent for each, want %.2f", share, c.want, wire, c.wire)
				}
			})
		})
	}
}
