package netsim

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a network for a test, closed and checked at its end.
type world struct {
	*Network
	t testing.TB
}

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{New(Config{Seed: seed}), t}
	t.Cleanup(w.close)
	return w
}

func (w *world) close() {
	w.t.Helper()
	if err := w.Close(); err != nil {
		w.t.Error(err)
	}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func (w *world) public(name, ip string, l Link) *Host {
	return w.NewHost(name, w.Internet(), l, addr(ip))
}

// behind makes a home with one host behind a NAT.
func (w *world) behind(name, outside string, nat NAT) (*Host, *Router) {
	home := w.NewSegment(name)
	r := w.NewRouter(name, RouterConfig{Outside: w.Internet(), OutsideAddrs: []netip.Addr{addr(outside)}, Inside: home, NAT: nat})
	return w.NewHost(name, home, Link{Delay: time.Millisecond}, addr("192.168.1.2")), r
}

func (w *world) listen(h *Host, port uint16) *Conn {
	w.t.Helper()
	c, err := h.ListenUDP(netip.AddrPortFrom(netip.Addr{}, port))
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) send(c *Conn, to, text string) {
	w.t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte(text), netip.MustParseAddrPort(to)); err != nil {
		w.t.Fatal(err)
	}
}

// wantPacket waits a second for a packet and returns its source.
func (w *world) wantPacket(c *Conn, text string) netip.AddrPort {
	w.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	b := make([]byte, 2000)
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil || string(b[:n]) != text {
		w.t.Fatalf("got %q from %v (%v), want %q", b[:n], from, err, text)
	}
	return from
}

func (w *world) wantNothing(c *Conn) {
	w.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	n, from, err := c.ReadFromUDPAddrPort(make([]byte, 2000))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		w.t.Fatalf("got %d bytes from %v (%v), want none", n, from, err)
	}
}

func (w *world) wantDrops(reason DropReason, want uint64) {
	w.t.Helper()
	if got := w.Stats().Dropped[reason]; got != want {
		w.t.Errorf("%d packets dropped for %q, want %d (all: %v)", got, reason, want, w.Stats().Dropped)
	}
}

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t, 1)) })
}

func TestDelayIsExact(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.listen(w.public("a", "1.0.0.1", Link{Delay: 10 * time.Millisecond}), 1)
		b := w.listen(w.public("b", "1.0.0.2", Link{Delay: 5 * time.Millisecond}), 2)
		start := time.Now()
		w.send(a, "1.0.0.2:2", "hi")
		if from := w.wantPacket(b, "hi"); from.String() != "1.0.0.1:1" {
			t.Errorf("from %v", from)
		}
		if took := time.Since(start); took != 15*time.Millisecond+1 {
			t.Errorf("took %v, want 15 ms and the nanosecond of the barrier", took)
		}
	})
}

func TestRateAndQueue(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		// 1,000 bytes of payload are 1,028 on the link: 8.224 ms at 1 Mbit/s.
		a := w.listen(w.public("a", "1.0.0.1", Link{Rate: 1_000_000, Queue: 4 * 1028}), 1)
		b := w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		start := time.Now()
		text := string(make([]byte, 1000))
		for range 10 {
			w.send(a, "1.0.0.2:2", text)
		}
		for i := 1; i <= 4; i++ {
			w.wantPacket(b, text)
			if took, want := time.Since(start), time.Duration(i)*8224*time.Microsecond+1; took != want {
				t.Errorf("packet %d after %v, want %v", i, took, want)
			}
		}
		w.wantNothing(b)
		w.wantDrops(DropQueue, 6)
	})
}

func TestLossJitterAndOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.listen(w.public("a", "1.0.0.1", Link{Loss: 0.2, Jitter: 50 * time.Millisecond}), 1)
		b := w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		const n = 5000
		for i := range n {
			w.send(a, "1.0.0.2:2", fmt.Sprintf("%06d", i))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		lost := float64(w.Stats().Dropped[DropLoss]) / n
		if lost < 0.18 || lost > 0.22 {
			t.Errorf("lost %.3f, want 0.2", lost)
		}
		last := ""
		buf := make([]byte, 10)
		for range n - int(w.Stats().Dropped[DropLoss]) {
			k, _, err := b.ReadFromUDPAddrPort(buf)
			if err != nil || string(buf[:k]) <= last {
				t.Fatalf("%q after %q (%v)", buf[:k], last, err)
			}
			last = string(buf[:k])
		}
	})
}

func TestMTUAndTTL(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, _ := w.behind("a", "1.0.0.1", NAT{})
		ca := w.listen(a, 1)
		b := w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		w.send(ca, "1.0.0.2:2", string(make([]byte, 1472)))
		w.wantPacket(b, string(make([]byte, 1472)))
		w.send(ca, "1.0.0.2:2", string(make([]byte, 1473)))
		w.wantNothing(b)
		w.wantDrops(DropMTU, 1)
		to := netip.MustParseAddrPort("1.0.0.2:2")
		_ = ca.WriteTTL([]byte("dies at the router"), to, 1)
		w.wantNothing(b)
		w.wantDrops(DropTTL, 1)
		_ = ca.WriteTTL([]byte("passes"), to, 2)
		w.wantPacket(b, "passes")
	})
}

func TestPartition(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ha, hb := w.public("a", "1.0.0.1", Link{}), w.public("b", "1.0.0.2", Link{})
		a, b := w.listen(ha, 1), w.listen(hb, 2)
		w.Partition(ha, hb)
		w.send(a, "1.0.0.2:2", "lost")
		w.wantNothing(b)
		w.Heal(hb, ha)
		w.send(a, "1.0.0.2:2", "found")
		w.wantPacket(b, "found")
	})
}

// RFC 4787, section 4.1 and 5: what two servers see of one socket, and who may
// send to it.
func TestNATBehaviours(t *testing.T) {
	for mapping := EndpointIndependent; mapping <= AddressAndPortDependent; mapping++ {
		for filtering := EndpointIndependent; filtering <= AddressAndPortDependent; filtering++ {
			for _, ports := range []PortAllocation{PreservePorts, RandomPorts} {
				t.Run(fmt.Sprintf("mapping %d filtering %d ports %d", mapping, filtering, ports), func(t *testing.T) {
					inBubble(t, func(t *testing.T, w *world) {
						testNAT(t, w, NAT{Mapping: mapping, Filtering: filtering, Ports: ports})
					})
				})
			}
		}
	}
}

func testNAT(t *testing.T, w *world, nat NAT) {
	h, _ := w.behind("a", "1.0.0.1", nat)
	a := w.listen(h, 5000)
	s1 := w.public("s1", "2.0.0.1", Link{})
	s1a, s1b := w.listen(s1, 1), w.listen(s1, 2)
	s2 := w.listen(w.public("s2", "2.0.0.2", Link{}), 1)

	w.send(a, "2.0.0.1:1", "x")
	seen := w.wantPacket(s1a, "x")
	if keeps := seen.Port() == 5000; keeps != (nat.Ports == PreservePorts) {
		t.Errorf("outside port %d", seen.Port())
	}
	// Who may answer, having been sent nothing?
	for _, c := range []struct {
		conn   *Conn
		lets   Behaviour
		opened string
	}{{s1a, AddressAndPortDependent, "same port"}, {s1b, AddressDependent, "same address"}, {s2, EndpointIndependent, "another address"}} {
		w.send(c.conn, seen.String(), c.opened)
		if nat.Filtering <= c.lets {
			w.wantPacket(a, c.opened)
		} else {
			w.wantNothing(a)
		}
	}
	w.send(a, "2.0.0.1:2", "y")
	if other := w.wantPacket(s1b, "y"); (other == seen) != (nat.Mapping < AddressAndPortDependent) {
		t.Errorf("%v to one port, %v to another", seen, other)
	}
	w.send(a, "2.0.0.2:1", "z")
	if other := w.wantPacket(s2, "z"); (other == seen) != (nat.Mapping == EndpointIndependent) {
		t.Errorf("%v to one address, %v to another", seen, other)
	}
}

func TestMappingTimeoutAndRebind(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h, r := w.behind("a", "1.0.0.1", NAT{Timeout: 30 * time.Second})
		a := w.listen(h, 5000)
		s := w.listen(w.public("s", "2.0.0.1", Link{}), 1)
		w.send(a, "2.0.0.1:1", "x")
		seen := w.wantPacket(s, "x")
		time.Sleep(29 * time.Second)
		w.send(s, seen.String(), "in time") // inbound packets refresh nothing
		w.wantPacket(a, "in time")
		time.Sleep(2 * time.Second)
		w.send(s, seen.String(), "too late")
		w.wantNothing(a)
		w.wantDrops(DropNoMapping, 1)
		w.send(a, "2.0.0.1:1", "y")
		if again := w.wantPacket(s, "y"); again != seen {
			t.Errorf("mapped to %v, then to %v: the port is free again", seen, again)
		}
		r.Rebind()
		w.send(a, "2.0.0.1:1", "z")
		if again := w.wantPacket(s, "z"); again == seen {
			t.Error("the same mapping after a rebinding")
		}
	})
}

func TestPortCollision(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h1, _ := w.behind("a", "1.0.0.1", NAT{})
		h2 := w.NewHost("a2", h1.port.segment, Link{}, addr("192.168.1.3"))
		s := w.listen(w.public("s", "2.0.0.1", Link{}), 1)
		w.send(w.listen(h1, 5000), "2.0.0.1:1", "x")
		w.send(w.listen(h2, 5000), "2.0.0.1:1", "x")
		p := []uint16{w.wantPacket(s, "x").Port(), w.wantPacket(s, "x").Port()}
		slices.Sort(p)
		if !slices.Equal(p, []uint16{5000, 5001}) {
			t.Errorf("outside ports %v", p)
		}
	})
}

func TestNATBehindNATAndHairpin(t *testing.T) {
	for _, hairpin := range []bool{false, true} {
		inBubble(t, func(t *testing.T, w *world) {
			carrier := w.NewSegment("carrier")
			w.NewRouter("cgn", RouterConfig{Outside: w.Internet(), OutsideAddrs: []netip.Addr{addr("1.0.0.1")}, Inside: carrier, NAT: NAT{Hairpin: hairpin}})
			var conns []*Conn
			for i := range 2 {
				home := w.NewSegment(fmt.Sprint("home", i))
				w.NewRouter(fmt.Sprint("r", i), RouterConfig{Outside: carrier, OutsideAddrs: []netip.Addr{addr(fmt.Sprintf("100.64.0.%d", i+1))}, Inside: home})
				conns = append(conns, w.listen(w.NewHost(fmt.Sprint("h", i), home, Link{}, addr("192.168.1.2")), uint16(5000+i)))
			}
			s := w.listen(w.public("s", "2.0.0.1", Link{}), 1)
			w.send(conns[0], "2.0.0.1:1", "x")
			seen := w.wantPacket(s, "x")
			if seen.String() != "1.0.0.1:5000" {
				t.Errorf("seen as %v", seen)
			}
			w.send(s, seen.String(), "back")
			w.wantPacket(conns[0], "back")
			w.send(conns[1], seen.String(), "round")
			if hairpin {
				w.wantPacket(conns[0], "round")
			} else {
				w.wantNothing(conns[0])
				w.wantDrops(DropHairpin, 1)
			}
		})
	}
}

func TestIPv6PassesFirewall(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h, _ := w.behind("a", "1.0.0.1", NAT{Filtering: AddressAndPortDependent})
		h.SetAddrs(addr("192.168.1.2"), addr("2001:db8:1::2"))
		a := w.listen(h, 5000)
		s := w.listen(w.NewHost("s", w.Internet(), Link{}, addr("2001:db8:2::1"), addr("2.0.0.1")), 1)
		w.send(s, "[2001:db8:1::2]:5000", "unasked")
		w.wantNothing(a)
		w.send(a, "[2001:db8:2::1]:1", "x")
		if from := w.wantPacket(s, "x"); from.String() != "[2001:db8:1::2]:5000" {
			t.Errorf("seen as %v", from)
		}
		w.send(s, "[2001:db8:1::2]:5000", "back")
		w.wantPacket(a, "back")
		w.send(a, "[::ffff:2.0.0.1]:1", "mapped")
		if from := w.wantPacket(s, "mapped"); from.String() != "1.0.0.1:5000" {
			t.Errorf("IPv4 seen as %v", from)
		}
	})
}

func TestMoveKeepsSockets(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h := w.public("a", "1.0.0.1", Link{})
		a := w.listen(h, 1)
		b := w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		h.SetAddrs(addr("1.0.0.9"))
		w.send(a, "1.0.0.2:2", "x")
		if from := w.wantPacket(b, "x"); from.String() != "1.0.0.9:1" {
			t.Errorf("from %v", from)
		}
		w.send(b, "1.0.0.1:1", "to the old address")
		w.wantNothing(a)
		w.wantDrops(DropNoRoute, 1)
	})
}

func TestSocketErrors(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h := w.public("a", "1.0.0.1", Link{})
		c := w.listen(h, 7)
		wantErr := func(what string, err, want error) {
			t.Helper()
			var op *net.OpError
			if !errors.Is(err, want) || !errors.As(err, &op) {
				t.Errorf("%s: got %v, want %v in a *net.OpError", what, err, want)
			}
		}
		_, err := h.ListenUDP(netip.MustParseAddrPort("1.0.0.1:7"))
		wantErr("port taken by the wildcard", err, syscall.EADDRINUSE)
		_, err = h.ListenUDP(netip.MustParseAddrPort("9.9.9.9:8"))
		wantErr("address of another", err, syscall.EADDRNOTAVAIL)
		_, err = c.WriteTo([]byte("x"), &net.UDPAddr{IP: net.ParseIP("2001:db8::1"), Port: 1})
		wantErr("no IPv6 address", err, syscall.ENETUNREACH)
		_, err = c.WriteToUDPAddrPort(make([]byte, 70000), netip.MustParseAddrPort("1.0.0.2:1"))
		wantErr("too large", err, syscall.EMSGSIZE)

		start := time.Now()
		_ = c.SetReadDeadline(start.Add(time.Minute))
		_, _, err = c.ReadFrom(make([]byte, 1))
		wantErr("deadline", err, os.ErrDeadlineExceeded)
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		_ = c.SetDeadline(time.Time{})
		errc := make(chan error)
		go func() {
			_, _, err := c.ReadFrom(make([]byte, 1))
			errc <- err
		}()
		synctest.Wait()
		_ = c.Close()
		wantErr("close", <-errc, net.ErrClosed)
		_, err = c.WriteToUDPAddrPort([]byte("x"), netip.MustParseAddrPort("1.0.0.2:1"))
		wantErr("write after close", err, net.ErrClosed)
		if again := w.listen(h, 7); again == nil {
			t.Error("the port was not given back")
		}
	})
}

func TestTruncationAndWildcards(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h := w.NewHost("a", w.Internet(), Link{}, addr("1.0.0.1"), addr("1.0.0.2"))
		one, err := h.ListenUDP(netip.MustParseAddrPort("1.0.0.2:7"))
		if err != nil {
			t.Fatal(err)
		}
		b := w.listen(w.public("b", "1.0.0.3", Link{}), 0)
		w.send(b, "1.0.0.2:7", "long text")
		short := make([]byte, 4)
		if n, _, err := one.ReadFromUDPAddrPort(short); n != 4 || err != nil || string(short) != "long" {
			t.Errorf("got %q, %d, %v", short, n, err)
		}
		w.send(b, "1.0.0.1:7", "nobody")
		w.wantNothing(one)
		w.wantDrops(DropNoSocket, 1)
	})
}

func TestBatches(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.listen(w.public("a", "1.0.0.1", Link{}), 1)
		b := w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		to := netip.MustParseAddrPort("1.0.0.2:2")
		bad := netip.MustParseAddrPort("[2001:db8::1]:2")
		n, err := a.WriteBatch([][]byte{[]byte("one"), []byte("no"), []byte("two")}, []netip.AddrPort{to, bad, to})
		if n != 2 || !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("sent %d, %v", n, err)
		}
		bufs := [][]byte{make([]byte, 9), make([]byte, 9), make([]byte, 9)}
		sizes, addrs := make([]int, 3), make([]netip.AddrPort, 3)
		n, err = b.ReadBatch(bufs, sizes, addrs)
		if n != 2 || err != nil || string(bufs[0][:sizes[0]])+string(bufs[1][:sizes[1]]) != "onetwo" {
			t.Errorf("read %d %q %v, %v", n, bufs, sizes, err)
		}
	})
}

func TestReceiveBufferIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.listen(w.public("a", "1.0.0.1", Link{MTU: 65535}), 1)
		b := w.public("b", "1.0.0.2", Link{MTU: 65535})
		w.listen(b, 2)
		for range receiveBuffer/50000 + 10 {
			w.send(a, "1.0.0.2:2", string(make([]byte, 50000)))
		}
		time.Sleep(time.Second)
		if w.Stats().Dropped[DropBuffer] == 0 {
			t.Error("the buffer has no end")
		}
	})
}

func TestRealTime(t *testing.T) {
	w := newWorld(t, 1)
	a := w.listen(w.public("a", "1.0.0.1", Link{Delay: 5 * time.Millisecond}), 1)
	b := w.listen(w.public("b", "1.0.0.2", Link{}), 2)
	start := time.Now()
	w.send(a, "1.0.0.2:2", "hi")
	w.wantPacket(b, "hi")
	if took := time.Since(start); took < 5*time.Millisecond {
		t.Errorf("took %v, less than the link's delay", took)
	}
}

// scenario has four hosts behind NATs chatter over bad links, with goroutines
// that race each other at every instant, and returns the digest.
func scenario(t *testing.T, seed uint64) (digest uint64) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed)
		bad := Link{Delay: 7 * time.Millisecond, Jitter: 3 * time.Millisecond, Loss: 0.05, Rate: 2_000_000}
		server := w.listen(w.public("server", "2.0.0.1", bad), 1)
		go func() { // answers everybody, and tells the last one of everybody
			b := make([]byte, 2000)
			for {
				n, from, err := server.ReadFromUDPAddrPort(b)
				if err != nil {
					return
				}
				_, _ = server.WriteToUDPAddrPort(append(b[:n], '!'), from)
			}
		}()
		for i := range 4 {
			h, _ := w.behind(fmt.Sprint(i), fmt.Sprintf("1.0.0.%d", i+1), NAT{Mapping: Behaviour(i % 3), Filtering: AddressAndPortDependent, Ports: RandomPorts})
			h.SetLink(bad, bad)
			for j := range 2 {
				c := w.listen(h, uint16(5000+j))
				go func() {
					b := make([]byte, 2000)
					for {
						n, from, err := c.ReadFromUDPAddrPort(b)
						if err != nil {
							return
						}
						if n < 200 {
							_, _ = c.WriteToUDPAddrPort(b[:n], from)
						}
					}
				}()
				for k := range 3 {
					w.send(c, "2.0.0.1:1", fmt.Sprint("hello ", i, j, k))
				}
			}
		}
		time.Sleep(2 * time.Second)
		digest = w.Digest()
		w.close()
	})
	return digest
}

func TestOneSeedOneOutcome(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	want := scenario(t, 1)
	for i := range 100 {
		runtime.GOMAXPROCS(1 + i%2)
		if got := scenario(t, 1); got != want {
			t.Fatalf("run %d: digest %x, before it was %x", i, got, want)
		}
	}
	if scenario(t, 2) == want {
		t.Error("another seed gives the same digest")
	}
}
