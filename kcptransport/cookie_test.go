package kcptransport

import (
	"bytes"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// A cookie is good for one address and port, for two minutes at least and four at most.
func TestCookieJar(t *testing.T) {
	jar := cookieJar{random: seeded(1)}
	here, there := nodeAddrPort(1), nodeAddrPort(2)
	if jar.valid(testStart, here, cookie{}) {
		t.Error("a jar that made no cookie knows one")
	}
	c, err := jar.make(testStart, here)
	if err != nil {
		t.Fatal(err)
	}
	for after, want := range map[time.Duration]bool{0: true, 119 * time.Second: true} {
		if jar.valid(testStart.Add(after), here, c) != want {
			t.Errorf("after %v it is valid: %v", after, !want)
		}
	}
	other := netip.AddrPortFrom(here.Addr(), here.Port()+1)
	if jar.valid(testStart, there, c) || jar.valid(testStart, other, c) {
		t.Error("it is valid for another address")
	}
	forged := c
	forged[15] ^= 1
	if jar.valid(testStart, here, forged) {
		t.Error("a forged one is valid")
	}
	late, err := jar.make(testStart.Add(119*time.Second), here)
	if err != nil {
		t.Fatal(err)
	}
	if !jar.valid(testStart.Add(121*time.Second), here, late) || !jar.valid(testStart.Add(238*time.Second), here, late) {
		t.Error("a change of the secret spoils a cookie that is 2 minutes old")
	}
	if jar.valid(testStart.Add(242*time.Second), here, late) {
		t.Error("a cookie outlives two secrets")
	}
	if jar.valid(testStart.Add(time.Hour), here, late) {
		t.Error("a cookie is valid after an hour without any")
	}
}

func TestLoadMeter(t *testing.T) {
	for _, tt := range []struct {
		rate int // a second, for 5 s
		want bool
	}{{10, false}, {90, false}, {200, true}, {100_000, true}} {
		var l loadMeter
		on, first := false, 0
		for i := range 5 * tt.rate {
			if on = l.arrived(testStart.Add(time.Duration(i) * time.Second / time.Duration(tt.rate))); on && first == 0 {
				first = i
			}
		}
		if on != tt.want || on && first < int(loadOn)-1 {
			t.Errorf("%d a second are a load: %v, from number %d on", tt.rate, on, first)
		}
		if l.arrived(testStart.Add(11 * time.Second)) {
			t.Error("6 s later it is still one")
		}
	}
}

// flooded is an endpoint that strangers keep busy.
func flooded(t *testing.T, conn PacketConn) *Endpoint {
	t.Helper()
	e, err := Listen(Config{Conn: conn, Identity: testIdentity(2), App: testConfig(2).app, Rand: seeded(2)})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// strangersView returns the socket of an endpoint, and a first message to it with 300 bytes more behind.
func strangersView(t *testing.T) (conn *wireConn, first []byte) {
	t.Helper()
	conn = newWireConn()
	e := flooded(t, conn)
	t.Cleanup(func() { e.Close() })
	i, err := newInitiator(testConfig(1), e.ID(), 7, says(testHello(1)))
	if err != nil {
		t.Fatal(err)
	}
	return conn, append(bytes.Clone(i.first()), make([]byte, 300)...)
}

// answersTo returns how many bytes answer a packet, in how many packets, all of which must go where it came from.
func (c *wireConn) answersTo(t *testing.T, p fakePacket) (size, count int) {
	t.Helper()
	c.in <- p
	for _, answer := range c.take() {
		if size, count = size+len(answer.b), count+1; answer.from != p.from {
			t.Fatalf("a packet from %v is answered to %v", p.from, answer.from)
		}
	}
	return size, count
}

// spoofed returns first message number i of somebody who cannot see the answers: all but the header is noise.
func spoofed(i int, first []byte) fakePacket {
	b := bytes.Clone(first)
	b[firstHeaderSize], b[firstHeaderSize+1], b[firstHeaderSize+2] = byte(i), byte(i>>8), byte(i>>16)
	return fakePacket{b, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 7337)}
}

// Under load who dials by key or by address shows a cookie and gets in; who cannot gets a cookie and no more.
func TestCookieUnderLoad(t *testing.T) {
	for _, remote := range []PeerID{testIdentity(2).ID(), {}} {
		synctest.Test(t, func(t *testing.T) {
			conn := newWireConn()
			e := flooded(t, conn)
			defer e.Close()
			i, err := newInitiator(testConfig(1), remote, 7, says(testHello(1)))
			if err != nil {
				t.Fatal(err)
			}
			for n := range int(loadOn) {
				conn.in <- spoofed(n, i.first())
			}
			conn.take()
			from := nodeAddrPort(1)
			conn.in <- fakePacket{i.first(), from}
			out := conn.take()
			if len(out) != 1 || out[0].from != from || packetType(out[0].b) != kindCookie {
				t.Fatalf("answers %v, want a cookie", out)
			}
			index, c, ok := parseCookie(out[0].b)
			if !ok || index != 7 {
				t.Fatalf("index %d, parsed %v", index, ok)
			}
			for _, p := range []fakePacket{
				{appendCookied(nil, i.first(), cookie{1}), from},
				{appendCookied(nil, i.first(), c), nodeAddrPort(9)},
				{appendCookied(nil, i.first(), c)[:cookiedHeaderSize+100], from},
			} {
				conn.in <- p
				if out := conn.take(); len(out) > 1 || len(out) == 1 && packetType(out[0].b) != kindCookie {
					t.Errorf("a wrong proof was answered with %v", out)
				}
			}
			conn.in <- fakePacket{appendCookied(nil, i.first(), c), from}
			if out = conn.take(); len(out) != 1 || packetType(out[0].b) != kindAnswer {
				t.Fatalf("answers %v, want that to the handshake", out)
			}
			if _, _, err := i.handle(out[0].b); err != nil {
				t.Error(err)
			}
			time.Sleep(10 * time.Second)
			j, err := newInitiator(testConfig(1), remote, 8, says(testHello(1)))
			if err != nil {
				t.Fatal(err)
			}
			conn.in <- fakePacket{j.first(), from}
			if out = conn.take(); len(out) != 1 || packetType(out[0].b) != kindAnswer {
				t.Errorf("10 s later a first message was answered with %v", out)
			}
		})
	}
}

// Two endpoints: dialling one that is under load takes one round trip more, and asking for proofs without end gets a
// dialler to send no more than a few.
func TestDialUnderLoad(t *testing.T) {
	for _, byKey := range []bool{true, false} {
		inWorld(t, 50*time.Millisecond, func(w *world) {
			a, b, flooder := w.node(1), w.node(2), w.node(3)
			i, err := newInitiator(testConfig(3), PeerID{}, 7, says(testHello(3)))
			if err != nil {
				w.Fatal(err)
			}
			noise := bytes.Clone(i.first())
			copy(noise[7:], first4(appTag("test")))
			go func() {
				for n := range 4000 {
					_ = flooder.WriteTo(spoofed(n, noise).b, b.addr())
					w.sleep(time.Millisecond)
				}
			}()
			w.sleep(time.Second)
			start := time.Now()
			var l *Link
			if byKey {
				l = a.dial(b)
			} else {
				l = a.join(b)
			}
			if took := time.Since(start); took > 101*time.Millisecond {
				w.Errorf("dialling took %v, want two round trips of 50 ms", took)
			}
			w.serveEcho(b.accept())
			w.wantEcho(l)
			w.sleep(4 * time.Second)
		})
	}
}

func first4(tag [4]byte) []byte { return tag[:] }

// greedyConn counts what is sent to each spoofed address.
type greedyConn struct {
	*wireConn
	sent []int
	t    *testing.T
}

func (c *greedyConn) WriteBatch(bufs [][]byte, addrs []netip.AddrPort) (int, error) {
	for i, b := range bufs {
		a := addrs[i].Addr().As4()
		c.sent[int(a[1])<<16|int(a[2])<<8|int(a[3])] += len(b)
	}
	return len(bufs), nil
}

// The bar: 100,000 first messages from as many spoofed addresses leave less than 1 MiB behind, and none gets more than
// it sent.
func TestFloodOfFirstMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const strangers = 100_000
		conn := &greedyConn{newWireConn(), make([]int, strangers), t}
		e := flooded(t, conn)
		defer e.Close()
		i, err := newInitiator(testConfig(1), PeerID{}, 7, says(testHello(1))) // so that every packet is good until its proof
		if err != nil {
			t.Fatal(err)
		}
		before := heap()
		for n := range strangers {
			conn.in <- spoofed(n, i.first())
		}
		synctest.Wait()
		grown := int(heap()) - int(before)
		t.Logf("%d KiB more after %d first messages", grown>>10, strangers)
		if grown > 1<<20 && !raceEnabled {
			t.Errorf("%d KiB more memory", grown>>10)
		}
		answered := 0
		for n, size := range conn.sent {
			if size > firstSize {
				t.Fatalf("address %d sent %d bytes and got %d", n, firstSize, size)
			}
			if size > cookiePacketSize {
				answered++
			}
		}
		if answered > int(loadOn)+1 {
			t.Errorf("%d addresses were answered without a proof", answered)
		}
	})
}

// heap returns the bytes in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what pools held is gone after two
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Nothing that a stranger sends, of whatever kind and length, is answered with more.
func TestAnswersAreNeverLarger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, long := strangersView(t)
		for kind := range 256 {
			for _, size := range []int{1, 2, 5, 6, 7, 10, 11, 21, 22, 23, 25, 100, 1199, 1200, 1201, 1217, 1218, 1219, 1500} {
				long[0] = byte(kind)
				if sum, _ := conn.answersTo(t, fakePacket{bytes.Clone(long[:size]), nodeAddrPort(1)}); sum > size {
					t.Errorf("%d bytes of type %#x are answered with %d", size, kind, sum)
				}
			}
		}
	})
}

func FuzzCookiePackets(f *testing.F) {
	f.Add(appendCookie(nil, make([]byte, firstSize), cookie{1, 2, 3}))
	f.Add(appendCookied(nil, make([]byte, firstSize), cookie{1, 2, 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), packetBufSize)]
		switch packetType(b) {
		case kindCookie:
			if index, c, ok := parseCookie(b); ok {
				first := make([]byte, firstSize)
				copy(first[2:], b[2:6])
				if again := appendCookie(nil, first, c); !bytes.Equal(again, b) {
					t.Errorf("%x is read as %d, %x", b, index, c)
				}
			}
		case kindCookied:
			p := newInPacket()
			defer p.release()
			p.n = copy(p.buf[:], b)
			if c, ok := p.takeCookie(); ok && !bytes.Equal(appendCookied(nil, p.bytes(), c), b) {
				t.Errorf("%x is read as %x and %x", b, c, p.bytes())
			}
		}
	})
}
