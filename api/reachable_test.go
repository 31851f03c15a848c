package api

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// dual starts a node with public addresses of both kinds, of which it is joined by the given one.
func (w *world) dual(six bool, change ...func(*Config)) (n *node, addr6 netip.AddrPort) {
	w.places++
	ip, ip6 := netip.AddrFrom4([4]byte{20, 0, 0, byte(w.places)}), netip.AddrFrom16([16]byte{0x26, 0, 15: byte(w.places)})
	addr6 = netip.AddrPortFrom(ip6, 7337)
	n = w.start(w.net.NewHost(fmt.Sprint("dual", w.places), w.net.Internet(), w.link, ip, ip6), change)
	if n.addr = netip.AddrPortFrom(ip, 7337).String(); six {
		n.addr = addr6.String()
	}
	return n, addr6
}

// What others have reached is believed no longer when nothing comes, whether the node relays by itself, always or never, and by IPv6
// as by IPv4.
func TestReachedIsTakenBack(t *testing.T) {
	for _, mode := range []RelayMode{RelayAuto, RelayOn, RelayOff} {
		for _, six := range []bool{false, true} {
			t.Run(fmt.Sprintf("mode %v, IPv6 %v", mode, six), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					third, _ := w.dual(six, noMesh)
					helper, _ := w.dual(six, noMesh)
					n, _ := w.dual(six, noMesh, func(c *Config) { c.Relay = mode })
					third.meet(helper)
					helper.meet(n) // which shows that n is reached
					f := map[bool]int{true: 1}[six]
					time.Sleep(20 * time.Minute)
					if !n.reachedOver()[f] {
						t.Fatal("it is not believed that others reach it")
					}
					w.net.PartitionOneWay(third.host, n.host)
					time.Sleep(20 * time.Minute)
					if mode != RelayAuto {
						time.Sleep(dialBackSeldom)
					}
					if by := n.reachedOver(); by != (families{}) {
						t.Errorf("it is believed still: %v", by)
					}
					if n.Relaying() != (mode == RelayOn) {
						t.Errorf("relaying: %v", n.Relaying())
					}
				})
			})
		}
	}
}

// That nothing comes by one of IPv4 and IPv6 says nothing of the other.
func TestReachTests(t *testing.T) {
	const four, six = 0, 1
	var r reachTests
	for i, c := range []struct{ proven, silent, lost families }{
		{proven: families{four: true}, silent: families{six: true}},
		{}, // nobody could test it
		{proven: families{four: true}, silent: families{six: true}, lost: families{six: true}},
		{silent: families{four: true, six: true}, lost: families{six: true}},
		{proven: families{four: true, six: true}, silent: families{six: true}}, // at one of several addresses
		{silent: families{four: true, six: true}},
		{silent: families{four: true, six: true}, lost: families{four: true, six: true}},
	} {
		if got := r.note(c.proven, c.silent); got != c.lost {
			t.Errorf("%d: lost %v, want %v", i, got, c.lost)
		}
	}
}

// A third peer without IPv6 does not make a node believe that nobody reaches it there.
func TestThirdPeerWithoutIPv6(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		third := w.public(noMesh)
		helper, _ := w.dual(false, noMesh)
		n, six := w.dual(true, noMesh, func(c *Config) { c.Relay = RelayAuto })
		third.meet(helper)
		helper.meet(n)
		var refused *RemoteError
		if err := n.reachableAt(w.ctx(time.Minute), six); !errors.As(err, &refused) {
			t.Errorf("error %v", err)
		}
		time.Sleep(20 * time.Minute)
		if by := n.reachedOver(); !by[1] {
			t.Errorf("believed: %v", by)
		}
	})
}
