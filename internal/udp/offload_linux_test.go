package udp

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func stopCoalescing(t testing.TB, pc *net.UDPConn) {
	setOption(t, pc, unix.IPPROTO_UDP, unix.UDP_GRO, 0)
}

func setOption(t testing.TB, pc *net.UDPConn, level, opt, value int) {
	t.Helper()
	rc, err := pc.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := rc.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), level, opt, value) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}

func sizes(n ...int) (payloads []string) {
	for i, size := range n {
		payloads = append(payloads, strings.Repeat(string(rune('a'+i%26)), size))
	}
	return payloads
}

// wantTransfer sends payloads at once and wants the very same datagrams at the other end.
func wantTransfer(t testing.TB, a, b *Conn, ip string, payloads []string) {
	t.Helper()
	for part := range slices.Chunk(payloads, 150) {
		send(t, a, at(b, ip), part...)
		for i, d := range receive(t, b, len(part), 40) {
			if d.payload != part[i] {
				t.Fatalf("datagram %d has %d bytes %.5q, want %d bytes %.5q", i, len(d.payload), d.payload, len(part[i]), part[i])
			}
		}
	}
}

func mixedSizes() (n []int) {
	for i := range 400 {
		n = append(n, []int{1232, 1232, 1232, 500, 1232, 0, 1, 1, 1400, 1232}[i%10])
	}
	return n
}

func TestOffload(t *testing.T) {
	same := slices.Repeat([]int{1232}, 200)
	for name, payloads := range map[string][]string{"same": sizes(same...), "mixed": sizes(mixedSizes()...)} {
		for _, ip := range loopbacks() {
			for _, listen := range []string{":0", net.JoinHostPort(ip, "0")} {
				t.Run(fmt.Sprint(name, ip, listen), func(t *testing.T) {
					a, b := mustListen(t, listen), mustListen(t, listen)
					if s := a.Stats(); !s.Segmenting || !s.Coalescing {
						t.Skipf("this kernel has no UDP offload: %+v", s)
					}
					wantTransfer(t, a, b, ip, payloads)
					if s := a.Stats(); !s.Segmenting || s.Refused != 0 {
						t.Errorf("%+v after sending", s)
					}
				})
			}
		}
	}
}

// Every pair of kernels must understand each other: with and without segmenting, with and without coalescing.
func TestOffloadMixed(t *testing.T) {
	for _, segment := range []bool{false, true} {
		for _, coalesce := range []bool{false, true} {
			t.Run(fmt.Sprint(segment, coalesce), func(t *testing.T) {
				a, b := mustListen(t, "127.0.0.1:0"), mustListen(t, "127.0.0.1:0")
				if !segment {
					setSegmenting(a, 0)
				}
				if !coalesce {
					direct(t, b)
				}
				wantTransfer(t, a, b, "127.0.0.1", sizes(mixedSizes()...))
			})
		}
	}
}

func setSegmenting(c *Conn, maxSegment int) {
	w := &c.engine.(*batcher).writer
	w.maxSegment = maxSegment
	w.segmenting.Store(maxSegment > 0)
}

// direct makes c what it is on a kernel without UDP_GRO.
func direct(t testing.TB, c *Conn) {
	pc := c.pc.(*net.UDPConn)
	stopCoalescing(t, pc)
	rc, err := pc.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	r := &c.engine.(*batcher).reader
	*r = reader{}
	r.init(rc, false)
}

// A run that the kernel refuses leaves packet by packet, and no further run of that size is tried for a while.
func TestRefusedRunsLeaveSingly(t *testing.T) {
	a, b := mustListen(t, "127.0.0.1:0"), mustListen(t, "127.0.0.1:0")
	// Without checksums the kernel refuses to segment, with EINVAL, as it does on a path with a small MTU.
	setOption(t, a.pc.(*net.UDPConn), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1)
	wantTransfer(t, a, b, "127.0.0.1", sizes(900, 900, 900, 20, 1232, 1232, 1232, 300, 300))
	w := &a.engine.(*batcher).writer
	if s := a.Stats(); s.Refused != 0 || w.maxSegment != 899 {
		t.Errorf("%+v, runs up to %d bytes", s, w.maxSegment)
	}
	w.retry = 1
	setOption(t, a.pc.(*net.UDPConn), unix.SOL_SOCKET, unix.SO_NO_CHECK, 0)
	wantTransfer(t, a, b, "127.0.0.1", sizes(900, 900, 900))
	wantTransfer(t, a, b, "127.0.0.1", sizes(900, 900, 900))
	if w.maxSegment != maxRunSize {
		t.Errorf("runs up to %d bytes, want all tried again", w.maxSegment)
	}
}

// The packets' own fault says nothing about runs. A socket bound to the loopback address gets EINVAL for others.
func TestBadDestinationKeepsSegmenting(t *testing.T) {
	a, b := mustListen(t, "127.0.0.1:0"), mustListen(t, "127.0.0.1:0")
	good, bad := at(b, "127.0.0.1"), netip.MustParseAddrPort("192.0.2.1:9")
	bufs := [][]byte{make([]byte, 100), make([]byte, 100), make([]byte, 50), make([]byte, 60)}
	n, err := a.WriteBatch(bufs, []netip.AddrPort{bad, bad, bad, good})
	if n != 1 || err != nil || !a.Stats().Segmenting || a.Stats().Refused != 3 {
		t.Errorf("sent %d, %v, %+v", n, err, a.Stats())
	}
	receive(t, b, 1, 1)
}

// Destinations come from peers: one of them must not make this socket shout.
func TestBroadcastIsRefused(t *testing.T) {
	for _, listen := range []string{":0", "0.0.0.0:0"} {
		c := mustListen(t, listen)
		n, err := c.WriteBatch([][]byte{[]byte("hey")}, []netip.AddrPort{netip.MustParseAddrPort("255.255.255.255:9")})
		if n != 0 || err != nil {
			t.Errorf("%s: sent %d, %v", listen, n, err)
		}
	}
}

func TestReaderGrows(t *testing.T) {
	a, b := mustListen(t, "127.0.0.1:0"), mustListen(t, "127.0.0.1:0")
	r := &b.engine.(*batcher).reader
	if !r.coalesce {
		t.Skip("this kernel has no UDP_GRO")
	}
	var n []int
	for i := range 200 {
		n = append(n, 10+i%2) // no runs, so each is a message
	}
	wantTransfer(t, a, b, "127.0.0.1", sizes(n...))
	if len(r.slots) <= minReadSlots || len(r.slots) > maxReadSlots {
		t.Errorf("the reader has %d slots", len(r.slots))
	}
}

// Whatever the sizes and destinations, cutting a batch in runs loses nothing and keeps what the kernel demands.
func TestRunLength(t *testing.T) {
	to := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:1")}
	rapid.Check(t, func(t *rapid.T) {
		maxSegment := rapid.SampledFrom([]int{0, 500, maxRunSize}).Draw(t, "maxSegment")
		var bufs [][]byte
		var addrs []netip.AddrPort
		for range rapid.IntRange(1, 150).Draw(t, "packets") {
			bufs = append(bufs, make([]byte, rapid.SampledFrom([]int{0, 1, 500, 500, 500, 1400, 30000}).Draw(t, "size")))
			addrs = append(addrs, rapid.SampledFrom(to).Draw(t, "to"))
		}
		for len(bufs) > 0 {
			n := runLength(bufs, addrs, maxSegment)
			if n < 1 || n > len(bufs) || n > maxSegments {
				t.Fatalf("a run of %d of %d packets", n, len(bufs))
			}
			total := 0
			for i, b := range bufs[:n] {
				total += len(b)
				last := i == n-1
				if addrs[i] != addrs[0] || (n > 1 && len(b) == 0) || len(b) > len(bufs[0]) || (!last && len(b) != len(bufs[0])) {
					t.Fatalf("packet %d of %d has %d bytes, the first %d", i, n, len(b), len(bufs[0]))
				}
			}
			if n > 1 && (total > maxRunSize || len(bufs[0]) > maxSegment) {
				t.Fatalf("a run of %d bytes in segments of %d", total, len(bufs[0]))
			}
			bufs, addrs = bufs[n:], addrs[n:]
		}
	})
}

func TestSegmentSizeOfHostileControl(t *testing.T) {
	var c control
	var h unix.Msghdr
	c.setInt32(&h, unix.IPPROTO_UDP, unix.UDP_GRO, 1200)
	for n := range controlSize + 10 {
		want := 0
		if n >= unix.CmsgLen(4) {
			want = 1200
		}
		if got := c.segmentSize(n); got != want {
			t.Errorf("%d bytes of control: segment size %d, want %d", n, got, want)
		}
	}
}

func TestSockaddrRoundTrip(t *testing.T) {
	lo, err := net.InterfaceByIndex(1)
	if err != nil {
		t.Skip(err)
	}
	for _, tt := range []struct {
		in, out string
		is4     bool
	}{
		{"192.0.2.1:7337", "", true},
		{"192.0.2.1:7337", "", false},
		{"[::ffff:192.0.2.1]:7337", "192.0.2.1:7337", true},
		{"[::ffff:192.0.2.1]:7337", "192.0.2.1:7337", false},
		{"[2001:db8::1]:65535", "", false},
		{"[fe80::1%" + lo.Name + "]:1", "", false},
		{"[fe80::1%1]:1", "[fe80::1%" + lo.Name + "]:1", false},
		{"[fe80::1%nosuchinterface]:1", "[fe80::1]:1", false},
	} {
		want := tt.out
		if want == "" {
			want = tt.in
		}
		var sa sockaddr
		if putSockaddr(&sa, netip.MustParseAddrPort(tt.in), tt.is4) == 0 {
			t.Errorf("%s can't be sent to", tt.in)
		}
		if got := addrPort(&sa).String(); got != want {
			t.Errorf("%s became %s, want %s", tt.in, got, want)
		}
	}
	var sa sockaddr
	if n := putSockaddr(&sa, netip.MustParseAddrPort("[2001:db8::1]:1"), true); n != 0 {
		t.Error("an IPv4 socket takes an IPv6 address")
	}
}

// BenchmarkLoopbackWithoutOffload shows what batches are worth alone.
func BenchmarkLoopbackWithoutOffload(b *testing.B) {
	from, to := mustListen(b, "127.0.0.1:0"), mustListen(b, "127.0.0.1:0")
	setSegmenting(from, 0)
	direct(b, to)
	benchLoopback(b, from, to)
}
