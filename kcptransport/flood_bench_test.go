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
// compared with, because making the flood costs more than fending it off. It needs a machine on which all of 127.0.0.0/8
// can be sent from (Linux).
func BenchmarkFloodedLink(b *testing.B) {
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
		for {
			if _, err := s.Write(buf); err != nil {
				return
			}
		}
	}()
	sink := sinkSocket(b)
	noise := floodPacket(b)
	time.Sleep(2 * time.Second) // until the link has found its rate
	var ratios []float64
	for b.Loop() {
		rate := func(target netip.AddrPort) float64 {
			before, start := got.Load(), time.Now()
			flood(b, target, noise)
			return float64(got.Load()-before) * 8 / 1e6 / time.Since(start).Seconds()
		}
		base := rate(sink)
		flooded := rate(m.ep.LocalAddr())
		b.Logf("%.0f Mbit/s while a sink is flooded, %.0f Mbit/s while the endpoint is", base, flooded)
		ratios = append(ratios, flooded/base)
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "of-the-throughput")
	_ = s.Close()
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

// flood sends 100,000 first messages, evenly within five seconds.
func flood(b *testing.B, to netip.AddrPort, noise []byte) {
	const (
		packets = 100_000
		span    = 5 * time.Second
		burst   = 200
	)
	start := time.Now()
	target := syscall.SockaddrInet4{Port: int(to.Port()), Addr: [4]byte{127, 0, 0, 1}}
	for n := range packets {
		if n%burst == 0 {
			time.Sleep(time.Until(start.Add(span * time.Duration(n) / packets)))
		}
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
		if err != nil {
			b.Fatal(err)
		}
		spoofed(n, noise)
		from := syscall.SockaddrInet4{Addr: [4]byte{127, byte(1 + n>>16), byte(n >> 8), byte(n)}}
		if err := syscall.Bind(fd, &from); err == nil {
			_ = syscall.Sendto(fd, noise, 0, &target) // a full buffer is part of a flood
		}
		syscall.Close(fd)
	}
	time.Sleep(time.Until(start.Add(span)))
}
