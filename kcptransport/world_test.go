package kcptransport

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/netsim"
)

// world is a netsim in a synctest bubble: hosts on the internet, rtt apart from each other.
type world struct {
	*testing.T
	net  *netsim.Network
	ctx  context.Context // ends after a day, before which every test must be through
	link netsim.Link     // of hosts made from now on
}

// inWorld runs f in virtual time. Every endpoint is closed afterwards, and every packet accounted for.
func inWorld(t *testing.T, rtt time.Duration, f func(w *world)) {
	t.Helper()
	inSeededWorld(t, 1, rtt, f)
}

func inSeededWorld(t *testing.T, seed uint64, rtt time.Duration, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		w := &world{T: t, net: netsim.New(netsim.Config{Seed: seed}), ctx: ctx, link: netsim.Link{Delay: rtt / 4}}
		t.Cleanup(func() {
			if err := w.net.Close(); err != nil {
				t.Error(err)
			}
		})
		f(w)
	})
}

// sleep lets virtual time pass.
func (w *world) sleep(d time.Duration) { <-time.After(d) }

// node is an endpoint on a host of its own.
type node struct {
	*Endpoint
	w    *world
	host *netsim.Host
	cfg  Config
}

// addr is the address of node n; moved gives another one for the same node.
func nodeAddr(n byte, moved byte) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 51, 100 + moved, n})
}

// node starts node n on the internet.
func (w *world) node(n byte, change ...func(*Config)) *node {
	w.Helper()
	host := w.net.NewHost(hex.EncodeToString([]byte{n}), w.net.Internet(), w.link, nodeAddr(n, 0))
	return w.nodeOn(host, n, change...)
}

// dual starts node n with an IPv4 and an IPv6 address, and returns the latter.
func (w *world) dual(n byte) (*node, netip.AddrPort) {
	w.Helper()
	six := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: n})
	host := w.net.NewHost(hex.EncodeToString([]byte{n}), w.net.Internet(), w.link, nodeAddr(n, 0), six)
	return w.nodeOn(host, n), netip.AddrPortFrom(six, 7337)
}

// nodeOn starts node n on a given host.
func (w *world) nodeOn(host *netsim.Host, n byte, change ...func(*Config)) *node {
	w.Helper()
	x := &node{w: w, host: host, cfg: Config{Identity: testIdentity(n), App: "test"}}
	for _, f := range change {
		f(&x.cfg)
	}
	x.start(n)
	return x
}

func (x *node) start(seed byte) {
	x.w.Helper()
	any := netip.IPv4Unspecified()
	for _, a := range x.host.Addrs() {
		if a.Is6() {
			any = netip.IPv6Unspecified()
		}
	}
	conn, err := x.host.ListenUDP(netip.AddrPortFrom(any, 7337))
	if err != nil {
		x.w.Fatal(err)
	}
	x.cfg.Conn, x.cfg.Rand = conn.Settled(), seeded(seed)
	if x.Endpoint, err = Listen(x.cfg); err != nil {
		x.w.Fatal(err)
	}
	e := x.Endpoint
	x.w.Cleanup(func() {
		start := time.Now()
		e.Close()
		if took := time.Since(start); took > time.Second {
			x.w.Errorf("closing an endpoint took %v", took)
		}
	})
}

// vanish makes the node disappear without a word, as when power fails.
func (x *node) vanish() { x.host.SetAddrs() }

func (x *node) addr() netip.AddrPort { return netip.AddrPortFrom(x.host.Addrs()[0], 7337) }

// dial opens a link to y, whose key is known.
func (x *node) dial(y *node) *Link {
	x.w.Helper()
	l, err := x.Dial(x.w.ctx, Dial{Peer: y.ID(), Addrs: []netip.AddrPort{y.addr()}})
	if err != nil {
		x.w.Fatal(err)
	}
	return l
}

// join opens a link to whoever is at y's address.
func (x *node) join(y *node) *Link {
	x.w.Helper()
	l, err := x.Dial(x.w.ctx, Dial{Addrs: []netip.AddrPort{y.addr()}})
	if err != nil {
		x.w.Fatal(err)
	}
	return l
}

func (x *node) accept() *Link {
	x.w.Helper()
	l, err := x.Accept(x.w.ctx)
	if err != nil {
		x.w.Fatal(err)
	}
	return l
}

// wantNoLink checks that within d nobody is given a link, and none exists.
func (x *node) wantNoLink(d time.Duration) {
	x.w.Helper()
	ctx, cancel := context.WithTimeout(x.w.ctx, d)
	defer cancel()
	if l, err := x.Accept(ctx); err == nil {
		x.w.Fatalf("there is a link to %s", l.Peer().Short())
	}
	if n := len(x.Links()); n != 0 {
		x.w.Fatalf("there are %d links", n)
	}
}

// pair gives two nodes and the two ends of their link.
func (w *world) pair() (a, b *node, l, m *Link) {
	w.Helper()
	a, b = w.node(1), w.node(2)
	l = a.dial(b)
	return a, b, l, b.accept()
}

// serveEcho echoes every stream of l until the link ends.
func (w *world) serveEcho(l *Link) {
	go func() {
		for {
			s, err := l.AcceptStream(context.Background())
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(s, s)
				s.CloseWrite()
			}()
		}
	}()
}

func (w *world) open(l *Link, kind string) *Stream {
	w.Helper()
	s, err := l.OpenStream(w.ctx, kind)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// wantEcho sends a message over a new stream of l and waits for it to come back; the other end must serveEcho.
func (w *world) wantEcho(l *Link) {
	w.Helper()
	s := w.open(l, "echo")
	defer s.Close()
	w.wantEchoOn(s, []byte("a message"))
}

func (w *world) wantEchoOn(s *Stream, msg []byte) {
	w.Helper()
	if _, err := s.Write(msg); err != nil {
		w.Fatal(err)
	}
	got := make([]byte, len(msg))
	if _, err := io.ReadFull(s, got); err != nil {
		w.Fatal(err)
	}
	if !bytes.Equal(got, msg) {
		w.Fatalf("echo is %q, want %q", got, msg)
	}
}

// bulkTransfer is a running transfer over one stream.
type bulkTransfer struct {
	w    *world
	size int
	done chan error
	took time.Duration
	came []time.Time // when some of it was read
}

// startTransfer sends size bytes from l to m.
func (w *world) startTransfer(l, m *Link, size int) *bulkTransfer {
	w.Helper()
	tr := &bulkTransfer{w: w, size: size, done: make(chan error, 1)}
	data := make([]byte, size)
	seeded(9).Read(data)
	start := time.Now()
	s := w.open(l, "bulk")
	go func() {
		_, _ = s.Write(data)
		s.CloseWrite()
	}()
	go func() {
		r, err := m.AcceptStream(w.ctx)
		if err != nil {
			tr.done <- err
			return
		}
		h := sha256.New()
		n, err := io.Copy(io.MultiWriter(h, arrivals{tr}), r)
		if err == nil && [32]byte(h.Sum(nil)) != sha256.Sum256(data) {
			err = errors.New("the data was changed on the way")
		}
		if err != nil {
			w.Logf("%d of %d bytes arrived", n, size)
		}
		tr.took = time.Since(start)
		tr.done <- err
	}()
	return tr
}

// arrivals notes when data of a transfer comes.
type arrivals struct{ tr *bulkTransfer }

func (a arrivals) Write(b []byte) (int, error) {
	a.tr.came = append(a.tr.came, time.Now())
	return len(b), nil
}

// gap returns the longest time from a moment on in which nothing was read, of a transfer that was waited for.
func (tr *bulkTransfer) gap(since time.Time) (longest time.Duration) {
	for i := 1; i < len(tr.came); i++ {
		if tr.came[i].After(since) {
			longest = max(longest, tr.came[i].Sub(tr.came[i-1]))
		}
	}
	return longest
}

// wait waits for the end of the transfer, which must be whole.
func (tr *bulkTransfer) wait() {
	tr.w.Helper()
	if err := <-tr.done; err != nil {
		tr.w.Fatal(err)
	}
}

func (w *world) waitPath(l *Link) PathInfo {
	w.Helper()
	info, err := l.WaitPath(w.ctx)
	if err != nil {
		w.Fatal(err)
	}
	return info
}

// wantPath waits until l uses the given path, at most d.
func (w *world) wantPath(l *Link, addr netip.AddrPort, d time.Duration) {
	w.Helper()
	start := time.Now()
	for time.Since(start) <= d {
		if info, ok := l.Path(); ok && info.Path.Addr == addr {
			return
		}
		w.sleep(time.Millisecond)
	}
	info, _ := l.Path()
	w.Fatalf("path in use is %v after %v, want %v", info.Path, d, addr)
}

// wantEnd waits until l has ended, at most d, and returns why.
func (w *world) wantEnd(l *Link, d time.Duration) error {
	w.Helper()
	select {
	case <-l.Done():
		return l.Err()
	case <-time.After(d):
		w.Fatalf("the link has not ended after %v", d)
	}
	return nil
}
