package netsim

import (
	"testing"
)

func TestMoveKeepsSockets(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h := w.public("a", "1.0.0.1", Link{})
		a := w.listen(h, 1)
		b := w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		h.SetAddrs(addr("1.0.0.9"))
		w.send(a, "1.0.0.2:2", "x")
		if from := w.wantPacket(b, "x"); from.String() != "1.0.0.9:1" {
			t.Errorf("from %v", from)
		}
		w.send(b, "1.0.0.1:1", "to the old address")
		w.wantNothing(a)
		w.wantDrops(DropNoRoute, 1)
	})
}
