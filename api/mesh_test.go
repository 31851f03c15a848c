package api

import (
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

// punches counts how often n punches to a peer within d, and when.
func (n *node) punches(to *node, d time.Duration) (at []time.Duration) {
	began, last := time.Now(), time.Time{}
	for time.Since(began) < d {
		if r, ok := n.Explain(to.ID()); ok && r.Started.After(last) && !r.Running {
			last = r.Started
			at = append(at, last.Sub(began))
		}
		time.Sleep(time.Second)
	}
	return at
}

// Two nodes that cannot reach each other try again after growing pauses, and at once when one of them is in another
// network, which is one where it works.
func TestRetries(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.public()
		a, b := w.behind(netsim.Presets["symmetric"]), w.behind(netsim.Presets["symmetric"])
		a.join(r.addr)
		b.join(r.addr)
		at := a.punches(b, 30*time.Minute)
		if len(at) < 5 || len(at) > 9 {
			t.Fatalf("punched %d times in half an hour: %v", len(at), at)
		}
		for i := 3; i < len(at); i++ {
			if pause, before := at[i]-at[i-1], at[i-1]-at[i-2]; pause < before && pause < contactMost/2 {
				t.Errorf("the pauses do not grow: %v", at)
			}
		}
		t.Logf("punched at %v", at)
		if len(a.Peers()) != 1 {
			t.Fatalf("%d peers, want the public one", len(a.Peers()))
		}
		b.moveBehind("20.0.9.1", "full-cone")
		w.eventually("they have found each other", 4*time.Second, func() bool { return len(a.Peers()) == 2 && len(b.Peers()) == 2 })
	})
}

// The first retry comes after a Linux router has forgotten what took our port, whatever chance says.
func TestFirstRetryIsLateEnough(t *testing.T) {
	now := time.Now()
	for _, random := range []uint64{0, 1 << 40, 1<<64 - 1} {
		c := &contactState{}
		if c.failed(now, random); c.next.Sub(now) < 40*time.Second {
			t.Errorf("tried again after %v", c.next.Sub(now))
		}
	}
}

// Who hears that a peer is elsewhere now tries again soon, but a peer that says so all the time is not tried all the time.
func TestContactMoved(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.public(noMesh)
		id, now := testIdentity(99).ID(), time.Now()
		c := &contactState{fails: 5, tried: now.Add(-time.Minute), next: now.Add(time.Hour)}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.contacts[id] = c
		a.contactMoved(id, now)
		if c.fails != 0 || !c.next.Equal(now) {
			t.Errorf("not tried at once: %+v", c)
		}
		c.tried = now.Add(-10 * time.Second)
		a.contactMoved(id, now)
		if want := now.Add(contactFirst - 10*time.Second); !c.next.Equal(want) {
			t.Errorf("tried in %v, want %v", c.next.Sub(now), want.Sub(now))
		}
		c.trying, c.next = true, time.Time{}
		a.contactMoved(id, now)
		if !c.next.IsZero() {
			t.Error("a try that is under way was forgotten")
		}
	})
}
