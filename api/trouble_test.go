package api

import (
	"net/netip"
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

// move takes the node to another home, where its address and its NAT's are others.
func (n *node) move(outside string) {
	home := n.w.net.NewSegment("home at " + outside)
	n.w.net.NewRouter("router at "+outside, netsim.RouterConfig{
		Outside: n.w.net.Internet(), OutsideAddrs: []netip.Addr{netip.MustParseAddr(outside)},
		Inside: home, NAT: netsim.Presets["port-restricted"],
	})
	n.host.Move(home, netip.MustParseAddr("10.0.0.5"))
	n.NetworkChanged()
}

// Two peers move at the same moment, in the middle of a conversation. A common
// peer, which has stayed, is where they find each other: the link goes on.
func TestBothMove(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.introduced("port-restricted", "port-restricted")
		a.join(b.ID().String())
		before, _ := a.PathTo(b.ID())
		a.move("20.0.9.1")
		b.move("20.0.9.2")
		if err := a.SendText(w.ctx(5*time.Second), "where are you?", b.ID()); err != nil {
			t.Fatal(err)
		}
		if err := b.SendText(w.ctx(5*time.Second), "here", a.ID()); err != nil {
			t.Fatal(err)
		}
		after, _ := a.PathTo(b.ID())
		if got := b.texts(); len(got) != 1 || after.Addr == before.Addr {
			t.Errorf("b got %q; the path was %v and is %v", got, before.Addr, after.Addr)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, e := range a.events {
			if e.Type == EventPeer && e.State == StateDisconnected {
				t.Errorf("%s was lost meanwhile: %v", e.Peer.Short(), e.Err)
			}
		}
	})
}
