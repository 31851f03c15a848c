package netsim

import (
	"net/netip"
	"testing"
)

// BenchmarkPacket moves packets through one NAT and two links.
func BenchmarkPacket(b *testing.B) {
	w := newWorld(b, 1)
	h, _ := w.behind("a", "1.0.0.1", NAT{})
	h.SetLink(Link{}, Link{})
	a := w.listen(h, 1)
	s := w.listen(w.public("s", "2.0.0.1", Link{}), 1)
	const batch = 64
	bufs, sizes, addrs := make([][]byte, batch), make([]int, batch), make([]netip.AddrPort, batch)
	out, to := make([][]byte, batch), make([]netip.AddrPort, batch)
	for i := range batch {
		bufs[i], out[i], to[i] = make([]byte, 2000), make([]byte, 1200), addrPort("2.0.0.1:1")
	}
	b.ReportAllocs()
	for n := 0; n < b.N; n += batch {
		if _, err := a.WriteBatch(out, to); err != nil {
			b.Fatal(err)
		}
		for got := 0; got < batch; {
			k, err := s.ReadBatch(bufs, sizes, addrs)
			if err != nil {
				b.Fatal(err)
			}
			got += k
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
}
