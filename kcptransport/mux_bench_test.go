package kcptransport

import (
	"io"
	"testing"
	"time"
)

// BenchmarkMux moves data between two muxes in one process, without encryption and network: what KCP and its driver
// cost. Both ends share one goroutine.
func BenchmarkMux(b *testing.B) {
	p := newMuxPair(b, simModel{})
	defer p.stop()
	s := p.open(p.a, "bulk")
	const portion = 128 << 10
	b.SetBytes(portion)
	b.ReportAllocs()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r := p.accept(p.b)
		io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, portion))
	}()
	buf := make([]byte, portion)
	for b.Loop() {
		if _, err := s.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	s.CloseWrite()
	<-done
	b.StopTimer()
	st := p.a.stats()
	b.ReportMetric(float64(st.Retransmitted)/float64(st.Sent), "again/segment")
	b.ReportMetric(float64(p.turns)/float64(b.N), "turns/op")
}

// BenchmarkMuxEcho sends 100 bytes there and back.
func BenchmarkMuxEcho(b *testing.B) {
	p := newMuxPair(b, simModel{})
	defer p.stop()
	s := p.open(p.a, "echo")
	done := make(chan struct{})
	go func() {
		defer close(done)
		r := p.accept(p.b)
		io.CopyBuffer(struct{ io.Writer }{r}, struct{ io.Reader }{r}, make([]byte, 1000))
		r.Close()
	}()
	buf := make([]byte, 100)
	b.ReportAllocs()
	var slowest time.Duration
	for b.Loop() {
		start := time.Now()
		s.Write(buf)
		if _, err := io.ReadFull(s, buf); err != nil {
			b.Fatal(err)
		}
		slowest = max(slowest, time.Since(start))
	}
	b.ReportMetric(float64(slowest.Microseconds()), "max-µs")
	s.CloseWrite()
	<-done
}

// BenchmarkMuxShortStreams opens, uses and closes streams, one after the other.
func BenchmarkMuxShortStreams(b *testing.B) {
	p := newMuxPair(b, simModel{})
	defer p.stop()
	b.ReportAllocs()
	for b.Loop() {
		s := p.open(p.a, "short")
		s.Write([]byte("hello"))
		s.CloseWrite()
		r := p.accept(p.b)
		io.ReadAll(r)
		r.Close()
		io.ReadAll(s)
		s.Close()
	}
}
