package netsim

import (
	"testing"
	"time"
)

// Whom the popular names let in, and whether they show one address to all.
func TestPresets(t *testing.T) {
	for name, want := range map[string]struct{ unasked, anybody, samePeer, oneAddress bool }{
		"open":               {unasked: true, anybody: true, samePeer: true, oneAddress: true},
		"firewall":           {oneAddress: true},
		"full-cone":          {anybody: true, samePeer: true, oneAddress: true},
		"full-cone-hairpin":  {anybody: true, samePeer: true, oneAddress: true},
		"address-restricted": {samePeer: true, oneAddress: true},
		"port-restricted":    {oneAddress: true},
		"symmetric":          {},
		"symmetric-step":     {},
		"cgnat":              {oneAddress: true},
		"cgnat-block":        {oneAddress: true},
		"linux":              {oneAddress: true},
		"linux-no-drop":      {}, // as the stranger sends first
		"linux-random":       {},
	} {
		if _, ok := Presets[name]; !ok {
			t.Fatalf("there is no preset %q", name)
		}
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				home := w.NewSegment("home")
				w.router("r", w.Internet(), "1.0.0.1", home, Presets[name])
				a := w.listen(w.NewHost("a", home, Link{}, addr("3.0.0.1")), 5000)
				s1 := w.public("s1", "2.0.0.1", Link{})
				same, other := w.listen(s1, 1), w.listen(s1, 2)
				stranger := w.listen(w.public("s2", "2.0.0.2", Link{}), 1)
				lets := func(c *Conn, to string) bool {
					before := w.Stats().Delivered
					w.send(c, to, "in")
					if time.Sleep(time.Second); w.Stats().Delivered == before {
						return false
					}
					w.wantPacket(a, "in")
					return true
				}
				if got := lets(same, "3.0.0.1:5000"); got != want.unasked {
					t.Errorf("lets in what nobody asked for: %v", got)
				}
				w.send(a, "2.0.0.1:1", "out")
				seen := w.wantPacket(same, "out").String()
				if !lets(same, seen) {
					t.Error("keeps out the answer")
				}
				if got := lets(other, seen); got != want.samePeer {
					t.Errorf("lets in another port of the peer: %v", got)
				}
				if got := lets(stranger, seen); got != want.anybody {
					t.Errorf("lets in anybody: %v", got)
				}
				w.send(a, "2.0.0.2:1", "out")
				if got := w.wantPacket(stranger, "out").String() == seen; got != want.oneAddress {
					t.Errorf("shows one address to all: %v", got)
				}
			})
		})
	}
}
