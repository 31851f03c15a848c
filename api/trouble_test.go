package api

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/netsim"
)

// move takes the node to another home, where its address and its NAT's are others.
func (n *node) move(outside string) { n.moveBehind(outside, "port-restricted") }

func (n *node) moveBehind(outside, nat string) {
	var home *netsim.Segment
	home, n.router = n.w.network(n.w.net.Internet(), outside, netsim.Presets[nat], netsim.Link{Hops: 2})
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
		a.seenMu.Lock()
		defer a.seenMu.Unlock()
		for _, e := range a.events {
			if e.Type == EventPeer && e.State == StateDisconnected {
				t.Errorf("%s was lost meanwhile: %v", e.Peer.Short(), e.Err)
			}
		}
	})
}

// The NAT of one side forgets everything in the middle of a conversation. Where it is a Linux router without a rule that
// drops unsolicited input, the other side's packets, or ours that are too early there, take the port that both hope
// for, as long as they come: only silence helps, and then the right order.
func TestMendAfterRouterForgets(t *testing.T) {
	for _, nat := range []string{"port-restricted", "cgnat", "linux", "linux-no-drop"} {
		for _, what := range []string{"forgets", "moves"} {
			t.Run(fmt.Sprint(what, " beside ", nat), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					a, b := w.introduced("linux-no-drop", nat)
					a.join(b.ID().String())
					texts := make(chan error, 2)
					began := time.Now()
					if what == "forgets" {
						a.router.Rebind()
					} else {
						a.moveBehind("20.0.9.1", "linux-no-drop")
					}
					go func() { texts <- b.SendText(w.ctx(time.Minute), "still here", a.ID()) }()
					time.Sleep(100 * time.Millisecond)
					go func() { texts <- a.SendText(w.ctx(time.Minute), "still here", b.ID()) }()
					for range cap(texts) {
						if err := <-texts; err != nil {
							t.Fatal(err)
						}
					}
					t.Logf("after %v", time.Since(began))
					if took := time.Since(began); took > mendTimeout+quietTime+3*time.Second {
						t.Errorf("it took %v", took)
					}
				})
			})
		}
	}
}

// A link that cannot be mended ends, and says why.
func TestMendGivesUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.introduced("port-restricted", "port-restricted")
		a.join(b.ID().String())
		a.moveBehind("20.0.9.1", "symmetric")
		b.moveBehind("20.0.9.2", "symmetric")
		err := a.SendText(w.ctx(10*time.Minute), "where are you?", b.ID())
		if err == nil || w.t.Context().Err() != nil {
			t.Fatalf("it was told that %v", err)
		}
		w.eventually("b knows that a is gone", time.Minute, func() bool { return len(b.Peers()) == 1 })
	})
}

// A link whose only circuits end again and again stays, also when it has none at the moment when hole punching is given up: its
// streams go on by the next one.
func TestOnlyCircuitsEnd(t *testing.T) {
	for seed := range uint64(4) {
		inWorld(t, func(t *testing.T, w *world) {
			w.link.Rate = 50_000_000
			a, b, _ := w.relayed("symmetric", "symmetric", 1)
			if err := talk(t.Context(), a, b); err != nil {
				t.Fatal(err)
			}
			links := [2]*kcptransport.Link{a.ep.Link(b.ID()), b.ep.Link(a.ID())}
			path, content := writeFile(t, 8<<20)
			shared, err := a.Share(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			dir, done := t.TempDir(), make(chan error, 1)
			go func() {
				_, err := b.Fetch(w.ctx(5*time.Minute), shared.Ticket.String(), dir, FetchOptions{})
				done <- err
			}()
			random := rand.New(rand.NewPCG(seed, 1))
			for range 400 {
				time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
				for _, c := range a.circuitsTo(b.ID()) {
					c.wire.Close()
				}
				if now := [2]*kcptransport.Link{a.ep.Link(b.ID()), b.ep.Link(a.ID())}; now != links {
					t.Fatalf("the links %v were replaced by %v: %v, %v", links, now, links[0].Err(), links[1].Err())
				}
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			wantFile(t, dir, content)
		})
	}
}
