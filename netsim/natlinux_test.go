package netsim

import (
	"testing"
	"time"
)

// Two hosts behind a Linux router use one port, as long as they talk to different
// places; at the same place one of them is seen with another port.
func TestLinuxKeepsPortsOfAll(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h1, _ := w.behind("a", "1.0.0.1", Presets["linux"])
		h2 := w.NewHost("a2", h1.port.segment, Link{}, addr("192.168.1.3"))
		a1, a2 := w.listen(h1, 5000), w.listen(h2, 5000)
		s1, s2 := w.listen(w.public("s1", "2.0.0.1", Link{}), 1), w.listen(w.public("s2", "2.0.0.2", Link{}), 1)
		w.send(a1, "2.0.0.1:1", "x")
		w.send(a2, "2.0.0.2:1", "y")
		for _, got := range []string{w.wantPacket(s1, "x").String(), w.wantPacket(s2, "y").String()} {
			if got != "1.0.0.1:5000" {
				t.Errorf("seen as %s", got)
			}
		}
		w.send(s1, "1.0.0.1:5000", "for 1")
		w.wantPacket(a1, "for 1")
		w.send(s2, "1.0.0.1:5000", "for 2")
		w.wantPacket(a2, "for 2")
		w.send(a2, "2.0.0.1:1", "z")
		if got := w.wantPacket(s1, "z"); got.Port() == 5000 {
			t.Errorf("seen as %s, which somebody else has there", got)
		}
	})
}

// Measured on real routers: a packet that comes before the first one from inside
// takes the port towards its source, unless a rule drops it, for 30 s after the
// last one. Towards everybody else the port is kept.
func TestEarlyPacketTakesThePort(t *testing.T) {
	for _, tt := range []struct {
		nat   string
		pause time.Duration
		moves bool
	}{
		{"linux", 0, false},
		{"linux-no-drop", 0, true},
		{"linux-no-drop", 29 * time.Second, true},
		{"linux-no-drop", 31 * time.Second, false},
	} {
		inBubble(t, func(t *testing.T, w *world) {
			h, _ := w.behind("a", "1.0.0.1", Presets[tt.nat])
			a := w.listen(h, 5000)
			early, other := w.listen(w.public("early", "2.0.0.1", Link{}), 1), w.listen(w.public("other", "2.0.0.2", Link{}), 1)
			w.send(early, "1.0.0.1:5000", "too early")
			time.Sleep(20 * time.Second)
			w.send(early, "1.0.0.1:5000", "still too early")
			time.Sleep(tt.pause)
			w.send(a, "2.0.0.1:1", "x")
			seen := w.wantPacket(early, "x")
			if moved := seen.Port() != 5000; moved != tt.moves {
				t.Errorf("%s, %v later: seen as %v", tt.nat, tt.pause, seen)
			}
			w.send(early, seen.String(), "answer")
			w.wantPacket(a, "answer")
			w.send(a, "2.0.0.2:1", "y")
			if seen := w.wantPacket(other, "y"); seen.Port() != 5000 {
				t.Errorf("%s: seen by another one as %v", tt.nat, seen)
			}
			w.wantDrops(DropNoMapping, 2)
		})
	}
}
