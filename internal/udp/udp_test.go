package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what a test waits for on the real clock. Nothing takes that long unless it fails.
const patience = 5 * time.Second

func mustListen(t testing.TB, addr string) *Conn {
	t.Helper()
	c, err := Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// loopbacks are the loopback addresses of this machine, which may have no IPv6.
func loopbacks() []string {
	c, err := Listen("[::1]:0")
	if err != nil {
		return []string{"127.0.0.1"}
	}
	c.Close()
	return []string{"127.0.0.1", "::1"}
}

// needIPv6 skips a test that means nothing without.
func needIPv6(t testing.TB) {
	if len(loopbacks()) == 1 {
		t.Skip("this machine has no IPv6")
	}
}

// at is where c is reached by way of the loopback address ip.
func at(c *Conn, ip string) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(c.LocalAddr().(*net.UDPAddr).Port))
}

type datagram struct {
	payload string
	from    netip.AddrPort
}

// receive reads n datagrams in batches of batch.
func receive(t testing.TB, c *Conn, n, batch int) []datagram {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	bufs, sizes, addrs := batchOf(batch, 2000)
	var got []datagram
	for len(got) < n {
		k, err := c.ReadBatch(bufs, sizes, addrs)
		if err != nil {
			t.Fatalf("after %d of %d datagrams: %v", len(got), n, err)
		}
		if k == 0 {
			t.Fatal("ReadBatch returned nothing and no error")
		}
		for i := range k {
			got = append(got, datagram{string(bufs[i][:sizes[i]]), addrs[i]})
		}
	}
	return got
}

func batchOf(n, size int) (bufs [][]byte, sizes []int, addrs []netip.AddrPort) {
	for range n {
		bufs = append(bufs, make([]byte, size))
	}
	return bufs, make([]int, n), make([]netip.AddrPort, n)
}

// send writes payloads to addr and wants all of them taken.
func send(t testing.TB, c *Conn, addr netip.AddrPort, payloads ...string) {
	t.Helper()
	var bufs [][]byte
	var addrs []netip.AddrPort
	for _, p := range payloads {
		bufs, addrs = append(bufs, []byte(p)), append(addrs, addr)
	}
	n, err := c.WriteBatch(bufs, addrs)
	if err != nil || n != len(payloads) {
		t.Fatalf("WriteBatch sent %d of %d: %v", n, len(payloads), err)
	}
}

// eachKind runs a test with every engine that this system has.
func eachKind(t *testing.T, test func(t *testing.T, open func(addr string) *Conn)) {
	t.Run("native", func(t *testing.T) {
		test(t, func(addr string) *Conn { return mustListen(t, addr) })
	})
	t.Run("single", func(t *testing.T) {
		test(t, func(addr string) *Conn {
			c := mustListen(t, addr)
			c.engine = newSingle(plainSocket(t, c), c.refused)
			return c
		})
	})
	t.Run("wrapped", func(t *testing.T) {
		test(t, func(addr string) *Conn {
			c := Wrap(opaque{plainSocket(t, mustListen(t, addr))})
			t.Cleanup(func() { c.Close() })
			return c
		})
	})
}

// opaque hides all methods of a connection but those of net.PacketConn.
type opaque struct{ net.PacketConn }

func TestBatchesArriveInOrder(t *testing.T) {
	for _, ip := range loopbacks() {
		t.Run(ip, func(t *testing.T) {
			eachKind(t, func(t *testing.T, open func(string) *Conn) {
				a, b := open(net.JoinHostPort(ip, "0")), open(net.JoinHostPort(ip, "0"))
				var want []string
				for i := range 300 {
					want = append(want, fmt.Sprintf("%0*d", 1+i%7*100, i))
				}
				for part := range slices.Chunk(want, 60) { // no more at once than a small socket buffer holds
					send(t, a, at(b, ip), part...)
					for i, d := range receive(t, b, len(part), 17) {
						if d.payload != part[i] {
							t.Fatalf("datagram %d is %.20q of %d bytes, want %.20q of %d", i, d.payload, len(d.payload), part[i], len(part[i]))
						}
						if d.from != at(a, ip) {
							t.Fatalf("datagram %d came from %v, want %v", i, d.from, at(a, ip))
						}
					}
				}
			})
		})
	}
}

func TestDualStack(t *testing.T) {
	needIPv6(t)
	c, v4, v6 := mustListen(t, ":0"), mustListen(t, "127.0.0.1:0"), mustListen(t, "[::1]:0")
	bufs := [][]byte{[]byte("to v4"), []byte("to v6")}
	if n, err := c.WriteBatch(bufs, []netip.AddrPort{at(v4, "127.0.0.1"), at(v6, "::1")}); n != 2 || err != nil {
		t.Fatalf("sent %d of 2: %v", n, err)
	}
	if d := receive(t, v4, 1, 1)[0]; d.payload != "to v4" || d.from != at(c, "127.0.0.1") {
		t.Errorf("v4 got %q from %v", d.payload, d.from)
	}
	if d := receive(t, v6, 1, 1)[0]; d.payload != "to v6" || d.from != at(c, "::1") {
		t.Errorf("v6 got %q from %v", d.payload, d.from)
	}
	send(t, v4, at(c, "127.0.0.1"), "from v4")
	if d := receive(t, c, 1, 1)[0]; d.from != at(v4, "127.0.0.1") {
		t.Errorf("the dual-stack socket says %v, want the IPv4 address without a disguise", d.from)
	}
}

func TestListenFamilies(t *testing.T) {
	needIPv6(t)
	for _, tt := range []struct {
		addr string
		v4   bool // an IPv4 packet arrives
		v6   bool
	}{
		{":0", true, true}, {"[::]:0", true, true}, {"0.0.0.0:0", true, false},
		{"127.0.0.1:0", true, false}, {"[::1]:0", false, true}, {"localhost:0", true, false},
	} {
		t.Run(tt.addr, func(t *testing.T) {
			c := mustListen(t, tt.addr)
			if tt.addr == "localhost:0" {
				tt.v4 = c.LocalAddr().(*net.UDPAddr).IP.To4() != nil
				tt.v6 = !tt.v4
			}
			var want []string
			for ip, serves := range map[string]bool{"127.0.0.1": tt.v4, "::1": tt.v6} {
				// Whether or not a packet of the wrong family is refused, it must not come back.
				if n, err := c.WriteBatch([][]byte{[]byte(ip)}, []netip.AddrPort{at(c, ip)}); err != nil || (serves && n != 1) {
					t.Errorf("sent %d to %s: %v", n, ip, err)
				}
				if serves {
					want = append(want, ip)
				}
			}
			for _, d := range receive(t, c, len(want), 1) {
				if !slices.Contains(want, d.payload) || d.from != at(c, d.payload) {
					t.Errorf("got %q from %v, want %v", d.payload, d.from, want)
				}
			}
		})
	}
}

func TestListenErrors(t *testing.T) {
	taken := mustListen(t, "127.0.0.1:0")
	for _, addr := range []string{taken.LocalAddr().String(), "nonsense", "127.0.0.1", "127.0.0.1:99999", "192.0.2.1:0"} {
		if c, err := Listen(addr); err == nil {
			c.Close()
			t.Errorf("Listen(%q) worked", addr)
		}
	}
}

func TestBadDestinationsHarmNobody(t *testing.T) {
	eachKind(t, func(t *testing.T, open func(string) *Conn) {
		a, b := open("127.0.0.1:0"), open("127.0.0.1:0")
		good := at(b, "127.0.0.1")
		closed := mustListen(t, "127.0.0.1:0")
		gone := at(closed, "127.0.0.1")
		closed.Close()

		var bufs [][]byte
		var addrs []netip.AddrPort
		add := func(to netip.AddrPort, size int) {
			bufs, addrs = append(bufs, make([]byte, size)), append(addrs, to)
		}
		bad := []netip.AddrPort{
			{},
			netip.AddrPortFrom(good.Addr(), 0),
			netip.MustParseAddrPort("192.0.2.1:9"), // not to be reached from the loopback address
			netip.MustParseAddrPort("[2001:db8::1]:9"), // not of this socket's family
		}
		for _, to := range bad {
			add(to, 10)
			add(good, 20)
			add(gone, 30) // taken by the kernel, answered with an ICMP error
		}
		add(good, 66_000) // larger than any datagram
		add(good, 40)
		n, err := a.WriteBatch(bufs, addrs)
		if err != nil {
			t.Fatal(err)
		}
		if refused := a.Stats().Refused; int(refused) != len(bufs)-n || int(refused) < len(bad)+1 {
			t.Errorf("sent %d and refused %d of %d, want at least %d refused", n, refused, len(bufs), len(bad)+1)
		}
		if got := receive(t, b, len(bad)+1, 4); len(got[len(bad)].payload) != 40 {
			t.Errorf("the last datagram has %d bytes, want 40", len(got[len(bad)].payload))
		}
		send(t, b, at(a, "127.0.0.1"), "still there") // whatever ICMP said, reading goes on
		if got := receive(t, a, 1, 1); got[0].payload != "still there" {
			t.Errorf("got %q", got[0].payload)
		}
	})
}

func TestTruncation(t *testing.T) {
	eachKind(t, func(t *testing.T, open func(string) *Conn) {
		a, b := open("127.0.0.1:0"), open("127.0.0.1:0")
		send(t, a, at(b, "127.0.0.1"), "0123456789", "")
		bufs, sizes, addrs := batchOf(1, 4)
		for _, want := range []string{"0123", ""} {
			if n, err := b.ReadBatch(bufs, sizes, addrs); n != 1 || err != nil || string(bufs[0][:sizes[0]]) != want {
				t.Errorf("got %d datagrams, %q, %v; want %q", n, bufs[0][:sizes[0]], err, want)
			}
		}
	})
}

func TestCloseWakesReaders(t *testing.T) {
	eachKind(t, func(t *testing.T, open func(string) *Conn) {
		c := open("127.0.0.1:0")
		errs := make(chan error, 3)
		for range cap(errs) {
			go func() {
				bufs, sizes, addrs := batchOf(4, 100)
				_, err := c.ReadBatch(bufs, sizes, addrs)
				errs <- err
			}()
		}
		c.Close()
		for range cap(errs) {
			select {
			case err := <-errs:
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("ReadBatch of a closed socket: %v", err)
				}
			case <-time.After(patience):
				t.Fatal("Close didn't wake a reader")
			}
		}
		if _, err := c.WriteBatch([][]byte{{1}}, []netip.AddrPort{at(c, "127.0.0.1")}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("WriteBatch on a closed socket: %v", err)
		}
		if err := c.WriteTTL([]byte{1}, at(c, "127.0.0.1"), 0); !errors.Is(err, net.ErrClosed) {
			t.Errorf("WriteTTL on a closed socket: %v", err)
		}
	})
}

func TestReadDeadline(t *testing.T) {
	eachKind(t, func(t *testing.T, open func(string) *Conn) {
		c := open("127.0.0.1:0")
		bufs, sizes, addrs := batchOf(4, 100)
		errc := make(chan error)
		go func() {
			_, err := c.ReadBatch(bufs, sizes, addrs)
			errc <- err
		}()
		c.SetReadDeadline(time.Now().Add(-time.Second)) // also wakes a read that waits already
		err := <-errc
		var timeout net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("ReadBatch after the deadline: %v", err)
		}
		c.SetReadDeadline(time.Time{})
		send(t, c, at(c, "127.0.0.1"), "after")
		if n, err := c.ReadBatch(bufs, sizes, addrs); n != 1 || err != nil {
			t.Errorf("read %d without a deadline: %v", n, err)
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	const writers, each = 4, 50
	a, b := mustListen(t, "127.0.0.1:0"), mustListen(t, "127.0.0.1:0")
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				p := fmt.Sprintf("%d/%d", w, i)
				if n, err := a.WriteBatch([][]byte{[]byte(p)}, []netip.AddrPort{at(b, "127.0.0.1")}); n != 1 || err != nil {
					t.Errorf("write: %d, %v", n, err)
				}
			}
		})
	}
	seen := make(map[string]bool)
	for _, d := range receive(t, b, writers*each, 8) {
		seen[d.payload] = true
	}
	wg.Wait()
	if len(seen) != writers*each {
		t.Errorf("%d different datagrams arrived, want %d", len(seen), writers*each)
	}
}

func TestWriteTTL(t *testing.T) {
	a := mustListen(t, ":0")
	for _, ip := range loopbacks() {
		for _, ttl := range []int{0, 1, 64, 255} {
			if err := a.WriteTTL([]byte("opener"), at(a, ip), ttl); err != nil {
				t.Fatal(err)
			}
			if d := receive(t, a, 1, 1)[0]; d.payload != "opener" {
				t.Errorf("got %q", d.payload)
			}
		}
	}
	for _, ttl := range []int{-1, 256} {
		if err := a.WriteTTL(nil, at(a, "::1"), ttl); err == nil {
			t.Errorf("TTL %d was taken", ttl)
		}
	}
	if err := a.WriteTTL(nil, netip.AddrPort{}, 1); err == nil {
		t.Error("no address was taken")
	}
}

func TestEmptyBatches(t *testing.T) {
	c := mustListen(t, "127.0.0.1:0")
	if n, err := c.ReadBatch(nil, nil, nil); n != 0 || err != nil {
		t.Errorf("ReadBatch of nothing: %d, %v", n, err)
	}
	if n, err := c.WriteBatch(nil, nil); n != 0 || err != nil {
		t.Errorf("WriteBatch of nothing: %d, %v", n, err)
	}
}
