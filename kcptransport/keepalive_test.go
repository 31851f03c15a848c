package kcptransport

import (
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

// perMinute counts what both ends of a link send in a time, in packets a minute.
func (w *world) perMinute(d time.Duration, ends ...*Link) float64 {
	sent := func() (n uint64) {
		for _, l := range ends {
			n += l.Stats().PacketsSent
		}
		return n
	}
	before := sent()
	w.sleep(d)
	return float64(sent()-before) / d.Minutes()
}

// An idle link runs at the shorter pause of its two ends, whichever end that is, and what is set while it runs counts from
// then on.
func TestSetKeepAlive(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		a, b, l, m := w.pair()
		for _, c := range []struct {
			a, b, pause time.Duration
		}{
			{0, 0, defaultKeepAlive},
			{100 * time.Second, 0, defaultKeepAlive},
			{0, 100 * time.Second, defaultKeepAlive},
			{100 * time.Second, 60 * time.Second, time.Minute},
			{60 * time.Second, 100 * time.Second, time.Minute},
			{100 * time.Second, 100 * time.Second, 100 * time.Second},
			{100 * time.Second, 18 * time.Second, 18 * time.Second},
			{18 * time.Second, 0, 18 * time.Second},
			{-1, 60 * time.Second, time.Minute},
		} {
			a.SetKeepAlive(c.a, 0)
			b.SetKeepAlive(c.b, 0)
			w.sleep(3 * time.Minute)
			got, want := w.perMinute(50*time.Minute, l, m), 2/c.pause.Minutes()
			if got < 0.95*want || got > 1.05*want+4/50. { // and new keys
				t.Errorf("%v and %v: %.2f packets a minute, want %.2f", c.a, c.b, got, want)
			}
		}
		if n := l.Stats().PathChanges + m.Stats().PathChanges; n != 2 || len(a.Links()) != 1 {
			t.Errorf("%d changes of paths, %d links", n, len(a.Links()))
		}
	})
}

// What is set again and again, as it was before, wakes no link.
func TestSetKeepAliveTheSame(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		a, _, l, _ := w.pair()
		shown := func() *PathInfo { // which is another one after each turn
			w.sleep(time.Second)
			l.mu.Lock()
			defer l.mu.Unlock()
			return &l.view.paths[0]
		}
		a.SetKeepAlive(100*time.Second, 100*time.Second)
		before := shown()
		a.SetKeepAlive(100*time.Second, 100*time.Second)
		if shown() != before {
			t.Error("the link was woken for nothing")
		}
		a.SetKeepAlive(100*time.Second, 0)
		if shown() == before {
			t.Error("the link was not told of the new pause")
		}
	})
}

// A peer that vanishes is noticed after the pause that was set, and DeadAfter.
func TestSetKeepAliveDeadPeer(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		a, b, l, _ := w.pair()
		a.SetKeepAlive(100*time.Second, 0)
		b.SetKeepAlive(100*time.Second, 0)
		w.sleep(time.Second)
		b.vanish()
		_ = w.wantEnd(l, 100*time.Second+defaultDeadAfter)
	})
}

// IPv6 has a pause of its own, and both count for paths beside the one in use.
func TestSetKeepAliveFamilies(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		a, _ := w.dual(1)
		b, six := w.dual(2)
		l := a.dial(b)
		m := b.accept()
		l.Probe(Path{Addr: six}, 0)
		w.sleep(time.Second)
		for _, n := range []*node{a, b} {
			n.SetKeepAlive(100*time.Second, 40*time.Second)
		}
		w.sleep(3 * time.Minute)
		sent := func() (out [2]uint64) {
			for _, info := range append(l.Paths(), m.Paths()...) {
				if info.Path.Addr.Addr().Is4() {
					out[0] += info.PacketsSent
				} else {
					out[1] += info.PacketsSent
				}
			}
			return out
		}
		before := sent()
		w.sleep(40 * time.Minute)
		after := sent()
		if four, six := after[0]-before[0], after[1]-before[1]; four < 46 || four > 50 || six < 118 || six > 124 {
			t.Errorf("%d packets by IPv4 and %d by IPv6, want 48 and 120", four, six)
		}
	})
}

// A pause that is too long for a NAT on the way is found out by the first path that fails, whoever set it and whichever side
// notices: from then on the mapping is held.
func TestKeepAliveTooLong(t *testing.T) {
	for _, filtering := range []netsim.Behaviour{netsim.EndpointIndependent, netsim.AddressAndPortDependent} {
		for _, calls := range []bool{false, true} {
			t.Run(filtering.String(), func(t *testing.T) {
				inWorld(t, 40*time.Millisecond, func(w *world) {
					nat := netsim.NAT{Filtering: filtering, Ports: netsim.RandomPorts, Timeout: time.Minute}
					b := w.node(2)
					a, _ := w.behindNAT(1, nat)
					l := a.dial(b)
					m := b.accept()
					w.serveEcho(l)
					for _, n := range []*node{a, b} {
						n.SetKeepAlive(100*time.Second, 0)
					}
					w.sleep(80 * time.Second)
					if calls { // into the void: there is no mapping any more
						_ = m.SendDatagram([]byte("anybody there?"))
					}
					w.sleep(time.Minute)
					before := m.Stats().PathChanges
					for range 20 {
						w.sleep(97 * time.Second)
						start := time.Now()
						w.wantEcho(m)
						if took := time.Since(start); took > 100*time.Millisecond {
							t.Errorf("an echo took %v", took)
						}
					}
					if n := m.Stats().PathChanges - before; n != 0 {
						t.Errorf("the path changed %d times more", n)
					}
					if n := w.perMinute(20*time.Minute, l, m); n < 4 || n > 4.3 {
						t.Errorf("%.2f packets a minute", n)
					}
					a.NetworkChanged()
					b.NetworkChanged()
					w.sleep(5 * time.Minute) // tried anew, and found out again
					if n := w.perMinute(20*time.Minute, l, m); n < 4 || n > 4.3 {
						t.Errorf("%.2f packets a minute after a change of network", n)
					}
				})
			})
		}
	}
}

// Loss is not taken for a NAT that forgets.
func TestKeepAliveWithLoss(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		w.link.Loss = 0.03
		a, b, l, m := w.pair()
		for _, n := range []*node{a, b} {
			n.SetKeepAlive(100*time.Second, 0)
		}
		w.sleep(time.Minute)
		if n := w.perMinute(10*time.Hour, l, m); n > 2 {
			t.Errorf("%.2f packets a minute", n)
		}
	})
}

// When a router forgets all its mappings, the first keepalive of any link shows it, and all peers are told where we are.
func TestRebindingShowsAll(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		a, router := w.behindNAT(1, netsim.NAT{Filtering: netsim.AddressAndPortDependent, Ports: netsim.RandomPorts})
		a.SetKeepAlive(100*time.Second, 0)
		var ends []*Link
		for i := range byte(10) {
			b := w.node(2 + i)
			b.SetKeepAlive(100*time.Second, 0)
			a.dial(b)
			ends = append(ends, b.accept())
			w.sleep(10 * time.Second)
		}
		w.sleep(10 * time.Minute)
		for range 2 {
			before, _ := ends[0].Path()
			router.Rebind()
			w.sleep(12 * time.Second)
			for i, m := range ends {
				if now, _ := m.Path(); now.Path == before.Path || now.State != PathValidated {
					t.Errorf("peer %d still has %v, %v", i, now.Path, now.State)
				}
			}
			w.sleep(10 * time.Minute)
		}
		w.sleep(4 * time.Hour) // perhaps the pauses were too long: that is tried again in the end
		if n := w.perMinute(time.Hour, ends...) / 10; n > 0.8 {
			t.Errorf("%.2f packets a minute from each peer", n)
		}
	})
}

// A peer that says each time that it sees us elsewhere has us show ourselves to the others now and then, and no more often.
func TestShowAllSeldom(t *testing.T) {
	inWorld(t, 40*time.Millisecond, func(w *world) {
		a, b, c := w.node(1), w.node(2), w.node(3)
		l := a.dial(b)
		a.dial(c)
		m := c.accept()
		w.sleep(time.Second)
		before := m.Stats().PacketsReceived
		for range 100 {
			a.showAll(time.Now(), l)
			w.sleep(100 * time.Millisecond)
		}
		if n := m.Stats().PacketsReceived - before; n != 1 {
			t.Errorf("%d packets to show where we are", n)
		}
	})
}
