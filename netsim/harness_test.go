package netsim

import (
	"errors"
	"net/netip"
	"os"
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

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func (w *world) public(name, ip string, l Link) *Host {
	return w.NewHost(name, w.Internet(), l, addr(ip))
}

// behind makes a home with one host behind a NAT.
func (w *world) behind(name, outside string, nat NAT) (*Host, *Router) {
	home := w.NewSegment(name)
	r := w.router(name, w.Internet(), outside, home, nat)
	return w.NewHost(name, home, Link{Delay: time.Millisecond}, addr("192.168.1.2")), r
}

func (w *world) router(name string, out *Segment, outside string, in *Segment, nat NAT) *Router {
	return w.NewRouter(name, RouterConfig{Outside: out, OutsideAddrs: []netip.Addr{addr(outside)}, Inside: in, NAT: nat})
}

func (w *world) listen(h *Host, port uint16) *Conn {
	w.t.Helper()
	return w.bind(h, netip.AddrPortFrom(netip.Addr{}, port))
}

func (w *world) bind(h *Host, at netip.AddrPort) *Conn {
	w.t.Helper()
	c, err := h.ListenUDP(at)
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
