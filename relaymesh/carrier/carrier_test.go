package carrier

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/internal/leaks"
	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/netsim"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// office is a host behind a router that blocks UDP, and a server outside.
type office struct {
	t              *testing.T
	a, b           *Conn
	client, server *netsim.Host
	closed         chan netip.AddrPort
	urls           map[string]string
}

func inOffice(t *testing.T, cfg Config, f func(o *office)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := netsim.New(netsim.Config{Seed: 1})
		inside := n.NewSegment("office")
		n.NewRouter("router", netsim.RouterConfig{
			Outside: n.Internet(), OutsideAddrs: []netip.Addr{netip.MustParseAddr("20.0.0.1")}, Inside: inside, NAT: netsim.Presets["udp-blocked"],
		})
		link := netsim.Link{Delay: 10 * time.Millisecond, Rate: 20_000_000}
		o := &office{
			t: t, closed: make(chan netip.AddrPort, 1000),
			client: n.NewHost("client", inside, link, netip.MustParseAddr("192.168.1.2")),
			server: n.NewHost("server", n.Internet(), netsim.Link{}, netip.MustParseAddr("20.0.0.2")),
			urls:   map[string]string{"tcp": "tcp://20.0.0.2:7337", "ws": "ws://20.0.0.2:80/xppg"},
		}
		ua, _ := o.client.ListenUDP(netip.MustParseAddrPort("0.0.0.0:1"))
		ub, _ := o.server.ListenUDP(netip.MustParseAddrPort("0.0.0.0:2"))
		cfg.Dial = o.client.DialContext
		o.a = New(ua, cfg)
		cfg.OnClose = func(a netip.AddrPort) { o.closed <- a }
		o.b = New(ub, cfg)
		tl, _ := o.server.ListenTCP(netip.MustParseAddrPort("0.0.0.0:7337"))
		hl, _ := o.server.ListenTCP(netip.MustParseAddrPort("0.0.0.0:80"))
		srv := &http.Server{Handler: o.b}
		go func() { _ = o.b.Serve(tl) }()
		go func() { _ = srv.Serve(hl) }()
		f(o)
		_, _ = o.a.Close(), o.b.Close()
		_ = srv.Close()
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (o *office) dial(url string) netip.AddrPort {
	o.t.Helper()
	a, err := o.a.Dial(o.t.Context(), url)
	if err != nil || !Is(a) {
		o.t.Fatal(a, err)
	}
	return a
}

func send(c *Conn, to netip.AddrPort, packets ...string) int {
	bufs, addrs := make([][]byte, len(packets)), make([]netip.AddrPort, len(packets))
	for i, p := range packets {
		bufs[i], addrs[i] = []byte(p), to
	}
	n, _ := c.WriteBatch(bufs, addrs)
	return n
}

// wantPackets waits for packets, and returns whom the last is from.
func (o *office) wantPackets(c *Conn, want ...string) (from netip.AddrPort) {
	o.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	bufs, sizes, addrs := [][]byte{make([]byte, maxPacket), make([]byte, maxPacket)}, make([]int, 2), make([]netip.AddrPort, 2)
	for i := 0; i < len(want); {
		n, err := c.ReadBatch(bufs, sizes, addrs)
		if err != nil {
			o.t.Fatalf("packet %d: %v", i, err)
		}
		for k := range n {
			if got := string(bufs[k][:sizes[k]]); got != want[i] {
				o.t.Fatalf("packet %d is %q, want %q", i, got, want[i])
			}
			from = addrs[k]
			i++
		}
	}
	return from
}

func TestPacketsOverConnections(t *testing.T) {
	for _, kind := range []string{"tcp", "ws"} {
		t.Run(kind, func(t *testing.T) {
			inOffice(t, Config{}, func(o *office) {
				to := o.dial(o.urls[kind])
				if other := o.dial(o.urls[kind]); other == to {
					o.t.Errorf("two connections have the address %v", to)
				}
				big := strings.Repeat("x", maxPacket)
				if n := send(o.a, to, "one", big, "three"); n != 3 {
					o.t.Errorf("%d packets sent", n)
				}
				from := o.wantPackets(o.b, "one", big, "three")
				if !Is(from) {
					o.t.Errorf("from %v", from)
				}
				if there, here := o.b.Source(from), o.a.Source(to); !there.IsValid() || Is(netip.AddrPortFrom(there, 1)) || here.IsValid() {
					o.t.Errorf("the sources are %v and %v", there, here)
				}
				send(o.b, from, "back")
				if got := o.wantPackets(o.a, "back"); got != to {
					o.t.Errorf("back from %v, want %v", got, to)
				}
				if n := send(o.a, to, big+"x"); n != 0 {
					t.Error("a packet that is too large is sent")
				}
				_ = o.a.Close()
				if got := <-o.closed; got != from {
					o.wantClosed(from)
				}
				if at := o.b.Source(from); at.IsValid() {
					o.t.Errorf("the source of what has ended is %v", at)
				}
				if n := send(o.b, from, "gone"); n != 0 {
					t.Error("a connection that has ended takes packets")
				}
			})
		})
	}
}

// wantClosed waits until the connection of an address has ended.
func (o *office) wantClosed(want netip.AddrPort) {
	o.t.Helper()
	for range 100 {
		select {
		case got := <-o.closed:
			if got == want || !want.IsValid() {
				return
			}
		case <-time.After(5 * time.Minute):
			o.t.Fatal("the connection goes on")
		}
	}
}

// UDP works beside connections, and neither holds up the other.
func TestUDPBesideConnections(t *testing.T) {
	inOffice(t, Config{}, func(o *office) {
		to := o.dial(o.urls["tcp"])
		send(o.a, to, "first")
		from := o.wantPackets(o.b, "first")
		third, _ := o.server.ListenUDP(netip.MustParseAddrPort("0.0.0.0:9"))
		go func() {
			for range 100 {
				send(o.a, to, "carried", "carried")
				_, _ = third.WriteToUDPAddrPort([]byte("datagram"), netip.MustParseAddrPort("20.0.0.2:2"))
				time.Sleep(time.Millisecond)
			}
		}()
		count := map[netip.AddrPort]int{}
		bufs, sizes, addrs := [][]byte{make([]byte, 100)}, make([]int, 1), make([]netip.AddrPort, 1)
		_ = o.b.SetReadDeadline(time.Now().Add(10 * time.Second))
		for range 300 {
			if _, err := o.b.ReadBatch(bufs, sizes, addrs); err != nil {
				o.t.Fatal(count, err)
			}
			count[addrs[0]]++
		}
		if count[from] != 200 || len(count) != 2 {
			o.t.Errorf("came: %v", count)
		}
		start := time.Now()
		_ = o.b.SetReadDeadline(start.Add(time.Second))
		_, err := o.b.ReadBatch(bufs, sizes, addrs)
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			o.t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// What a slow connection does not take is dropped, and memory is bounded.
func TestSlowConnection(t *testing.T) {
	inOffice(t, Config{Queue: 10_000}, func(o *office) {
		to := o.dial(o.urls["tcp"])
		o.server.Pause() // so that at last nothing leaves any more
		packet, sent := strings.Repeat("x", 1000), 0
		for range 3000 {
			sent += send(o.a, to, packet)
			time.Sleep(time.Millisecond)
		}
		if most := 600 + 20; sent < 100 || sent > most { // 256 KiB wait on each side, and the queue
			o.t.Errorf("%d packets taken, want at most %d", sent, most)
		}
		o.server.Resume()
	})
}

func TestHostileConnections(t *testing.T) {
	for name, b := range map[string]string{
		"an empty packet": "\x00\x00", "a huge one": "\xff\xff", "HTTP": "GET / HTTP/1.1\r\n\r\n", "half a packet": "\x00\x09x", "nothing": "",
	} {
		t.Run(name, func(_ *testing.T) {
			inOffice(t, Config{}, func(o *office) {
				c, err := o.client.DialContext(o.t.Context(), "tcp", "20.0.0.2:7337")
				if err != nil {
					o.t.Fatal(err)
				}
				_, _ = c.Write([]byte(b))
				o.wantClosed(netip.AddrPort{})
				_ = c.Close()
			})
		})
	}
	inOffice(t, Config{Conns: 3}, func(o *office) {
		for range 5 {
			o.dial(o.urls["tcp"])
		}
		time.Sleep(time.Second)
		o.b.mu.Lock()
		defer o.b.mu.Unlock()
		if o.b.accepted != 3 {
			o.t.Errorf("%d connections are accepted", o.b.accepted)
		}
	})
	inOffice(t, Config{}, func(o *office) {
		for _, url := range []string{"tcp://20.0.0.2:9", "udp://20.0.0.2:1", "ws://20.0.0.2:9/", "::", ""} {
			if a, err := o.a.Dial(o.t.Context(), url); err == nil || !strings.Contains(err.Error(), "carrier: dial") {
				o.t.Errorf("%q: %v %v", url, a, err)
			}
		}
	})
}

// An endpoint makes a link over a connection, and a file goes over that.
func TestLinkOverConnections(t *testing.T) {
	for _, kind := range []string{"tcp", "ws"} {
		t.Run(kind, func(t *testing.T) {
			inOffice(t, Config{}, func(o *office) {
				ctx, cancel := context.WithTimeout(o.t.Context(), time.Minute)
				defer cancel()
				alice, bob := o.listen(o.a), o.listen(o.b)
				defer alice.Close()
				defer bob.Close()
				data := make([]byte, 1_000_000)
				_, _ = rand.Read(data)
				go func() {
					link, err := bob.Accept(ctx)
					if err != nil {
						return
					}
					if s, err := link.AcceptStream(ctx); err == nil {
						_, _ = s.Write(data)
						_ = s.CloseWrite()
					}
				}()
				start := time.Now()
				link, err := alice.Dial(ctx, kcptransport.Dial{Peer: bob.ID(), Addrs: []netip.AddrPort{o.dial(o.urls[kind])}})
				if err != nil {
					o.t.Fatal(err)
				}
				if took := time.Since(start); took > time.Second {
					o.t.Errorf("the link took %v", took)
				}
				s, err := link.OpenStream(ctx, "file")
				if err != nil {
					o.t.Fatal(err)
				}
				_ = s.CloseWrite()
				got, err := io.ReadAll(s)
				if err != nil || !bytes.Equal(got, data) {
					o.t.Errorf("%d bytes, %v", len(got), err)
				}
			})
		})
	}
}

func (o *office) listen(c *Conn) *kcptransport.Endpoint {
	o.t.Helper()
	id, err := kcptransport.NewIdentity(nil)
	if err != nil {
		o.t.Fatal(err)
	}
	e, err := kcptransport.Listen(kcptransport.Config{Conn: c, Identity: id, App: "test"})
	if err != nil {
		o.t.Fatal(err)
	}
	return e
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x00\x03abc\x00\x01x"))
	f.Add([]byte("\x00\x00"))
	f.Add([]byte("\xff\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, b, total := bytes.NewReader(in), make([]byte, maxPacket), 0
		for {
			n, err := readFrame(r, b)
			if err != nil {
				break
			}
			if n == 0 || n > maxPacket {
				t.Fatalf("a packet of %d bytes", n)
			}
			total += 2 + n
		}
		if total > len(in) {
			t.Errorf("%d bytes of %d", total, len(in))
		}
	})
}

// A packet that comes alone is not held up for the sake of UDP.
func TestLonePackets(t *testing.T) {
	inOffice(t, Config{}, func(o *office) {
		to := o.dial(o.urls["tcp"])
		var took [3]time.Duration
		for i := range took {
			start := time.Now()
			send(o.a, to, "packet")
			o.wantPackets(o.b, "packet")
			took[i] = time.Since(start)
		}
		if took[1] > took[0] || took[2] > took[0] {
			o.t.Errorf("packets took %v", took)
		}
	})
}

// deaf is a socket that is never read.
type deaf struct{ kcptransport.PacketConn }

func (deaf) SetReadDeadline(time.Time) error { return nil }
func (deaf) Close() error                    { return nil }

// Whatever comes by a connection, only packets of good size get through, and it ends.
func FuzzConnection(f *testing.F) {
	f.Add([]byte("\x00\x03abc\x00\x01x"))
	f.Add([]byte("\x00\x01x\x00\x00\x00\x01x"))
	f.Add([]byte("\xff\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := New(deaf{}, Config{})
		ours, theirs := net.Pipe()
		if !c.accept(newTCP(ours), "20.0.0.1:1") {
			t.Fatal("not accepted")
		}
		_, _ = theirs.Write(in)
		_ = theirs.Close()
		_ = c.Close()
		total := 0
		for _, r := range c.waiting {
			if len(r.data) == 0 || len(r.data) > maxPacket || r.from != netip.MustParseAddrPort("[100::1]:1") {
				t.Errorf("%d bytes from %v", len(r.data), r.from)
			}
			total += 2 + len(r.data)
		}
		if total > len(in) || len(c.links) != 0 || c.accepted != 0 || len(c.perIP) != 0 {
			t.Errorf("%d bytes of %d, %d links, %d accepted", total, len(in), len(c.links), c.accepted)
		}
	})
}
