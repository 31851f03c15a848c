package carrier

import (
	"net"
	"net/netip"
	"testing"

	"github.com/2xppg/xppg/internal/udp"
	"github.com/2xppg/xppg/kcptransport"
)

// BenchmarkUDP shows what wrapping costs UDP while there are no connections: batches of
// 16 packets of 1,200 bytes from a socket to itself.
func BenchmarkUDP(b *testing.B) {
	for _, wrapped := range []bool{false, true} {
		b.Run(map[bool]string{false: "bare", true: "wrapped"}[wrapped], func(b *testing.B) {
			sock, err := udp.Listen("127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			var c kcptransport.PacketConn = sock
			if wrapped {
				c = New(sock, Config{})
			}
			defer c.Close()
			const batch = 16
			self := sock.LocalAddr().(*net.UDPAddr).AddrPort()
			out, in, sizes, to, from := make([][]byte, batch), make([][]byte, batch), make([]int, batch), make([]netip.AddrPort, batch), make([]netip.AddrPort, batch)
			for i := range out {
				out[i], in[i], to[i] = make([]byte, 1200), make([]byte, maxPacket), self
			}
			b.SetBytes(batch * 1200)
			for b.Loop() {
				n, err := c.WriteBatch(out, to)
				if err != nil {
					b.Fatal(err)
				}
				for got := 0; got < n; {
					k, err := c.ReadBatch(in, sizes, from)
					if err != nil {
						b.Fatal(err)
					}
					got += k
				}
			}
		})
	}
}
