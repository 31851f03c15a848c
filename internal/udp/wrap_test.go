package udp

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

// plainSocket takes from c what the kernel should not coalesce, for tests of other engines on the same socket.
func plainSocket(t testing.TB, c *Conn) *net.UDPConn {
	t.Helper()
	pc := c.pc.(*net.UDPConn)
	stopCoalescing(t, pc)
	return pc
}

func TestWrapTakesUDPConnWhole(t *testing.T) {
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	c := Wrap(pc)
	defer c.Close()
	if err := c.WriteTTL([]byte("x"), at(c, "127.0.0.1"), 3); err != nil {
		t.Error(err)
	}
	receive(t, c, 1, 1)
}

func TestWrapRefusesTTL(t *testing.T) {
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := Wrap(opaque{pc})
	defer c.Close()
	if err := c.WriteTTL([]byte("x"), at(c, "127.0.0.1"), 3); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("TTL on a wrapped connection: %v", err)
	}
	if err := c.WriteTTL([]byte("x"), at(c, "127.0.0.1"), 0); err != nil {
		t.Error(err)
	}
	receive(t, c, 1, 1)
}

func TestWrapKeepsBoundedAddrs(t *testing.T) {
	c := &converting{addrs: make(map[netip.AddrPort]net.Addr)}
	for i := range 5 * maxKnownAddrs {
		addr := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(i))
		if got := c.netAddr(addr); got.String() != addr.String() {
			t.Fatalf("%v became %v", addr, got)
		}
		if len(c.addrs) > maxKnownAddrs {
			t.Fatalf("%d addresses are kept", len(c.addrs))
		}
	}
}
