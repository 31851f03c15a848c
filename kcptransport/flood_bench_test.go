//go:build linux

package kcptransport

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// BenchmarkFloodedLink is the bar for floods: a link streams over loopback while 100,000 first messages arrive within
// five seconds, each from an address and port of its own. The same flood at a socket that only reads is what it is
// compared with, because making the flood costs more than fending it off; the two take turns every quarter of a second, so
// that whatever else the machine does befalls both. What is told is the median of the runs, and that of pairs of turns, which
// others on the machine move less. It needs a machine on which all of 127.0.0.0/8 can be sent from (Linux).
func BenchmarkFloodedLink(b *testing.B) {
	b.Run("200Mbit", func(b *testing.B) { benchmarkFloodedLink(b, 200e6) })
	b.Run("full", func(b *testing.B) { benchmarkFloodedLink(b, 1e12) })
}

// benchmarkFloodedLink measures a link on which the application writes at a rate, in bits a second.
func benchmarkFloodedLink(b *testing.B, pace float64) {
	l, m := loopbackPair(b)
	var got atomic.Int64
	go func() {
		r, err := m.AcceptStream(context.Background())
		if err != nil {
			return
		}
		buf := make([]byte, 128<<10)
		for {
			n, err := r.Read(buf)
			if got.Add(int64(n)); err != nil {
				return
			}
		}
	}()
	s, err := l.OpenStream(context.Background(), "bulk")
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		buf := make([]byte, 128<<10)
		pause := time.Duration(float64(len(buf)) * 8 / pace * 1e9)
		for due := time.Now(); ; due = due.Add(pause) {
			if waitUntil(due); time.Since(due) > time.Second { // what is late for long stays late
				due = time.Now()
			}
			if _, err := s.Write(buf); err != nil {
				return
			}
		}
	}()
	sink := sinkSocket(b)
	noise := floodPacket(b)
	waitUntil(time.Now().Add(2 * time.Second)) // until the link has found its rate
	var ratios, pairs []float64
	for b.Loop() {
		turn := func(i int, target netip.AddrPort) float64 {
			before, start := got.Load(), time.Now()
			flood(b, target, noise, i*floodPackets/floodTurns, floodPackets/floodTurns)
			return float64(got.Load()-before) * 8 / 1e6 / time.Since(start).Seconds() / floodTurns
		}
		base, flooded := 0.0, 0.0
		for i := range floodTurns {
			var calm, busy float64
			if i%2 == 0 {
				calm = turn(i, sink)
				busy = turn(i, m.ep.LocalAddr())
			} else {
				busy = turn(i, m.ep.LocalAddr())
				calm = turn(i, sink)
			}
			base, flooded, pairs = base+calm, flooded+busy, append(pairs, busy/calm)
		}
		b.Logf("%.0f Mbit/s while a sink is flooded, %.0f Mbit/s while the endpoint is", base, flooded)
		ratios = append(ratios, flooded/base)
	}
	slices.Sort(ratios)
	slices.Sort(pairs)
	b.ReportMetric(ratios[len(ratios)/2], "of-the-throughput")
	b.ReportMetric(pairs[len(pairs)/2], "of-it-in-pairs")
	_ = s.Close()
}

// waitUntil keeps a load at its rate. Only benchmarks wait in real time, which is what they measure.
func waitUntil(at time.Time) {
	if wait := time.Until(at); wait > 0 {
		<-time.After(wait)
	}
}

// sinkSocket reads and does nothing else.
func sinkSocket(b *testing.B) netip.AddrPort {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func floodPacket(b *testing.B) []byte {
	i, err := newInitiator(handshakeConfig{identity: testIdentity(7), app: "test"}, PeerID{}, 7, says(testHello(7)))
	if err != nil {
		b.Fatal(err)
	}
	return bytes.Clone(i.first())
}

const (
	floodPackets = 100_000
	floodSpan    = 5 * time.Second
	floodTurns   = 20
)

// flood sends first messages number from and so on, evenly in time. Their sockets stay open for a while, so that the
// kernel does not answer each answer to them with an ICMP message, at our expense.
func flood(b *testing.B, to netip.AddrPort, noise []byte, from, count int) {
	const burst = 200
	start := time.Now()
	var open [512]int
	defer func() {
		for _, fd := range open {
			if fd != 0 {
				syscall.Close(fd)
			}
		}
	}()
	target := syscall.SockaddrInet4{Port: int(to.Port()), Addr: [4]byte{127, 0, 0, 1}}
	for n := range count {
		if n%burst == 0 {
			waitUntil(start.Add(floodSpan * time.Duration(n) / floodPackets))
		}
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
		if err != nil {
			b.Fatal(err)
		}
		k := from + n
		source := syscall.SockaddrInet4{Addr: [4]byte{127, byte(1 + k>>16), byte(k >> 8), byte(k)}}
		if err := syscall.Bind(fd, &source); err == nil {
			_ = syscall.Sendto(fd, spoofed(k, noise).b, 0, &target) // a full buffer is part of a flood
		}
		if old := open[n%len(open)]; old != 0 {
			syscall.Close(old)
		}
		open[n%len(open)] = fd
	}
	waitUntil(start.Add(floodSpan * time.Duration(count) / floodPackets))
}
