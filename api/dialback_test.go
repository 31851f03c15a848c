package api

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

// A node finds out whether others can reach it with the help of a peer that never had to do with it.
func TestDialBack(t *testing.T) {
	for _, c := range []struct {
		nat  string
		want bool
	}{{"", true}, {"full-cone", true}, {"port-restricted", false}, {"address-restricted", false}, {"symmetric", false}} {
		t.Run("behind "+c.nat, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				auto := func(cfg *Config) { cfg.Relay = RelayAuto }
				helper, third := w.public(noMesh), w.public(noMesh)
				third.meet(helper)
				var n *node
				if c.nat == "" {
					n = w.public(noMesh, auto)
				} else {
					n = w.behind(netsim.Presets[c.nat], noMesh, auto)
				}
				n.meet(helper)
				time.Sleep(2 * time.Second)
				var err error
				for _, addr := range n.publicAddrs() {
					if err = n.reachableAt(w.ctx(10*time.Second), addr); err == nil {
						break
					}
				}
				if (err == nil) != c.want || !c.want && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v", err)
				}
				time.Sleep(time.Minute)
				if n.Relaying() != c.want {
					t.Errorf("relaying: %v", n.Relaying())
				}
			})
		})
	}
}

// A node that was reached at an address of its own goes on relaying after it slept, although nobody is left who could
// prove anew that it is reached: all have links to it. At another address it is not known any more.
func TestReachableAfterSleep(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		auto := func(cfg *Config) { cfg.Relay = RelayAuto }
		n, other := w.public(noMesh, auto), w.public(noMesh)
		other.meet(n)
		time.Sleep(time.Second)
		for range 3 {
			if !n.Relaying() {
				t.Fatal("it does not relay")
			}
			n.NetworkChanged()
			time.Sleep(5 * time.Minute)
		}
		n.host.SetAddrs(netip.MustParseAddr("20.9.9.9"))
		n.NetworkChanged()
		time.Sleep(time.Second)
		if n.Relaying() {
			t.Error("it relays where nobody has reached it")
		}
	})
}

// Nobody has others send packets to somebody else, nor to places that are not public.
func TestDialBackOfStrangers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		helper, third, n := w.public(noMesh), w.public(noMesh), w.public(noMesh)
		n.meet(helper)
		if err := n.reachableAt(w.ctx(time.Minute), netip.MustParseAddrPort(n.addr)); err == nil {
			t.Error("reachable although nobody could try")
		}
		third.meet(helper)
		for _, addr := range []string{third.addr, "192.168.1.1:7337", "127.0.0.1:7337", "224.0.0.1:7337"} {
			err := n.reachableAt(w.ctx(time.Minute), netip.MustParseAddrPort(addr))
			var refused *RemoteError
			if !errors.As(err, &refused) {
				t.Errorf("%s: error %v", addr, err)
			}
		}
		if n.Relaying() {
			t.Error("it relays")
		}
	})
}
