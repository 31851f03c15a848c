package kcptransport

import (
	"context"
	"io"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/2xppg/xppg/internal/udp"
)

// loopbackPair gives the two ends of a link between real sockets.
func loopbackPair(t testing.TB) (l, m *Link) {
	t.Helper()
	node := func(n byte) *Endpoint {
		conn, err := udp.Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		e, err := Listen(Config{Conn: conn, Identity: testIdentity(n), App: "test"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		return e
	}
	a, b := node(1), node(2)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l, err := a.Dial(ctx, Dial{Peer: b.ID(), Addrs: []netip.AddrPort{b.LocalAddr()}})
	if err != nil {
		t.Fatal(err)
	}
	if m, err = b.Accept(ctx); err != nil {
		t.Fatal(err)
	}
	return l, m
}

func BenchmarkLoopbackStream(b *testing.B) {
	l, m := loopbackPair(b)
	s, err := l.OpenStream(context.Background(), "bulk")
	if err != nil {
		b.Fatal(err)
	}
	const portion = 128 << 10
	buf := make([]byte, portion)
	done := make(chan int64)
	go func() {
		defer close(done)
		r, err := m.AcceptStream(context.Background())
		if err != nil {
			return
		}
		n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, portion))
		done <- n
	}()
	b.SetBytes(portion)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	_ = s.CloseWrite()
	n := <-done
	b.ReportMetric(float64(n)*8/1e6/b.Elapsed().Seconds(), "Mbit/s")
	b.Logf("sender   %+v", l.Stats())
	b.Logf("receiver %+v", m.Stats())
}

func BenchmarkLoopbackEcho(b *testing.B) {
	l, m := loopbackPair(b)
	s, err := l.OpenStream(context.Background(), "echo")
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		r, err := m.AcceptStream(context.Background())
		if err != nil {
			return
		}
		_, _ = io.Copy(r, r)
	}()
	buf := make([]byte, 100)
	var times []time.Duration
	for b.Loop() {
		start := time.Now()
		if _, err := s.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(s, buf); err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Nanoseconds())/1e3, "p50-µs")
	b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds())/1e3, "p99-µs")
}
