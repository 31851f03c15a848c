package relaymesh

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/internal/seeded"
	"github.com/2xppg/xppg/kcptransport"
)

// chain is a row of peers, each linked to the next: the first wants a circuit to the last through those between.
type chain struct {
	t        *testing.T
	ctx      context.Context
	stop     context.CancelFunc
	wg       sync.WaitGroup
	ids      []kcptransport.PeerID
	relays   map[kcptransport.PeerID]*Relay
	switches map[netip.AddrPort]*Switch
	offers   chan Stream
	served   chan error
	arrived  map[netip.AddrPort][][]byte // at the two ends
}

// testNeighbor is a peer at a fixed address.
type testNeighbor kcptransport.PeerID

func (n testNeighbor) Peer() kcptransport.PeerID { return kcptransport.PeerID(n) }
func (n testNeighbor) Addr() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n[3]}), 7337)
}
func (n testNeighbor) From(a netip.AddrPort) bool { return a == n.Addr() }

// newChain makes a row of n relays between alice, who is peer 1, and the last peer.
func newChain(t *testing.T, n int, change func(*RelayConfig)) *chain {
	c := &chain{t: t, relays: map[kcptransport.PeerID]*Relay{}, switches: map[netip.AddrPort]*Switch{},
		offers: make(chan Stream, 10), served: make(chan error, 100), arrived: map[netip.AddrPort][][]byte{}}
	c.ctx, c.stop = context.WithCancel(context.Background())
	for i := range n + 2 {
		c.ids = append(c.ids, peerNumber(1+i))
	}
	for _, id := range c.ids[1 : n+1] {
		addr := testNeighbor(id).Addr()
		sw, err := NewSwitch(SwitchConfig{Rand: seeded.New([32]byte{id[3]}), Write: func(bufs [][]byte, addrs []netip.AddrPort) (int, error) {
			for i, b := range bufs {
				c.carry(b, addr, addrs[i])
			}
			return len(bufs), nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		c.switches[addr] = sw
		cfg := RelayConfig{ID: id, Switch: sw,
			Open: func(_ context.Context, peer kcptransport.PeerID, kind string) (Stream, error) {
				return c.open(id, peer, kind)
			},
			Neighbor: func(peer kcptransport.PeerID) (Neighbor, bool) {
				return testNeighbor(peer), slices.Contains(c.ids, peer)
			},
		}
		if change != nil {
			change(&cfg)
		}
		c.relays[id] = NewRelay(cfg)
	}
	return c
}

func (c *chain) close() {
	c.stop()
	c.wg.Wait()
}

// carry brings a packet to who is at an address.
func (c *chain) carry(b []byte, from, to netip.AddrPort) {
	b = slices.Clone(b)
	if s := c.switches[to]; s != nil {
		s.Forward([][]byte{b}, []netip.AddrPort{from})
		return
	}
	c.arrived[to] = append(c.arrived[to], b)
}

// open opens a stream from one peer to another.
func (c *chain) open(from, to kcptransport.PeerID, kind string) (Stream, error) {
	mine, theirs := pipe(kind, 64<<10)
	switch {
	case kind == KindRelayed && to == c.ids[len(c.ids)-1]:
		c.offers <- theirs
	case kind == KindCircuit && c.relays[to] != nil:
		c.wg.Go(func() { c.served <- c.relays[to].Serve(c.ctx, from, theirs) })
	case kind == KindReserve && c.relays[to] != nil:
		c.wg.Go(func() { c.served <- c.relays[to].ServeReserve(c.ctx, from, theirs) })
	default:
		return nil, ErrUnknownPeer
	}
	return mine, nil
}

func (c *chain) opener() Opener { return c.openerOf(c.ids[0]) }

// openerOf opens streams of any peer to the first relay.
func (c *chain) openerOf(peer kcptransport.PeerID) Opener {
	return OpenerFunc(func(_ context.Context, kind string) (Stream, error) { return c.open(peer, c.ids[1], kind) })
}

func (c *chain) target() kcptransport.PeerID { return c.ids[len(c.ids)-1] }

// circuit sets one up through all relays.
func (c *chain) circuit() (a, b *Circuit) {
	c.t.Helper()
	return c.circuitOf(c.ids[0])
}

// circuitOf sets one up for any peer.
func (c *chain) circuitOf(peer kcptransport.PeerID) (a, b *Circuit) {
	c.t.Helper()
	done := make(chan *Circuit)
	c.wg.Go(func() {
		<-time.After(10 * time.Millisecond)
		o, err := ReadOffer(<-c.offers)
		if err != nil {
			c.t.Error(err)
			close(done)
			return
		}
		b, err := o.Accept(22)
		if err != nil {
			c.t.Error(err)
		}
		done <- b
	})
	a, err := OpenCircuit(c.ctx, c.openerOf(peer), c.target(), 11, c.ids[2:len(c.ids)-1]...)
	if err != nil {
		c.t.Fatal(err)
	}
	return a, <-done
}

func packetFor(label uint32, text string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{typeRelayed}, label), text...)
}

// A circuit of any length carries packets both ways, tells each end its relays, and ends for all when one end closes it.
func TestCircuit(t *testing.T) {
	for n := 1; n <= MaxHops; n++ {
		synctest.Test(t, func(t *testing.T) {
			c := newChain(t, n, nil)
			defer c.close()
			a, b := c.circuit()
			if !slices.Equal(a.Via, c.ids[1:n+1]) || a.RTT != 10*time.Millisecond {
				t.Errorf("by way of %v in %v, want %v", a.Via, a.RTT, c.ids[1:n+1])
			}
			back := slices.Clone(b.Via)
			slices.Reverse(back)
			if b.Peer != c.ids[0] || !slices.Equal(back, a.Via) {
				t.Errorf("offered by %v by way of %v", b.Peer, b.Via)
			}
			first, last := testNeighbor(c.ids[0]).Addr(), testNeighbor(c.target()).Addr()
			c.carry(packetFor(a.Label, "there"), first, testNeighbor(c.ids[1]).Addr())
			c.carry(packetFor(b.Label, "back"), last, testNeighbor(c.ids[n]).Addr())
			if got := c.arrived[last]; len(got) != 1 || string(got[0]) != string(packetFor(22, "there")) {
				t.Errorf("arrived there: %q", got)
			}
			if got := c.arrived[first]; len(got) != 1 || string(got[0]) != string(packetFor(11, "back")) {
				t.Errorf("arrived back: %q", got)
			}
			c.carry(packetFor(a.Label, "forged"), last, testNeighbor(c.ids[1]).Addr())
			if s := c.switches[testNeighbor(c.ids[1]).Addr()].Stats(); s.Strange != 1 || s.Packets != 2 || s.Circuits != 1 {
				t.Errorf("stats of the first relay: %+v", s)
			}
			if n%2 == 0 {
				a.Close()
				if err := b.Wait(); err != nil {
					t.Errorf("b ended with %v", err)
				}
			} else {
				b.Close()
				if err := a.Wait(); err != nil {
					t.Errorf("a ended with %v", err)
				}
			}
			a.Close()
			b.Close()
			for range n {
				if err := <-c.served; err != nil {
					t.Errorf("a relay ended with %v", err)
				}
			}
			for _, s := range c.switches {
				if s.Stats().Circuits != 0 {
					t.Error("a circuit is left")
				}
			}
			for _, r := range c.relays {
				if s := r.Stats(); s.Circuits != 0 || s.Granted != 1 || len(r.quota.peers) != 0 {
					t.Errorf("stats %+v", s)
				}
			}
		})
	}
}

// What a relay or the target refuses is told to who asked, whichever hop it is.
func TestCircuitRefused(t *testing.T) {
	ask := func(c *chain, target kcptransport.PeerID, route ...kcptransport.PeerID) RefuseCode {
		_, err := OpenCircuit(c.ctx, c.opener(), target, 11, route...)
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Asked != AskedCircuit {
			c.t.Errorf("error %v", err)
			return 0
		}
		return refused.Code
	}
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, 2, func(cfg *RelayConfig) { cfg.Limits.Circuits = 1 })
		defer c.close()
		if got := ask(c, peerNumber(99), c.ids[2]); got != RefusedUnknown {
			t.Errorf("unknown target: %v", got)
		}
		if got := ask(c, c.target(), peerNumber(99)); got != RefusedUnknown {
			t.Errorf("unknown relay: %v", got)
		}
		for _, route := range [][]kcptransport.PeerID{{c.ids[1]}, {c.ids[0]}, {c.ids[2], c.ids[2]}, {c.target()}} {
			if got := ask(c, c.target(), route...); got != RefusedRequest {
				t.Errorf("route %v: %v", route, got)
			}
		}
		c.wg.Go(func() {
			o, err := ReadOffer(<-c.offers)
			if err != nil {
				t.Error(err)
				return
			}
			o.Refuse(RefusedByTarget)
		})
		if got := ask(c, c.target(), c.ids[2]); got != RefusedByTarget {
			t.Errorf("target that refuses: %v", got)
		}
		synctest.Wait()
		a, b := c.circuit()
		if a.Limits.Circuits != 1 || b.Limits.Circuits != 1 {
			t.Errorf("limits %+v and %+v were told", a.Limits, b.Limits)
		}
		if got := ask(c, c.target(), c.ids[2]); got != RefusedBusy {
			t.Errorf("second circuit: %v", got)
		}
		a.Close()
		b.Close()
	})
}

// A target that never answers holds a relay for the time of a set-up and no longer.
func TestCircuitTargetHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, 3, nil)
		defer c.close()
		start := time.Now()
		_, err := OpenCircuit(c.ctx, c.opener(), c.target(), 11, c.ids[2:4]...)
		if err == nil {
			t.Error("no error")
		}
		for range 3 {
			if err := <-c.served; err == nil {
				t.Error("a relay saw no error")
			}
		}
		if d := time.Since(start); d > setupTimeout+3*refuseTimeout {
			t.Errorf("took %v", d)
		}
		(<-c.offers).Close()
	})
}

// A relay in the middle that goes away ends the circuit on both sides; time that is up is told.
func TestCircuitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, 2, func(cfg *RelayConfig) {
			if cfg.ID == peerNumber(3) {
				cfg.Limits.Duration = time.Minute
			}
		})
		defer c.close()
		a, b := c.circuit()
		if a.Limits.Duration != time.Minute {
			t.Errorf("limits told: %+v", a.Limits)
		}
		start := time.Now()
		var refused *RefusedError
		if err := b.Wait(); !errors.As(err, &refused) || refused.Code != RefusedLimit || refused.Asked != AskedCircuit {
			t.Errorf("b ended with %v", err)
		}
		if err := a.Wait(); !errors.As(err, &refused) || refused.Code != RefusedLimit || refused.Asked != AskedCircuit {
			t.Errorf("a ended with %v", err)
		}
		if d := time.Since(start).Round(time.Second); d != time.Minute {
			t.Errorf("ended after %v", d)
		}
	})
}
