package api

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

func TestWithoutMapped(t *testing.T) {
	for _, tt := range []struct{ addrs, want []string }{
		{[]string{"203.0.113.9:7"}, []string{"203.0.113.9:7"}},
		{[]string{"192.168.1.2:7", "203.0.113.9:7"}, []string{"192.168.1.2:7"}},
		{[]string{"100.64.0.7:7", "203.0.113.9:7"}, []string{"100.64.0.7:7"}}, // of a carrier
		{[]string{"10.0.0.2:7", "100.64.0.7:7", "203.0.113.9:7", "[2001:db8::2]:7"}, []string{"10.0.0.2:7", "100.64.0.7:7", "[2001:db8::2]:7"}},
		{[]string{"[fd00::2]:7", "203.0.113.9:7"}, []string{"[fd00::2]:7", "203.0.113.9:7"}}, // not the NAT's business
	} {
		if got := withoutMapped(parseAddrs(tt.addrs...)); fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%v: kept %v, want %v", tt.addrs, got, tt.want)
		}
	}
}

func parseAddrs(list ...string) (out []netip.AddrPort) {
	for _, a := range list {
		out = append(out, netip.MustParseAddrPort(a))
	}
	return out
}

// A ticket names an introducer that is gone. What looks like the outside of a NAT is tried all the same, as soon as
// the patience with introducers is over.
func TestJoinWithoutTheIntroducer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.public(noMesh), w.public(noMesh)
		ticket := Ticket{
			Contact: Contact{Peer: b.ID(), Addrs: parseAddrs("192.168.77.7:7337", b.addr)},
			Via:     []Contact{{Peer: testIdentity(99).ID(), Addrs: parseAddrs("20.9.9.9:7337")}},
		}
		start := time.Now()
		if id := a.join(ticket.String()); id != b.ID() {
			t.Errorf("joined %s", id)
		}
		if took := time.Since(start); took < mappedPatience || took > mappedPatience+100*time.Millisecond {
			t.Errorf("joined after %v, want little more than %v", took, mappedPatience)
		}
	})
}

// Of several introducers one is gone without a word, one does not know the peer, and one works: that is enough, at once,
// and one link comes of it.
func TestSeveralIntroducers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		dead, ignorant, good := w.public(noMesh), w.public(noMesh), w.public(noMesh)
		a, b := w.behind(netsim.Presets["port-restricted"], noMesh), w.behind(netsim.Presets["port-restricted"], noMesh)
		for _, r := range []*node{dead, ignorant, good} {
			a.meet(r)
		}
		b.meet(dead)
		b.meet(good)
		dead.host.Pause()
		began := time.Now()
		a.join(b.ID().String())
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		if err := b.SendText(w.ctx(time.Second), "hello", a.ID()); err != nil {
			t.Error(err)
		}
		time.Sleep(40 * time.Second) // longer than any introduction lasts
		for _, r := range []*node{ignorant, good} {
			if s := r.intro.Stats(); s.Active != 0 {
				t.Errorf("%d introductions are left", s.Active)
			}
		}
		n := 0
		a.seenMu.Lock()
		defer a.seenMu.Unlock()
		for _, e := range a.events {
			if e.Type == EventPeer && e.Peer == b.ID() {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d events about the peer, want that it is connected", n)
		}
		dead.host.Resume()
	})
}

// Whom the configuration says to join is joined anew when it comes back, though it knows nobody then. So is, by its ID, whoever
// told where it is.
func TestJoinAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.public(noMesh)
		a := w.public(noMesh, func(c *Config) { c.Join = []string{r.addr} })
		b := w.public(noMesh)
		b.meet(r)
		b.meet(a)
		connected := func() bool { _, ok := a.PathTo(r.ID()); return ok }
		w.eventually("a has joined", 2*time.Second, connected)
		for range 2 {
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
			r.run()
			w.eventually("a has joined again", joinRetryMost+time.Second, connected)
		}
		if _, err := b.Join(w.ctx(time.Second), r.ID().String()); err != nil {
			t.Error(err)
		}
	})
}
