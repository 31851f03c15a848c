package netsim

import (
	"net/netip"
	"testing"
	"time"
)

// BenchmarkPacket moves packets through one NAT and two links, in real time:
// instant ones, and those where thousands of packets are under way at a time, some of
// them late.
func BenchmarkPacket(b *testing.B) {
	for _, bb := range []struct {
		name   string
		link   Link
		window int
	}{
		{"instant", Link{}, 64},
		{"late", Link{Delay: time.Millisecond, Reorder: 0.1, ReorderBy: time.Millisecond, Rate: 100_000_000_000}, 8192},
		{"delay", Link{Delay: time.Millisecond, Jitter: time.Millisecond, Rate: 100_000_000_000}, 8192},
	} {
		b.Run(bb.name, func(b *testing.B) {
			w := newWorld(b, 1)
			h, _ := w.behind("a", "1.0.0.1", NAT{})
			h.SetLink(bb.link, bb.link)
			a := w.listen(h, 1)
			s := w.listen(w.public("s", "2.0.0.1", bb.link), 1)
			_ = s.SetReadBuffer(64 << 20)
			b.ReportAllocs()
			move(b, a, s, bb.window)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
		})
	}
}

// move sends b.N packets from a to s, with up to window of them under way.
func move(b *testing.B, a, s *Conn, window int) {
	const batch = 64
	bufs, sizes, addrs := make([][]byte, batch), make([]int, batch), make([]netip.AddrPort, batch)
	out, to := make([][]byte, batch), make([]netip.AddrPort, batch)
	for i := range batch {
		bufs[i], out[i], to[i] = make([]byte, 2000), make([]byte, 1200), addrPort("2.0.0.1:1")
	}
	b.ResetTimer()
	for sent, got := 0, 0; got < b.N; {
		for sent < b.N && sent-got+batch <= window {
			n, err := a.WriteBatch(out, to)
			if err != nil {
				b.Fatal(err)
			}
			sent += n
		}
		n, err := s.ReadBatch(bufs, sizes, addrs)
		if err != nil {
			b.Fatal(err)
		}
		got += n
	}
}
