package kcptransport

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

func TestDialByKey(t *testing.T) {
	inWorld(t, 100*time.Millisecond, func(w *world) {
		a, b := w.node(1), w.node(2, func(c *Config) {
			c.Candidates = func() []Candidate { return []Candidate{{Addr: nodeAddrPort(2), Type: Host, Priority: 7}} }
			c.Hint = func() []byte { return []byte("a hint") }
		})
		start := time.Now()
		l := a.dial(b)
		if took := time.Since(start); took > 101*time.Millisecond {
			w.Errorf("dialling took %v, want one round trip of 100 ms", took)
		}
		m := b.accept()
		if l.Peer() != b.ID() || m.Peer() != a.ID() || !l.Initiator() || m.Initiator() {
			w.Error("the two ends do not agree on who they are")
		}
		if got := l.RemoteCandidates(); len(got) != 1 || got[0].Addr != nodeAddrPort(2) {
			w.Errorf("candidates of the peer are %v", got)
		}
		if string(l.RemoteHint()) != "a hint" || m.RemoteHint() != nil {
			w.Errorf("hints %q and %q", l.RemoteHint(), m.RemoteHint())
		}
		if a.Link(b.ID()) != l || !slices.Equal(b.Links(), []*Link{m}) {
			w.Error("the endpoints do not list the link")
		}
		info, ok := l.Path()
		if !ok || info.Path.Addr != b.addr() || info.State != PathProbing || info.Reason != ReasonHandshake || l.ObservedAddr() != a.addr() {
			w.Errorf("path %+v, observed %v", info, l.ObservedAddr())
		}
		w.sleep(101 * time.Millisecond)
		if info, _ := l.Path(); info.State != PathValidated || info.Reason != ReasonAnswered {
			w.Errorf("after one more round trip: %+v", info)
		}
		w.serveEcho(m)
		w.wantEcho(l)
		w.serveEcho(l)
		w.wantEcho(m)
		if again := a.dial(b); again != l {
			w.Error("a second Dial made a second link")
		}
	})
}

func nodeAddrPort(n byte) netip.AddrPort { return netip.AddrPortFrom(nodeAddr(n, 0), 7337) }

// Join by address to the first message delivered: 1.5 round trips and 20 ms.
func TestJoinToFirstMessage(t *testing.T) {
	for _, rtt := range []time.Duration{20 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond} {
		inWorld(t, rtt, func(w *world) {
			a, b := w.node(1), w.node(2)
			start := time.Now()
			go func() {
				s := w.open(a.join(b), "chat")
				_, _ = s.Write([]byte("hello"))
			}()
			s, err := b.accept().AcceptStream(w.ctx)
			if err != nil {
				w.Fatal(err)
			}
			got := make([]byte, 5)
			if _, err := io.ReadFull(s, got); err != nil || string(got) != "hello" || s.Kind() != "chat" {
				w.Fatalf("got %q on %q, %v", got, s.Kind(), err)
			}
			if took, limit := time.Since(start), rtt*3/2+20*time.Millisecond; took > limit {
				w.Errorf("with a round trip of %v it took %v, want at most %v", rtt, took, limit)
			}
		})
	}
}

// The same for a peer whose key is known, where it takes as long.
func TestDialToFirstDatagram(t *testing.T) {
	inWorld(t, 100*time.Millisecond, func(w *world) {
		a, b := w.node(1), w.node(2)
		start := time.Now()
		go func() { _ = a.dial(b).SendDatagram([]byte("hello")) }()
		if got, err := b.accept().ReceiveDatagram(w.ctx); err != nil || string(got) != "hello" {
			w.Fatalf("got %q, %v", got, err)
		}
		if took := time.Since(start); took > 170*time.Millisecond {
			w.Errorf("it took %v", took)
		}
	})
}

func TestDialRefused(t *testing.T) {
	secret := func(b byte) func(*Config) {
		return func(c *Config) { c.Secret = &[32]byte{b} }
	}
	app := func(name string) func(*Config) {
		return func(c *Config) { c.App = name }
	}
	tests := []struct {
		name   string
		a, b   func(*Config)
		peer   byte // whom a dials, 0: whoever is there
		want   RejectReason
		saying string
	}{
		{"other app", app("chat"), app("files"), 2, RejectApp, "application"},
		{"other app by address", app("chat"), app("files"), 0, RejectApp, "application"},
		{"other passphrase", secret(1), secret(2), 2, RejectSecret, "passphrase"},
		{"other passphrase by address", secret(1), secret(2), 0, RejectSecret, "passphrase"},
		{"no passphrase", app("x"), func(c *Config) { app("x")(c); secret(2)(c) }, 2, RejectSecret, "passphrase"},
		{"other peer", app("x"), app("x"), 3, RejectPeer, "another peer"},
		{"full", app("x"), func(c *Config) { app("x")(c); c.MaxLinks = -1 }, 2, 0, ""},
		{"busy", app("x"), func(c *Config) { app("x")(c); c.MaxLinks = 1 }, 2, RejectBusy, "no new links"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, 50*time.Millisecond, func(w *world) {
				a, b := w.node(1, test.a), w.node(2, test.b)
				if test.want == RejectBusy {
					w.node(9, test.a).dial(b)
					b.accept()
				}
				d := Dial{Addrs: []netip.AddrPort{b.addr()}}
				if test.peer != 0 {
					d.Peer = testIdentity(test.peer).ID()
				}
				start := time.Now()
				_, err := a.Dial(w.ctx, d)
				if test.want == 0 {
					if err != nil {
						w.Fatal(err)
					}
					return
				}
				var refusal *HandshakeError
				if !errors.As(err, &refusal) || refusal.Reason != test.want {
					w.Fatalf("error is %v, want reason %v", err, test.want)
				}
				for _, part := range []string{"kcptransport: ", b.addr().String(), test.saying} {
					if !strings.Contains(err.Error(), part) {
						w.Errorf("error %q does not tell %q", err, part)
					}
				}
				if took := time.Since(start); test.want != RejectBusy && took > 2*time.Second {
					w.Errorf("it took %v to tell", took)
				}
				if test.want != RejectBusy {
					b.wantNoLink(time.Second)
				}
			})
		})
	}
}

func TestDialNobody(t *testing.T) {
	inWorld(t, 50*time.Millisecond, func(w *world) {
		a := w.node(1)
		ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
		defer cancel()
		_, err := a.Dial(ctx, Dial{Addrs: []netip.AddrPort{nodeAddrPort(7), nodeAddrPort(8)}})
		want := "kcptransport: no answer from 198.51.100.7:7337, 198.51.100.8:7337 in 5s: context deadline exceeded"
		if err == nil || err.Error() != want || !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("error is %v, want %v", err, want)
		}
		start := time.Now()
		if _, err := a.Dial(w.ctx, Dial{Addrs: []netip.AddrPort{nodeAddrPort(7)}}); err == nil || time.Since(start).Round(time.Millisecond) != 10*time.Second {
			w.Errorf("error %v after %v, want one after 10 s", err, time.Since(start))
		}
		for name, d := range map[string]Dial{
			"this node itself": {Peer: a.ID(), Addrs: []netip.AddrPort{nodeAddrPort(7)}},
			"none of the":      {Addrs: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:1"), netip.MustParseAddrPort("224.0.0.1:5")}},
			"peer ID":          {Peer: PeerID{2}, Addrs: []netip.AddrPort{nodeAddrPort(7)}},
		} {
			if _, err := a.Dial(w.ctx, d); err == nil || !strings.Contains(err.Error(), name) {
				w.Errorf("error %v, want one about %q", err, name)
			}
		}
	})
}

// A node that joins its own address is told so.
func TestJoinSelf(t *testing.T) {
	inWorld(t, 50*time.Millisecond, func(w *world) {
		a := w.node(1)
		_, err := a.Dial(w.ctx, Dial{Addrs: []netip.AddrPort{a.addr()}})
		if !errors.Is(err, errHandshakeSelf) {
			w.Errorf("error is %v", err)
		}
	})
}

// Of several addresses the one that answers first wins, and dead ones cost nothing.
func TestDialSeveralAddresses(t *testing.T) {
	inWorld(t, 100*time.Millisecond, func(w *world) {
		a, b := w.node(1), w.node(2)
		start := time.Now()
		l, err := a.Dial(w.ctx, Dial{Peer: b.ID(), Addrs: []netip.AddrPort{nodeAddrPort(77), b.addr(), nodeAddrPort(78)}})
		if err != nil || time.Since(start) > 101*time.Millisecond {
			w.Fatalf("error %v after %v", err, time.Since(start))
		}
		if info, _ := l.Path(); info.Path.Addr != b.addr() {
			w.Errorf("path is %v", info)
		}
	})
}

// Several calls for one peer share one handshake and one link.
func TestDialAtOnce(t *testing.T) {
	inWorld(t, 100*time.Millisecond, func(w *world) {
		a, b := w.node(1), w.node(2)
		var wg sync.WaitGroup
		links := make([]*Link, 5)
		for i := range links {
			wg.Go(func() {
				if i%2 == 0 {
					links[i] = a.dial(b)
				} else {
					links[i] = a.join(b)
				}
			})
		}
		wg.Wait()
		for _, l := range links {
			if l == nil || l != links[0] || l.Err() != nil {
				w.Fatalf("links are %v", links)
			}
		}
		m := b.accept()
		w.serveEcho(m)
		w.wantEcho(links[0])
		w.sleep(time.Minute)
		if len(a.Links()) != 1 || len(b.Links()) != 1 || m.Err() != nil {
			w.Error("there should be one link on each side")
		}
	})
}

// A call that gives up does not disturb the others.
func TestDialCancelOne(t *testing.T) {
	inWorld(t, 400*time.Millisecond, func(w *world) {
		a, b := w.node(1), w.node(2)
		ctx, cancel := context.WithTimeout(w.ctx, 100*time.Millisecond)
		defer cancel()
		failed := make(chan error)
		go func() {
			_, err := a.Dial(ctx, Dial{Peer: b.ID(), Addrs: []netip.AddrPort{b.addr()}})
			failed <- err
		}()
		go func() { _, _ = a.Dial(w.ctx, Dial{Peer: b.ID(), Addrs: []netip.AddrPort{b.addr()}}) }()
		if err := <-failed; !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("error is %v", err)
		}
		b.accept()
	})
}

// Both sides dial at the same time, by key or by address: one link, and the same keys in the end.
func TestSimultaneousDial(t *testing.T) {
	for _, mode := range []string{"key key", "key address", "address key", "address address"} {
		for _, late := range []time.Duration{0, 20 * time.Millisecond, 49 * time.Millisecond, 51 * time.Millisecond, 90 * time.Millisecond} {
			t.Run(mode+" "+late.String(), func(t *testing.T) {
				inWorld(t, 100*time.Millisecond, func(w *world) {
					a, b := w.node(1), w.node(2)
					how := strings.Fields(mode)
					open := func(x, y *node, how string) *Link {
						if how == "key" {
							return x.dial(y)
						}
						return x.join(y)
					}
					other := make(chan *Link)
					go func() {
						w.sleep(late)
						other <- open(b, a, how[1])
					}()
					l := open(a, b, how[0])
					m := <-other
					w.serveEcho(l)
					w.serveEcho(m)
					w.wantEcho(l)
					w.wantEcho(m)
					w.sleep(time.Minute)
					if l.Err() != nil || m.Err() != nil || len(a.Links()) != 1 || len(b.Links()) != 1 {
						w.Fatalf("links ended: %v, %v", l.Err(), m.Err())
					}
					if l.Initiator() == m.Initiator() {
						w.Errorf("both ends say Initiator = %v", l.Initiator())
					}
				})
			})
		}
	}
}

// The same with loss and at any moment: whatever gets lost, the two calls lead to one link that lasts.
func TestSimultaneousDialUnderLoss(t *testing.T) {
	for seed := range uint64(30) {
		inSeededWorld(t, seed, 100*time.Millisecond, func(w *world) {
			w.link.Loss = 0.1
			random := rand.New(seeded(byte(seed)))
			a, b := w.node(1), w.node(2)
			call := func(x, y *node, after time.Duration, byKey bool, result chan<- *Link) {
				w.sleep(after)
				if byKey {
					result <- x.dial(y)
				} else {
					result <- x.join(y)
				}
			}
			one, two := make(chan *Link), make(chan *Link)
			go call(a, b, time.Duration(random.IntN(400))*time.Millisecond, random.IntN(2) == 0, one)
			go call(b, a, time.Duration(random.IntN(400))*time.Millisecond, random.IntN(2) == 0, two)
			l, m := <-one, <-two
			w.serveEcho(l)
			w.serveEcho(m)
			w.wantEcho(l)
			w.wantEcho(m)
			w.sleep(2 * time.Hour)
			if l.Err() != nil || m.Err() != nil || len(a.Links()) != 1 || len(b.Links()) != 1 {
				w.Fatalf("seed %d: links ended: %v, %v", seed, l.Err(), m.Err())
			}
			if l.Initiator() == m.Initiator() {
				w.Errorf("seed %d: both ends say Initiator = %v", seed, l.Initiator())
			}
		})
	}
}

// With 30 % loss in each direction links still come about and carry streams.
func TestHandshakeUnderLoss(t *testing.T) {
	for seed := range uint64(20) {
		inSeededWorld(t, seed, 50*time.Millisecond, func(w *world) {
			w.link.Loss = 0.163 // twice on each way: 30 %
			a, b := w.node(1), w.node(2, func(c *Config) { c.HandshakeTimeout = time.Minute })
			a.Endpoint.cfg.HandshakeTimeout = time.Minute
			var l *Link
			if seed%2 == 0 {
				l = a.dial(b)
			} else {
				l = a.join(b)
			}
			start := time.Now()
			go w.serveEcho(b.accept())
			for range 5 {
				w.wantEcho(l)
			}
			if took := time.Since(start); took > 20*time.Second {
				w.Errorf("seed %d: five messages took %v", seed, took)
			}
		})
	}
}

// A peer that was restarted opens a new link; the old one ends and says why.
func TestReplacementAfterRestart(t *testing.T) {
	for _, how := range []string{"dials by key", "dials by address", "is dialled by address"} {
		t.Run(how, func(t *testing.T) {
			inWorld(t, 50*time.Millisecond, func(w *world) {
				a, b, l, m := w.pair()
				w.serveEcho(m)
				s := w.open(l, "echo")
				w.wantEchoOn(s, []byte("before"))
				w.net.Partition(a.host, b.host) // a does not hear that b's link ends
				b.Close()
				w.net.Heal(a.host, b.host)
				b.start(77)
				switch how {
				case "dials by key":
					b.dial(a)
				case "dials by address":
					b.join(a)
				default:
					if a.join(b) == l {
						w.Fatal("the dead link was returned")
					}
				}
				if err := w.wantEnd(l, time.Second); !errors.Is(err, ErrReplaced) {
					w.Errorf("the old link ended with %v", err)
				}
				if _, err := s.Read(make([]byte, 1)); !errors.Is(err, ErrReplaced) {
					w.Errorf("its stream ended with %v", err)
				}
				fresh := a.Link(b.ID())
				if fresh == nil || fresh == l {
					w.Fatal("there is no new link")
				}
				for b.Link(a.ID()) == nil {
					w.sleep(time.Millisecond)
				}
				w.serveEcho(b.Link(a.ID()))
				w.wantEcho(fresh)
			})
		})
	}
}

// A side that lost only the link, not the process, is understood as well.
func TestReplacementAfterClose(t *testing.T) {
	inWorld(t, 50*time.Millisecond, func(w *world) {
		a, b, l, m := w.pair()
		w.net.Partition(a.host, b.host)
		m.Close()
		w.sleep(50 * time.Millisecond)
		w.net.Heal(a.host, b.host)
		m = b.dial(a)
		if err := w.wantEnd(l, time.Second); !errors.Is(err, ErrReplaced) {
			w.Errorf("the old link ended with %v", err)
		}
		w.serveEcho(a.accept())
		w.wantEcho(m)
	})
}

// One side loses the link while the other one renews its keys. What comes of that handshake must not pass for the link
// that is gone: the other side would keep streams of which this one knows nothing.
func TestLinkEndsDuringRenewal(t *testing.T) {
	inWorld(t, 50*time.Millisecond, func(w *world) {
		a, b, l, m := w.pair()
		w.sleep(guessTime)
		w.askRenewal(l)
		w.sleep(75 * time.Millisecond) // b has answered
		m.inbox.put(abortMessage{io.EOF})
		w.open(l, "echo")
		w.sleep(200 * time.Millisecond) // a has the answer, and uses the new keys
		m = b.dial(a)
		if err := w.wantEnd(l, time.Second); !errors.Is(err, ErrReplaced) {
			w.Errorf("the old link ended with %v", err)
		}
		w.serveEcho(a.accept())
		w.wantEcho(m)
	})
}

// What was recorded of a handshake and its data does nothing when it is sent again, from anywhere.
func TestReplay(t *testing.T) {
	for _, known := range []bool{true, false} {
		inWorld(t, 50*time.Millisecond, func(w *world) {
			a := w.node(1)
			host := w.net.NewHost("b", w.net.Internet(), w.link, nodeAddr(2, 0))
			conn, err := host.ListenUDP(nodeAddrPort(2))
			if err != nil {
				w.Fatal(err)
			}
			tap := &tapConn{PacketConn: conn}
			b := &node{w: w, host: host, cfg: Config{Identity: testIdentity(2), App: "test", Conn: tap, Rand: seeded(2)}}
			if b.Endpoint, err = Listen(b.cfg); err != nil {
				w.Fatal(err)
			}
			w.Cleanup(func() { b.Close() })
			var l *Link
			if known {
				l = a.dial(b)
			} else {
				l = a.join(b)
			}
			m := b.accept()
			w.serveEcho(m)
			w.wantEcho(l)
			w.sleep(5 * time.Second)
			recorded := tap.recorded()
			refused := m.Stats().PacketsRefused
			evil := w.net.NewHost("evil", w.net.Internet(), w.link, nodeAddr(66, 0))
			econn, err := evil.ListenUDP(nodeAddrPort(66))
			if err != nil {
				w.Fatal(err)
			}
			for _, p := range recorded {
				if _, err := econn.WriteToUDPAddrPort(p, b.addr()); err != nil {
					w.Fatal(err)
				}
			}
			w.sleep(15 * time.Second)
			if m.Err() != nil || len(b.Links()) != 1 || b.Links()[0] != m {
				w.Fatalf("the replay ended the link: %v", m.Err())
			}
			if got := m.Paths(); len(got) != 1 {
				w.Errorf("the replay left paths: %v", got)
			}
			if m.Stats().PacketsRefused == refused {
				w.Error("no replayed packet came to the link: the test tests nothing")
			}
			w.wantEcho(l)
			econn.Close()

			// Nor does it make a link when there is none any more.
			l.Close()
			w.wantEnd(m, time.Second)
			for _, p := range recorded {
				tap.inject(p, nodeAddrPort(66))
			}
			b.wantNoLink(15 * time.Second)
		})
	}
}

// tapConn records what arrives, and can be made to receive things.
type tapConn struct {
	PacketConn
	mu     sync.Mutex
	seen   [][]byte
	forged []fakePacket
}

type fakePacket struct {
	b    []byte
	from netip.AddrPort
}

func (c *tapConn) ReadBatch(bufs [][]byte, sizes []int, addrs []netip.AddrPort) (int, error) {
	n, err := c.PacketConn.ReadBatch(bufs, sizes, addrs)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range n {
		c.seen = append(c.seen, slices.Clone(bufs[i][:sizes[i]]))
	}
	if err != nil && !errors.Is(err, net.ErrClosed) && len(c.forged) > 0 { // inject woke us up
		for n = 0; n < len(bufs) && len(c.forged) > 0; n++ {
			sizes[n], addrs[n] = copy(bufs[n], c.forged[0].b), c.forged[0].from
			c.forged = c.forged[1:]
		}
		_ = c.SetReadDeadline(time.Time{})
		err = nil
	}
	return n, err
}

func (c *tapConn) recorded() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.seen)
}

// inject makes the connection receive b.
func (c *tapConn) inject(b []byte, from netip.AddrPort) {
	c.mu.Lock()
	c.forged = append(c.forged, fakePacket{b, from})
	c.mu.Unlock()
	_ = c.SetReadDeadline(time.Now())
}

// An endpoint that is flooded with first messages keeps a bounded memory of them, answers with no more bytes than it
// got, and serves others.
func TestFirstMessageFlood(t *testing.T) {
	inWorld(t, 20*time.Millisecond, func(w *world) {
		a, b := w.node(1), w.node(2)
		l := a.dial(b)
		w.serveEcho(b.accept())
		evil := w.net.NewHost("evil", w.net.Internet(), w.link, nodeAddr(66, 0))
		conn, err := evil.ListenUDP(nodeAddrPort(66))
		if err != nil {
			w.Fatal(err)
		}
		defer conn.Close()
		got := make(chan int, 1)
		go func() {
			sum, buf := 0, make([]byte, 2000)
			for {
				n, _, err := conn.ReadFromUDPAddrPort(buf)
				if err != nil {
					got <- sum
					return
				}
				sum += n
			}
		}()
		cfg := testConfig(66)
		sent := 0
		for i := range 1000 {
			peer := b.ID()
			if i%2 == 0 {
				peer = PeerID{}
			}
			in, err := newInitiator(cfg, peer, uint32(i+1), says(testHello(1)))
			if err != nil {
				w.Fatal(err)
			}
			sent += len(in.first())
			if _, err := conn.WriteToUDPAddrPort(in.first(), b.addr()); err != nil {
				w.Fatal(err)
			}
			if i%100 == 0 {
				w.sleep(time.Millisecond)
			}
		}
		w.wantEcho(l)
		b.table.mu.RLock()
		n := len(b.table.indices)
		b.table.mu.RUnlock()
		if n > maxPending+maxSessions {
			w.Errorf("%d indices are taken", n)
		}
		w.sleep(pendingExpiry + time.Second)
		b.table.mu.RLock()
		if n := len(b.table.indices); n > maxSessions {
			w.Errorf("%d indices are still taken after the handshakes expired", n)
		}
		b.table.mu.RUnlock()
		conn.Close()
		if got := <-got; got == 0 || got > sent {
			w.Errorf("answers of %d bytes for %d bytes", got, sent)
		}
	})
}

func TestSTUNIsHandedOut(t *testing.T) {
	inWorld(t, 20*time.Millisecond, func(w *world) {
		got := make(chan []byte, 1)
		a, b := w.node(1), w.node(2, func(c *Config) {
			c.OnSTUN = func(p []byte, from netip.AddrPort) {
				if from == nodeAddrPort(1) {
					got <- slices.Clone(p)
				}
			}
		})
		packet := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42}, make([]byte, 12)...)
		if err := a.WriteTo(packet, b.addr()); err != nil {
			w.Fatal(err)
		}
		if p := <-got; !slices.Equal(p, packet) {
			w.Errorf("got %x", p)
		}
		if err := a.WriteTTL(packet, b.addr(), 1); err != nil {
			w.Error(err)
		}
	})
}

func TestEndpointClose(t *testing.T) {
	inWorld(t, 50*time.Millisecond, func(w *world) {
		a, b, l, m := w.pair()
		c := w.node(3)
		a.dial(c)
		other := c.accept()
		accept, dial := make(chan error), make(chan error)
		go func() {
			_, err := a.Accept(w.ctx)
			accept <- err
		}()
		go func() {
			_, err := a.Dial(w.ctx, Dial{Addrs: []netip.AddrPort{nodeAddrPort(50)}})
			dial <- err
		}()
		w.sleep(time.Second)
		start := time.Now()
		a.Close()
		if took := time.Since(start); took > 60*time.Millisecond {
			w.Errorf("it took %v, want a round trip", took)
		}
		for name, err := range map[string]error{"accept": <-accept, "dial": <-dial, "link": l.Err()} {
			if !errors.Is(err, ErrClosed) || !errors.Is(err, net.ErrClosed) {
				w.Errorf("%s fails with %v", name, err)
			}
		}
		for _, l := range []*Link{m, other} {
			var peer *PeerError
			if err := w.wantEnd(l, time.Millisecond); !errors.As(err, &peer) || peer.Code != 0 {
				w.Errorf("the other side sees %v", err)
			}
		}
		if _, err := a.Dial(w.ctx, Dial{Addrs: []netip.AddrPort{b.addr()}}); !errors.Is(err, ErrClosed) {
			w.Errorf("dialling afterwards fails with %v", err)
		}
		a.Close()
	})
}

// Close takes a second at most even if nobody answers and everything is full.
func TestEndpointCloseUnanswered(t *testing.T) {
	inWorld(t, 50*time.Millisecond, func(w *world) {
		a, b, l, _ := w.pair()
		s := w.open(l, "bulk")
		b.vanish()
		_, _ = s.Write(make([]byte, 1<<20))
		start := time.Now()
		a.Close()
		if took := time.Since(start); took > time.Second {
			w.Errorf("it took %v", took)
		}
	})
}

// A socket that cannot be read any more ends everything, and says why.
func TestBrokenSocket(t *testing.T) {
	inWorld(t, 50*time.Millisecond, func(w *world) {
		a := w.node(1)
		conn := newWireConn()
		broken := make(chan struct{})
		b, err := Listen(Config{Conn: breakingConn{conn, broken}, Identity: testIdentity(2), App: "test"})
		if err != nil {
			w.Fatal(err)
		}
		_ = a
		accept := make(chan error)
		go func() {
			_, err := b.Accept(w.ctx)
			accept <- err
		}()
		close(broken)
		if err := <-accept; err == nil || !strings.Contains(err.Error(), "it burns") {
			w.Errorf("accepting fails with %v", err)
		}
		if _, err := b.Dial(w.ctx, Dial{Addrs: []netip.AddrPort{a.addr()}}); err == nil || !strings.Contains(err.Error(), "it burns") {
			w.Errorf("dialling fails with %v", err)
		}
		b.Close()
	})
}

// breakingConn fails to read once broken is closed.
type breakingConn struct {
	*wireConn
	broken chan struct{}
}

func (c breakingConn) ReadBatch([][]byte, []int, []netip.AddrPort) (int, error) {
	<-c.broken
	return 0, errors.New("it burns")
}

func TestListenErrors(t *testing.T) {
	n := netsim.New(netsim.Config{Seed: 1})
	defer n.Close()
	conn, err := n.NewHost("a", n.Internet(), netsim.Link{}, nodeAddr(1, 0)).ListenUDP(nodeAddrPort(1))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	good := Config{Conn: conn, Identity: testIdentity(1)}
	for want, change := range map[string]func(*Config){
		"Conn":      func(c *Config) { c.Conn = nil },
		"Identity":  func(c *Config) { c.Identity = nil },
		"name":      func(c *Config) { c.App = strings.Repeat("x", 65) },
		"MaxPacket": func(c *Config) { c.MaxPacket = 9000 },
		"random":    func(c *Config) { c.Rand = strings.NewReader("") },
	} {
		cfg := good
		change(&cfg)
		if _, err := Listen(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one about %s", err, want)
		}
	}
}
