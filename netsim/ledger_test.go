package netsim

import (
	"strings"
	"testing"
	"time"
)

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for r := range dropReasons {
		if name := r.String(); name == "" || seen[name] {
			t.Errorf("reason %d is called %q", r, name)
		} else {
			seen[name] = true
		}
	}
	if got := DropReason(200).String(); got != "DropReason(200)" {
		t.Errorf("an unknown one is called %q", got)
	}
}

func TestLedgerThatDoesNotBalance(t *testing.T) {
	n := New(Config{})
	n.ledger.sent, n.ledger.dropped[DropQueue] = 3, 1
	if err := n.Close(); err == nil || !strings.Contains(err.Error(), "3 sent, 0 duplicated, 0 delivered, 1 queue") {
		t.Errorf("got %v", err)
	}
	if err := n.Close(); err != nil {
		t.Errorf("the second time: %v", err)
	}
}

// At every moment each packet sent is in one place.
func TestStatsBalanceAtEveryMoment(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		bad := Link{Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.1, Rate: 1_000_000, Queue: 3000}
		a := w.listen(w.public("a", "1.0.0.1", bad), 1)
		w.listen(w.public("b", "1.0.0.2", bad), 2)
		for range 200 {
			w.send(a, "1.0.0.2:2", "to a socket")
			w.send(a, "1.0.0.2:3", "to nobody")
			w.send(a, "1.0.0.3:3", string(make([]byte, 1000)))
			s := w.Stats()
			sum := s.Delivered + s.UnderWay
			for _, d := range s.Dropped {
				sum += d
			}
			if sum != s.Sent {
				t.Fatalf("%d packets are somewhere, of %+v", sum, s)
			}
			time.Sleep(time.Millisecond)
		}
		before := w.Stats()
		if before.UnderWay == 0 || before.Delivered == 0 || len(before.Dropped) < 4 {
			t.Errorf("not much happened: %+v", before)
		}
		w.close()
		after := w.Stats()
		if after.UnderWay != 0 || after.Dropped[DropClosed] != before.UnderWay {
			t.Errorf("%+v, then %+v", before, after)
		}
	})
}

// The digest sees what the counts do not.
func TestDigestTellsHistoriesApart(t *testing.T) {
	seen := map[uint64]string{}
	for _, tt := range []struct {
		name, to, text string
		delay          time.Duration
		loss           float64
	}{
		{name: "plain", to: "1.0.0.2:2", text: "x"},
		{name: "content", to: "1.0.0.2:2", text: "y"},
		{name: "length", to: "1.0.0.2:2", text: "xx"},
		{name: "socket", to: "1.0.0.2:3", text: "x"},
		{name: "delay", to: "1.0.0.2:2", text: "x", delay: 1},
		{name: "loss", to: "1.0.0.2:2", text: "x", loss: 1},
		{name: "nobody", to: "1.0.0.2:4", text: "x"},
	} {
		inBubble(t, func(t *testing.T, w *world) {
			a := w.listen(w.public("a", "1.0.0.1", Link{Delay: tt.delay, Loss: tt.loss}), 1)
			b := w.public("b", "1.0.0.2", Link{})
			w.listen(b, 2)
			w.listen(b, 3)
			w.send(a, tt.to, tt.text)
			time.Sleep(time.Second)
			if other, ok := seen[w.Digest()]; ok {
				t.Errorf("%s and %s have one digest", tt.name, other)
			}
			seen[w.Digest()] = tt.name
		})
	}
}
