package netsim

import (
	"fmt"
	"testing"
	"time"
)

func TestDelayIsExact(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.listen(w.public("a", "1.0.0.1", Link{Delay: 10 * time.Millisecond}), 1)
		b := w.listen(w.public("b", "1.0.0.2", Link{Delay: 5 * time.Millisecond}), 2)
		start := time.Now()
		w.send(a, "1.0.0.2:2", "hi")
		if from := w.wantPacket(b, "hi"); from.String() != "1.0.0.1:1" {
			t.Errorf("from %v", from)
		}
		if took := time.Since(start); took != 15*time.Millisecond+1 {
			t.Errorf("took %v, want 15 ms and the nanosecond of the barrier", took)
		}
	})
}

func TestRateAndQueue(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		// 1,000 bytes of payload are 1,028 on the link: 8.224 ms at 1 Mbit/s.
		a := w.listen(w.public("a", "1.0.0.1", Link{Rate: 1_000_000, Queue: 4 * 1028}), 1)
		b := w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		start := time.Now()
		text := string(make([]byte, 1000))
		for range 10 {
			w.send(a, "1.0.0.2:2", text)
		}
		for i := 1; i <= 4; i++ {
			w.wantPacket(b, text)
			if took, want := time.Since(start), time.Duration(i)*8224*time.Microsecond+1; took != want {
				t.Errorf("packet %d after %v, want %v", i, took, want)
			}
		}
		w.wantNothing(b)
		w.wantDrops(DropQueue, 6)
	})
}

func TestLossJitterAndOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.listen(w.public("a", "1.0.0.1", Link{Loss: 0.2, Jitter: 50 * time.Millisecond}), 1)
		b := w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		const n = 5000
		for i := range n {
			w.send(a, "1.0.0.2:2", fmt.Sprintf("%06d", i))
			pass(time.Millisecond)
		}
		pass(time.Second)
		lost := float64(w.Stats().Dropped[DropLoss]) / n
		if lost < 0.18 || lost > 0.22 {
			t.Errorf("lost %.3f, want 0.2", lost)
		}
		last := ""
		buf := make([]byte, 10)
		for range n - int(w.Stats().Dropped[DropLoss]) {
			k, _, err := b.ReadFromUDPAddrPort(buf)
			if err != nil || string(buf[:k]) <= last {
				t.Fatalf("%q after %q (%v)", buf[:k], last, err)
			}
			last = string(buf[:k])
		}
	})
}
