package netsim

import (
	"testing"
	"time"
)

func TestPartition(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ha, hb := w.public("a", "1.0.0.1", Link{}), w.public("b", "1.0.0.2", Link{})
		a, b := w.listen(ha, 1), w.listen(hb, 2)
		w.Partition(ha, hb)
		w.send(a, "1.0.0.2:2", "lost")
		w.wantNothing(b)
		w.Heal(hb, ha)
		w.send(a, "1.0.0.2:2", "found")
		w.wantPacket(b, "found")
	})
}

func TestRealTime(t *testing.T) {
	w := newWorld(t, 1)
	a := w.listen(w.public("a", "1.0.0.1", Link{Delay: 5 * time.Millisecond}), 1)
	b := w.listen(w.public("b", "1.0.0.2", Link{}), 2)
	start := time.Now()
	w.send(a, "1.0.0.2:2", "hi")
	w.wantPacket(b, "hi")
	if took := time.Since(start); took < 5*time.Millisecond {
		t.Errorf("took %v, less than the link's delay", took)
	}
}
