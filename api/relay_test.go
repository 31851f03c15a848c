package api

import (
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/netsim"
	"github.com/2xppg/xppg/relaymesh"
)

func relays(c *Config) { c.Relay, c.MaxPeers = RelayOn, -1 }

// relayed starts two nodes behind NATs, by their presets, that have a link to each of some relays, with which something is done before.
func (w *world) relayed(natA, natB string, n int, prepare ...func(relay *node)) (a, b *node, rs []*node) {
	w.t.Helper()
	for range n {
		r := w.public(relays)
		for _, p := range prepare {
			p(r)
		}
		rs = append(rs, r)
	}
	a, b = w.behind(netsim.Presets[natA], noMesh), w.behind(netsim.Presets[natB], noMesh)
	for _, r := range rs {
		a.meet(r)
		b.meet(r)
	}
	time.Sleep(3 * time.Second) // the relays' records are known by then
	return a, b, rs
}

// direct waits until the path from a to b is direct, for a second at most.
func (w *world) direct(a, b *node) {
	w.t.Helper()
	w.eventually("the path is direct", time.Second, func() bool { x, _ := a.PathTo(b.ID()); return x.Direct })
}

func (n *node) pathsTo(o *node) (names []string) {
	n.seenMu.Lock()
	defer n.seenMu.Unlock()
	for _, e := range n.events {
		if e.Peer == o.ID() && e.Path != "" {
			names = append(names, e.Path)
		}
	}
	return names
}

// Two peers whose NATs let nothing through talk by way of a relay, as soon as the handshake is done.
func TestRelayedForGood(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b, rs := w.relayed("symmetric", "symmetric", 1)
		start := time.Now()
		a.join(b.ID().String())
		joined := time.Since(start)
		if err := a.SendText(w.ctx(5*time.Second), "hello", b.ID()); err != nil {
			t.Fatal(err)
		}
		info, _ := a.PathTo(b.ID())
		if info.Path != "relay" || len(info.Via) != 1 || info.Via[0] != rs[0].ID() {
			t.Errorf("path is %+v", info)
		}
		rtt := info.RTT
		t.Logf("joined in %v, sent in %v; the relayed round trip is %v", joined, time.Since(start), rtt)
		if took := time.Since(start); took > 5*rtt/2+10*time.Millisecond {
			t.Errorf("the first message took %v to be acknowledged", took)
		}
		time.Sleep(time.Hour)
		if err := b.SendText(w.ctx(5*time.Second), "still here", a.ID()); err != nil {
			t.Fatal(err)
		}
		if len(b.texts()) != 1 || len(a.texts()) != 1 {
			t.Errorf("messages %q and %q", a.texts(), b.texts())
		}
	})
}

// Where hole punching works it is done while the relay carries the first data, and takes over.
func TestRelayThenDirect(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b, _ := w.relayed("port-restricted", "port-restricted", 1)
		a.join(b.ID().String())
		w.eventually("the path is direct on both sides", time.Second, func() bool {
			x, _ := a.PathTo(b.ID())
			y, _ := b.PathTo(a.ID())
			return x.Direct && y.Direct
		})
		if got := a.pathsTo(b); len(got) != 2 || got[0] != "relay" || got[1] != "direct" {
			t.Errorf("paths were %v", got)
		}
		if n := len(a.circuitsTo(b.ID())); n < 1 {
			t.Errorf("%d circuits are kept", n)
		}
	})
}

// The direct path is cut: the circuit takes over, another one is prepared, and when its relay dies that one takes over. When the
// direct path works again, it is used again.
func TestAlwaysAPath(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b, rs := w.relayed("port-restricted", "port-restricted", 2)
		a.join(b.ID().String())
		w.direct(a, b)
		time.Sleep(2 * time.Second)
		send := func(text string, limit time.Duration) {
			t.Helper()
			start := time.Now()
			if err := a.SendText(w.ctx(10*time.Second), text, b.ID()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took > limit {
				t.Errorf("%s: took %v", text, took)
			}
		}
		send("direct", 100*time.Millisecond)
		w.net.Partition(a.host, b.host)
		send("relayed", 400*time.Millisecond)
		time.Sleep(3 * time.Second)
		if n := len(a.circuitsTo(b.ID())); n < 2 {
			t.Fatalf("%d circuits are kept", n)
		}
		info, _ := a.PathTo(b.ID())
		for _, r := range rs {
			if info.Via[0] == r.ID() {
				r.host.SetAddrs()
			}
		}
		send("relayed by the other one", 700*time.Millisecond)
		w.net.Heal(a.host, b.host)
		w.eventually("the path is direct again", 5*time.Minute, func() bool { x, _ := a.PathTo(b.ID()); return x.Direct })
		if got := b.texts(); len(got) != 3 {
			t.Errorf("b got %q", got)
		}
	})
}

// A relay may die a moment after it was found, when what others relay has just become known.
func TestRelayDiesEarly(t *testing.T) {
	for after := 200 * time.Millisecond; after < 2*time.Second; after *= 2 {
		t.Run(after.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				relayed := map[kcptransport.PeerID]*node{}
				a, b := w.behind(netsim.Presets["symmetric"]), w.behind(netsim.Presets["symmetric"])
				for range 2 {
					r := w.public(relays)
					relayed[r.ID()] = r
					a.meet(r)
					b.meet(r)
				}
				a.join(b.ID().String())
				time.Sleep(after)
				info, _ := a.PathTo(b.ID())
				if len(info.Via) != 1 {
					t.Fatalf("path is %+v", info)
				}
				relayed[info.Via[0]].host.SetAddrs()
				if err := a.SendText(w.ctx(2*time.Second), "hello", b.ID()); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// What is to be done soonest is done then, also when nothing else waits.
func TestSoonest(t *testing.T) {
	for _, tt := range []struct{ a, b, want time.Duration }{{0, 0, 0}, {1, 0, 1}, {0, 1, 1}, {1, 2, 1}, {2, 1, 1}} {
		if got := soonest(tt.a, tt.b); got != tt.want {
			t.Errorf("soonest(%d, %d) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

// Two peers that have no relay in common are connected through a row of relays.
func TestRelayedByTwo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r1, r2 := w.public(relays), w.public(relays)
		r1.meet(r2)
		a, b := w.behind(netsim.Presets["symmetric"], noMesh), w.behind(netsim.Presets["symmetric"], noMesh)
		a.meet(r1)
		b.meet(r2)
		time.Sleep(3 * time.Second)
		a.join(b.ID().String())
		info, _ := a.PathTo(b.ID())
		if len(info.Via) != 2 || info.Via[0] != r1.ID() || info.Via[1] != r2.ID() {
			t.Fatalf("path is %+v", info)
		}
		if err := a.SendText(w.ctx(5*time.Second), "hello", b.ID()); err != nil {
			t.Fatal(err)
		}
		if info, _ := b.PathTo(a.ID()); len(info.Via) != 2 || info.Via[0] != r2.ID() {
			t.Errorf("b's path is %+v", info)
		}
	})
}

// Two peers have many neighbours in common, of which one relays: it is found at once.
func TestRelayedInACrowd(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		last := byte(1) // who has the largest ID, so that nobody finds it by looking at the first few
		for i := byte(2); i <= 3*maxIntroducers; i++ {
			if testIdentity(i).ID().Compare(testIdentity(last).ID()) > 0 {
				last = i
			}
		}
		var crowd []*node
		for i := byte(1); i <= 3*maxIntroducers; i++ {
			mode := noMesh
			if i == last {
				mode = relays
			}
			crowd = append(crowd, w.public(mode))
		}
		a, b := w.behind(netsim.Presets["symmetric"], noMesh), w.behind(netsim.Presets["symmetric"], noMesh)
		for _, n := range crowd {
			a.meet(n)
			b.meet(n)
		}
		time.Sleep(3 * time.Second)
		if _, err := a.Join(w.ctx(200*time.Millisecond), b.ID().String()); err != nil {
			t.Fatal(err)
		}
		if info, _ := a.PathTo(b.ID()); !slices.Equal(info.Via, []kcptransport.PeerID{crowd[last-1].ID()}) {
			t.Errorf("path is %+v", info)
		}
	})
}

// A node in automatic mode relays once somebody from outside has reached it by itself.
func TestRelayAuto(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		auto := func(c *Config) { c.Relay, c.MaxPeers = RelayAuto, -1 }
		r, h := w.public(auto), w.behind(netsim.Presets["full-cone"], auto)
		a := w.behind(netsim.Presets["symmetric"], noMesh)
		if r.Relaying() {
			t.Error("it relays although nobody has reached it")
		}
		a.meet(r)
		h.meet(r)
		if !r.Relaying() || h.Relaying() {
			t.Errorf("relaying: %v, and the one that called: %v", r.Relaying(), h.Relaying())
		}
	})
}

// Records of peers that name each other as their relays do not have a node look for one by way of the other for ever.
func TestRecordsInACircle(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.public(noMesh)
		before := runtime.NumGoroutine()
		ids := []*kcptransport.Identity{testIdentity(101), testIdentity(102), testIdentity(103)}
		for i, id := range ids {
			own := ownRecord{addrs: []netip.AddrPort{netip.MustParseAddrPort("20.9.9.9:7337")}, relay: true}
			for j, o := range ids {
				if j != i {
					own.relays = append(own.relays, relaymesh.RelayLink{Relay: o.ID()})
				}
			}
			own.relay = i > 0
			info, err := makeRecord(id, "test", time.Now(), own, false).check("test", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			n.mu.Lock()
			n.book.put(info, time.Now())
			n.mu.Unlock()
		}
		time.AfterFunc(time.Second, func() {
			if more := runtime.NumGoroutine() - before; more > 50 {
				t.Errorf("%d more goroutines", more)
			}
		})
		start := time.Now()
		if _, err := n.Join(w.ctx(2*time.Second), ids[0].ID().String()); err == nil {
			t.Error("it joined a peer that is not there")
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("Join returned after %v", took)
		}
	})
}
