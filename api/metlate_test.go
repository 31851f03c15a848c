package api

import (
	"testing"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// Both sides give a link up while they look for each other, and meet a moment later: what comes of that is a new link, and they make use of
// it.
func TestMetAfterLinkWasGivenUp(t *testing.T) {
	made := false
	for wait := 29700 * time.Millisecond; wait < 30200*time.Millisecond; wait += 50 * time.Millisecond {
		inWorld(t, func(t *testing.T, w *world) {
			alone := func(c *Config) { c.Relay, c.MaxPeers = RelayOff, -1 }
			a, b, r := w.public(alone), w.public(alone), w.public(alone)
			a.meet(r)
			b.meet(r)
			a.join(b.ID().String())
			time.Sleep(20 * time.Second)
			old := [2]*kcptransport.Link{a.ep.Link(b.ID()), b.ep.Link(a.ID())}
			for _, pair := range [][2]*node{{a, b}, {a, r}, {b, r}} {
				w.net.Partition(pair[0].host, pair[1].host)
			}
			go func() { _ = a.SendText(w.ctx(time.Second), "anybody there?", b.ID()) }()
			go func() { _ = b.SendText(w.ctx(time.Second), "anybody there?", a.ID()) }()
			time.Sleep(wait)
			w.net.Heal(a.host, r.host)
			w.net.Heal(b.host, r.host)
			time.Sleep(5 * time.Second)
			w.net.Heal(a.host, b.host)
			time.Sleep(time.Second)
			for i, link := range []*kcptransport.Link{a.ep.Link(b.ID()), b.ep.Link(a.ID())} {
				made = made || link != nil && link != old[i]
				if link != nil && []*node{a, b}[i].peerOf(link) == nil {
					t.Errorf("after %v: side %d has a link that it knows nothing of", wait, i)
				}
			}
		})
	}
	if !made {
		t.Error("no link was made")
	}
}
