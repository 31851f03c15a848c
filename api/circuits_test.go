package api

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/relaymesh"
)

// relayFrame puts the length of a frame of relaymesh before it.
func relayFrame(body []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(body))), body...)
}

// forgeOffers has a hostile node offer a peer circuits that nobody asked for, in the name of somebody, by way of itself and others.
func (n *node) forgeOffers(to *node, origin kcptransport.PeerID, many int, via ...*node) {
	n.w.t.Helper()
	p, err := n.peer(to.ID())
	if err != nil {
		n.w.t.Fatal(err)
	}
	for range many {
		s, err := p.open(n.w.t.Context(), relaymesh.KindRelayed)
		if err != nil {
			n.w.t.Fatal(err)
		}
		body := slices.Concat([]byte{0x11, 1}, origin[:], []byte{0x80, 0, 0, 1}, make([]byte, 24), []byte{byte(len(via) + 1)})
		for _, r := range append(slices.Clip(via), n) { // in the order from the origin on
			id := r.ID()
			body = append(body, id[:]...)
		}
		if _, err := s.Write(relayFrame(body)); err != nil {
			n.w.t.Fatal(err)
		}
	}
}

// Circuits that hostile peers make up do not keep two peers from having real ones.
func TestForgedOffers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b, rs := w.relayed("symmetric", "symmetric", 2)
		for range 3 {
			m := w.public(noMesh)
			a.meet(m)
			b.meet(m)
			m.forgeOffers(a, b.ID(), 8, rs...)
			m.forgeOffers(b, a.ID(), 8, rs...)
		}
		time.Sleep(100 * time.Millisecond)
		if n := len(a.circuitsTo(b.ID())); n != maxAlleged {
			t.Errorf("%d circuits are kept on somebody's word", n)
		}
		if n := len(a.routesTo(b.ID(), 3)); n != len(rs) {
			t.Errorf("%d ways by relays are left", n)
		}
		time.Sleep(allegedGrace)
		a.join(b.ID().String())
		start := time.Now()
		if err := a.SendText(w.ctx(20*time.Second), "hello", b.ID()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 500*time.Millisecond {
			t.Errorf("sent after %v", took)
		}
		time.Sleep(3 * circuitProof)
		if n := len(a.trustedTo(b.ID())); n == 0 || n != len(a.circuitsTo(b.ID())) || n != len(b.circuitsTo(a.ID())) {
			t.Errorf("%d and %d circuits are kept, %d of them true", len(a.circuitsTo(b.ID())), len(b.circuitsTo(a.ID())), n)
		}
	})
}

// holeConn is the socket of a relay that agrees to everything and carries nothing.
type holeConn struct{ kcptransport.PacketConn }

func (c holeConn) WriteBatch(bufs [][]byte, addrs []netip.AddrPort) (int, error) {
	var kept [][]byte
	var to []netip.AddrPort
	for i, b := range bufs {
		if b[0]&^1 != 0xd0 {
			kept, to = append(kept, b), append(to, addrs[i])
		}
	}
	if len(kept) > 0 {
		if _, err := c.PacketConn.WriteBatch(kept, to); err != nil {
			return 0, err
		}
	}
	return len(bufs), nil
}

// Relays that carry nothing are left for one that does.
func TestRelaysThatCarryNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for range 3 {
			w.public(relays, func(c *Config) { c.Conn = holeConn{c.Conn} })
		}
		holes := slices.Clone(w.nodes)
		a, b, rs := w.relayed("symmetric", "symmetric", 1)
		for _, h := range holes {
			a.meet(h)
			b.meet(h)
		}
		time.Sleep(3 * time.Second)
		a.join(b.ID().String())
		start := time.Now()
		if err := a.SendText(w.ctx(20*time.Second), "hello", b.ID()); err != nil {
			t.Fatal(err)
		}
		t.Logf("sent after %v", time.Since(start))
		for range 30 {
			time.Sleep(time.Second)
			info, _ := a.PathTo(b.ID())
			if len(info.Via) != 1 || info.Via[0] != rs[0].ID() {
				t.Errorf("path is %+v", info)
			}
		}
	})
}

// Both sides ask for circuits at the same moment. A minute later there are no more than are wanted, by relays that differ.
func TestSurplusCircuits(t *testing.T) {
	for _, c := range []struct {
		nat  string
		want int
	}{{"port-restricted", 1}, {"symmetric", maxWarm}} {
		t.Run(c.nat, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				a, b, _ := w.relayed(c.nat, c.nat, 4)
				time.Sleep(5 * time.Second)
				var both sync.WaitGroup
				both.Go(func() { a.join(b.ID().String()) })
				both.Go(func() { b.join(a.ID().String()) })
				both.Wait()
				time.Sleep(2*surplusGrace + 10*time.Second)
				held := a.trustedTo(b.ID())
				if len(held) != c.want || len(b.trustedTo(a.ID())) != c.want {
					t.Fatalf("%d and %d circuits, want %d", len(held), len(b.trustedTo(a.ID())), c.want)
				}
				if c.want > 1 && held[0].wire.Via[0] == held[1].wire.Via[0] {
					t.Error("both by the same relay")
				}
				if err := a.SendText(w.ctx(100*time.Millisecond), "hello", b.ID()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Each of two peers sends by another of two circuits that are as good: what is acknowledged by the other one has arrived, so
// nobody doubts the way and sends everything twice.
func TestCircuitsInOppositeDirections(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.rows()
		var k ticker
		b.OnStream("tick", func(_ kcptransport.PeerID, s *kcptransport.Stream) { k.receive(s) })
		s, err := a.OpenStream(t.Context(), b.ID(), "tick")
		if err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		var sending sync.WaitGroup
		sending.Go(func() { k.send(t, s, stop) })
		time.Sleep(time.Second)
		counts := func(n *node, to kcptransport.PeerID) (used, spare uint64) {
			for _, p := range n.ep.Link(to).Paths() {
				if p.InUse {
					used = p.PacketsSent
				} else {
					spare += p.PacketsSent
				}
			}
			return used, spare
		}
		usedA, spareA := counts(a, b.ID())
		usedB, spareB := counts(b, a.ID())
		time.Sleep(10 * time.Second)
		nowA, laterA := counts(a, b.ID())
		nowB, laterB := counts(b, a.ID())
		close(stop)
		sending.Wait()
		if sent, twice := nowA-usedA+nowB-usedB, laterA-spareA+laterB-spareB; sent < 5000 || twice*50 > sent {
			t.Errorf("%d packets on the paths in use, %d on others", sent, twice)
		}
	})
}
