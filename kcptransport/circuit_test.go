package kcptransport

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

// testRelay swaps labels, for tests.
type testRelay struct {
	*node
	mu   sync.Mutex
	next uint32
	out  map[uint32]relayTarget
	seen int
	mark bool
}

type relayTarget struct {
	from, to Hop
	label    uint32
}

func (w *world) relay(n byte) *testRelay {
	r := &testRelay{out: map[uint32]relayTarget{}, next: uint32(n)<<8 | transitBit}
	r.node = w.node(n, func(c *Config) { c.Forwarder = r })
	return r
}

func (r *testRelay) Forward(packets [][]byte, from []netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, p := range packets {
		t, ok := r.out[binary.BigEndian.Uint32(p[1:])]
		if !ok || !t.from.From(from[i]) {
			continue
		}
		r.seen++
		binary.BigEndian.PutUint32(p[1:], t.label)
		if r.mark {
			p[0] = typeRelayedMarked
		}
		_, _ = r.WriteBatch([][]byte{p}, []netip.AddrPort{t.to.Addr()})
	}
}

// entry has packets of one neighbour go on to another and returns the label for them.
func (r *testRelay) entry(from, to *node, label uint32) uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	r.out[r.next] = relayTarget{from: r.Link(from.ID()).Hop(), to: r.Link(to.ID()).Hop(), label: label}
	return r.next
}

// circuit makes a circuit between a and b through relays to which neighbours have links.
func (w *world) circuit(a, b *node, relays ...*testRelay) (ca, cb *Circuit) {
	w.Helper()
	first, last := relays[0], relays[len(relays)-1]
	ca, err := a.NewCircuit(b.ID(), a.Link(first.ID()))
	if err != nil {
		w.Fatal(err)
	}
	cb, err = b.NewCircuit(a.ID(), b.Link(last.ID()))
	if err != nil {
		w.Fatal(err)
	}
	nodes := []*node{a}
	var ids []PeerID
	for _, r := range relays {
		nodes, ids = append(nodes, r.node), append(ids, r.ID())
	}
	nodes = append(nodes, b)
	there, back := cb.Label(), ca.Label()
	for i := len(relays) - 1; i >= 0; i-- {
		there = relays[i].entry(nodes[i], nodes[i+2], there)
	}
	for i, r := range relays {
		back = r.entry(nodes[i+2], nodes[i], back)
	}
	ca.Open(there, 0, ids)
	reversed := slices.Clone(ids)
	slices.Reverse(reversed)
	cb.Open(back, 0, reversed)
	return ca, cb
}

// relayed gives two nodes that have no direct path, with a link over a circuit.
func (w *world) relayed(n int) (a, b *node, l, m *Link, relays []*testRelay, ca, cb *Circuit) {
	w.Helper()
	a, b = w.node(1), w.node(2)
	prev := a
	for i := range n {
		r := w.relay(byte(10 + i))
		prev.dial(r.node)
		r.accept()
		relays, prev = append(relays, r), r.node
	}
	prev.dial(b)
	b.accept()
	w.sleep(time.Second) // until every hop knows where its neighbours are
	ca, cb = w.circuit(a, b, relays...)
	l, err := a.Dial(w.ctx, Dial{Peer: b.ID(), Signal: w.couriers(a, b, 20*time.Millisecond)})
	if err != nil {
		w.Fatal(err)
	}
	return a, b, l, b.accept(), relays, ca, cb
}

// Two nodes talk by way of relays alone, as soon as the handshake is done, at any number of hops, whole and in order.
func TestCircuit(t *testing.T) {
	for n := 1; n <= 4; n++ {
		inWorld(t, 40*time.Millisecond, func(w *world) {
			_, _, l, m, relays, ca, _ := w.relayed(n)
			info, ok := l.Path()
			if !ok || info.Path != ca.Path() || len(info.Via) != n || info.Via[0] != relays[0].ID() {
				w.Fatalf("path is %+v, want %v", info, ca.Path())
			}
			w.serveEcho(m)
			w.wantEcho(l)
			if rtt := l.Paths()[0].RTT; rtt.Round(time.Millisecond) != time.Duration(n+1)*40*time.Millisecond {
				w.Errorf("%d relays: round trip %v", n, rtt)
			}
			if o := l.ObservedAddr(); o.IsValid() {
				w.Errorf("the peer sees us at %v, which can only be a relay", o)
			}
			w.startTransfer(m, l, 4<<20).wait()
			if relays[0].seen < 3000 {
				w.Errorf("%d packets went by the relay", relays[0].seen)
			}
		})
	}
}

// As soon as a direct path is proven it takes over from the circuit, which is kept at no cost: while the link is idle, nothing
// goes through the relay.
func TestCircuitUpgrade(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		a, b, l, m, relays, ca, _ := w.relayed(1)
		tr := w.startTransfer(l, m, 4<<20)
		w.sleep(200 * time.Millisecond)
		l.Probe(Path{Addr: b.addr()}, 0)
		w.wantPath(l, b.addr(), 100*time.Millisecond)
		w.wantPath(m, a.addr(), 100*time.Millisecond)
		tr.wait()
		w.sleep(time.Minute)
		seen := relays[0].seen
		w.sleep(time.Hour)
		if n := relays[0].seen - seen; n != 0 {
			w.Errorf("%d packets went by the relay in an idle hour", n)
		}
		if paths := l.Paths(); len(paths) != 2 || paths[1].Path != ca.Path() || paths[1].State != PathValidated {
			w.Errorf("paths are %+v", paths)
		}
	})
}

// directAndSpare gives a link with a direct path and circuits beside it, each by way of a relay of its own.
func (w *world) directAndSpare() (a, b *node, l, m *Link) {
	w.Helper()
	a, b, l, m, _, _, _ = w.relayed(1)
	l.Probe(Path{Addr: b.addr()}, 0)
	w.wantPath(l, b.addr(), 200*time.Millisecond)
	w.wantPath(m, a.addr(), 200*time.Millisecond)
	return a, b, l, m
}

// The direct path is cut in the middle of a transfer, both ways or one way: the circuit takes over at once, and nothing goes
// back and forth. When it works again it takes over, but not before it has done so for a while.
func TestCircuitTakesOver(t *testing.T) {
	for _, test := range []struct {
		name        string
		there, back bool // what is cut
	}{
		{"both ways", true, true},
		{"one way, with the data", true, false},
		{"one way, against the data", false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			for seed := range uint64(1) {
				const rtt = 40 * time.Millisecond
				inSeededWorld(t, seed, rtt, func(w *world) {
					w.link = netsim.Link{Delay: rtt / 4, Rate: 20_000_000}
					a, b, l, m := w.directAndSpare()
					var changes pathLog
					tr := w.startTransfer(l, m, 32<<20)
					w.sleep(time.Second + time.Duration(seed)*7*time.Millisecond)
					l.OnPath(changes.add)
					m.OnPath(changes.add)
					cut := time.Now()
					if test.there {
						w.net.PartitionOneWay(a.host, b.host)
					}
					if test.back {
						w.net.PartitionOneWay(b.host, a.host)
					}
					w.sleep(30 * time.Second)
					n := changes.len()
					w.net.Heal(a.host, b.host)
					tr.wait()
					gap := tr.gap(cut)
					w.Logf("seed %d: gap %v, %v for 32 MiB, %d changes", seed, gap, tr.took, n)
					if bar := max(3*rtt, 150*time.Millisecond); gap > bar {
						w.Errorf("nothing came for %v, want at most %v", gap, bar)
					}
					if n > 4 { // what was there, and one of each side
						w.Errorf("%d changes in 30 s: %v", n, changes.list)
					}
				})
			}
		})
	}
}

// The relay of the circuit in use vanishes: the other one, which shares no relay with it, takes over.
func TestRelayVanishes(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		w.link = netsim.Link{Delay: 5 * time.Millisecond, Rate: 20_000_000}
		a, b, l, m, relays, _, _ := w.relayed(3)
		other := w.relay(20)
		for _, n := range []*node{a, b} {
			n.dial(other.node)
			other.accept()
		}
		w.sleep(time.Second)
		w.circuit(a, b, other)
		w.sleep(time.Second)
		if info, _ := l.Path(); len(info.Via) != 1 {
			w.Logf("in use: %v by way of %d", info.Path, len(info.Via))
		}
		tr := w.startTransfer(l, m, 8<<20)
		w.sleep(time.Second)
		info, _ := l.Path()
		gone := other
		if len(info.Via) == 3 {
			gone = relays[1]
		}
		cut := time.Now()
		gone.vanish()
		tr.wait()
		gap := tr.gap(cut)
		w.Logf("gap %v, round trip was %v", gap, info.RTT)
		if gap > 300*time.Millisecond {
			w.Errorf("nothing came for %v", gap)
		}
	})
}

// The link goes over to a direct path that carries none of our data, though it did a moment ago. Acknowledgements of what left by the
// circuit go on to come for a round trip of that, and do not keep the link from noticing.
func TestOldAcksTellNothingOfNewPath(t *testing.T) {
	const rtt = 40 * time.Millisecond
	inWorld(t, rtt, func(w *world) {
		w.link = netsim.Link{Delay: rtt / 4, Rate: 20_000_000}
		a, b, l, m, _, _, _ := w.relayed(4) // which is five times as long
		tr := w.startTransfer(l, m, 8<<20)
		w.sleep(time.Second)
		var changed, back time.Time
		l.OnPath(func(i PathInfo) {
			switch {
			case i.Path.Direct() && changed.IsZero():
				changed = time.Now()
				w.net.PartitionOneWay(a.host, b.host)
			case !i.Path.Direct() && !changed.IsZero() && back.IsZero():
				back = time.Now()
			}
		})
		l.Probe(Path{Addr: b.addr()}, 0)
		w.sleep(5 * time.Second)
		w.net.Heal(a.host, b.host)
		tr.wait()
		left := back.Sub(changed)
		w.Logf("left after %v, gap %v", left, tr.gap(changed))
		if bar := 5*rtt + 4*rtt; left > bar { // what is in flight on the circuit holds new data back, which then is missed
			w.Errorf("left after %v, want at most %v", left, bar)
		}
	})
}
