package netsim

import (
	"errors"
	"syscall"
	"testing"
	"time"
)

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

// A socket bound to an address goes silent with it, and comes back with it.
func TestAddressThatIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h := w.public("a", "1.0.0.1", Link{})
		a := w.bind(h, addrPort("1.0.0.1:1"))
		b := w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		time.Sleep(time.Second)
		h.SetAddrs(addr("1.0.0.9"))
		w.send(a, "1.0.0.2:2", "at the last moment")
		w.wantNothing(b)
		w.wantDrops(DropNoRoute, 1)
		_, err := a.WriteToUDPAddrPort([]byte("x"), addrPort("1.0.0.2:2"))
		if !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("sent from an address that is gone: %v", err)
		}
		w.send(b, "1.0.0.1:1", "too late")
		w.wantNothing(a)
		h.SetAddrs(addr("1.0.0.1"), addr("1.0.0.9"))
		w.send(b, "1.0.0.1:1", "back again")
		w.wantPacket(a, "back again")
		if got := h.Addrs(); len(got) != 2 || h.Name() != "a" || h.String() != "host a" {
			t.Errorf("%v %v has %v", h.Name(), h, got)
		}
	})
}

// A change needs no packet to take effect.
func TestChangeOfAnIdleNetwork(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h := w.public("a", "1.0.0.1", Link{})
		a := w.listen(h, 1)
		time.Sleep(time.Second)
		h.SetAddrs()
		time.Sleep(time.Second)
		if _, err := a.WriteToUDPAddrPort([]byte("x"), addrPort("1.0.0.2:2")); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("sent without an address: %v", err)
		}
	})
}

// A host carried from one home to another keeps its socket, and nothing
// addressed to it at the old place follows.
func TestMoveBetweenHomes(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h, _ := w.behind("old", "1.0.0.1", NAT{})
		cafe := w.NewSegment("cafe")
		w.router("cafe", w.Internet(), "1.0.0.2", cafe, NAT{})
		a := w.listen(h, 1000)
		s := w.listen(w.public("s", "2.0.0.1", Link{}), 1)
		w.send(a, "2.0.0.1:1", "at home")
		old := w.wantPacket(s, "at home")
		w.send(s, old.String(), "under way")
		time.Sleep(500 * time.Microsecond) // it is on the last link
		h.Move(cafe, addr("10.0.0.2"))
		w.wantNothing(a)
		w.wantDrops(DropNoRoute, 1)
		w.send(a, "2.0.0.1:1", "at the cafe")
		if seen := w.wantPacket(s, "at the cafe"); seen.Addr() != addr("1.0.0.2") {
			t.Errorf("seen as %v", seen)
		}
		w.send(s, old.String(), "to the old place")
		w.wantNothing(a)
		w.wantDrops(DropNoRoute, 2)
	})
}

func TestDualStack(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.listen(w.NewHost("a", w.Internet(), Link{}, addr("2001:db8::1"), addr("1.0.0.1"), addr("1.0.0.3")), 1)
		b := w.listen(w.NewHost("b", w.Internet(), Link{}, addr("::ffff:1.0.0.2"), addr("2001:db8::2")), 2)
		for to, from := range map[string]string{"1.0.0.2:2": "1.0.0.1:1", "[2001:db8::2]:2": "[2001:db8::1]:1", "[::ffff:1.0.0.2]:2": "1.0.0.1:1"} {
			w.send(a, to, "x")
			if seen := w.wantPacket(b, "x"); seen.String() != from {
				t.Errorf("to %s from %v, want %s", to, seen, from)
			}
		}
		w.send(a, "1.0.0.3:1", "to myself")
		if seen := w.wantPacket(a, "to myself"); seen.String() != "1.0.0.3:1" {
			t.Errorf("from %v", seen)
		}
	})
}

func TestAddressesAreUsedOnce(t *testing.T) {
	wantPanic := func(what string, f func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s: no panic", what)
			}
		}()
		f()
	}
	inBubble(t, func(t *testing.T, w *world) {
		h, r := w.behind("a", "1.0.0.1", NAT{})
		h.SetAddrs(addr("192.168.1.2"), addr("2001:db8::1"))
		wantPanic("the router's address", func() { w.public("b", "1.0.0.1", Link{}) })
		wantPanic("an IPv6 address used further in", func() { w.public("c", "2001:db8::1", Link{}) })
		wantPanic("a neighbour's address", func() { w.NewHost("d", h.segment, Link{}, addr("192.168.1.2")) })
		wantPanic("a second router", func() { w.router("e", w.Internet(), "1.0.0.9", h.segment, NAT{}) })
		h.SetAddrs()
		w.public("f", "2001:db8::1", Link{}) // free again
		w.NewHost("g", h.segment, Link{}, addr("192.168.1.2"))
		if r.Name() != "a" {
			t.Errorf("the router is called %q", r.Name())
		}
	})
}
