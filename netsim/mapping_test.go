package netsim

import (
	"slices"
	"testing"
	"time"
)

func TestMappingTimeoutAndRebind(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h, r := w.behind("a", "1.0.0.1", NAT{Timeout: 30 * time.Second})
		a := w.listen(h, 5000)
		s := w.listen(w.public("s", "2.0.0.1", Link{}), 1)
		w.send(a, "2.0.0.1:1", "x")
		seen := w.wantPacket(s, "x")
		pass(29 * time.Second)
		w.send(s, seen.String(), "in time") // inbound packets refresh nothing
		w.wantPacket(a, "in time")
		pass(2 * time.Second)
		w.send(s, seen.String(), "too late")
		w.wantNothing(a)
		w.wantDrops(DropNoMapping, 1)
		w.send(a, "2.0.0.1:1", "y")
		if again := w.wantPacket(s, "y"); again != seen {
			t.Errorf("mapped to %v, then to %v: the port is free again", seen, again)
		}
		r.Rebind()
		w.send(a, "2.0.0.1:1", "z")
		if again := w.wantPacket(s, "z"); again == seen {
			t.Error("the same mapping after a rebinding")
		}
	})
}

func TestPortCollision(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h1, _ := w.behind("a", "1.0.0.1", NAT{})
		h2 := w.NewHost("a2", h1.port.segment, Link{}, addr("192.168.1.3"))
		s := w.listen(w.public("s", "2.0.0.1", Link{}), 1)
		w.send(w.listen(h1, 5000), "2.0.0.1:1", "x")
		w.send(w.listen(h2, 5000), "2.0.0.1:1", "x")
		p := []uint16{w.wantPacket(s, "x").Port(), w.wantPacket(s, "x").Port()}
		slices.Sort(p)
		if !slices.Equal(p, []uint16{5000, 5001}) {
			t.Errorf("outside ports %v", p)
		}
	})
}
