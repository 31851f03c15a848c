package netsim

import (
	"fmt"
	"math"
	"math/rand/v2"
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
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
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

// IPv6 headers are longer: 1,000 bytes take 8.384 ms at 1 Mbit/s.
func TestRateCountsHeaders(t *testing.T) {
	for _, tt := range []struct {
		to   string
		want time.Duration
	}{{"1.0.0.2:2", 8224 * time.Microsecond}, {"[2001:db8::2]:2", 8384 * time.Microsecond}} {
		inBubble(t, func(t *testing.T, w *world) {
			a := w.listen(w.NewHost("a", w.Internet(), Link{Rate: 1_000_000}, addr("1.0.0.1"), addr("2001:db8::1")), 1)
			b := w.listen(w.NewHost("b", w.Internet(), Link{}, addr("1.0.0.2"), addr("2001:db8::2")), 2)
			start := time.Now()
			w.send(a, tt.to, string(make([]byte, 1000)))
			w.wantPacket(b, string(make([]byte, 1000)))
			if took := time.Since(start); took != tt.want+1 {
				t.Errorf("%v, want %v", took, tt.want)
			}
		})
	}
}

// A sender that offers three times the rate gets the rate, and a full queue's delay.
func TestRateUnderOverload(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		const rate, queue = 8_000_000, 50_000 // a byte takes a microsecond, the queue 50 ms
		a := w.listen(w.public("a", "1.0.0.1", Link{Rate: rate, Queue: queue, Delay: 10 * time.Millisecond}), 1)
		b := w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		text := make([]byte, 1000-headers4)
		for range 3000 {
			w.send(a, "1.0.0.2:2", string(text))
			time.Sleep(time.Second / 3000)
		}
		if got := w.Stats().Delivered; got < 980 || got > 1000 {
			t.Errorf("%d packets of 1,000 bytes in a second", got)
		}
		end := time.Now()
		_ = b.SetReadDeadline(end.Add(time.Second))
		var last time.Time
		for buf := make([]byte, 2000); ; last = time.Now() {
			if _, _, err := b.ReadFrom(buf); err != nil {
				break
			}
		}
		if late := last.Sub(end); late < 59*time.Millisecond || late > 61*time.Millisecond {
			t.Errorf("the last packet comes %v after it was sent: a full queue and the delay are 60 ms", late)
		}
	})
}

func TestIdleLinkTakesWhatIsLargerThanItsQueue(t *testing.T) {
	l := newPipe(Link{Rate: 8_000, Queue: 100})
	if departs, ok := l.enqueue(0, 1000); !ok || departs != int64(time.Second) {
		t.Errorf("departs at %d, %v", departs, ok)
	}
	if _, ok := l.enqueue(int64(time.Second)-int64(10*time.Millisecond), 91); ok {
		t.Error("10 bytes wait and 91 came in, of 100")
	}
	if departs, ok := l.enqueue(int64(time.Second)-int64(10*time.Millisecond), 90); !ok || departs != int64(1090*time.Millisecond) {
		t.Errorf("departs at %d, %v", departs, ok)
	}
}

func TestUnsoundLinksPanic(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h, r := w.behind("a", "1.0.0.1", NAT{})
		for _, l := range []Link{
			{Loss: 5}, {Loss: -0.1}, {Loss: math.NaN()}, {Reorder: 1.1}, {Duplicate: 2}, {Corrupt: 100}, {Delay: -1}, {Jitter: -1},
			{ReorderBy: -1}, {Burst: -1}, {Burst: math.NaN()}, {Rate: -1}, {Queue: -1}, {MTU: -1}, {Hops: -1},
			{DownFor: 2, DownEvery: 1}, {DownFor: -1},
		} {
			for name, f := range map[string]func(){
				"new host":      func() { w.public("b", "1.0.0.2", l) },
				"host's up":     func() { h.SetLink(l, Link{}) },
				"host's down":   func() { h.SetLink(Link{}, l) },
				"router's up":   func() { r.SetLink(l, Link{}) },
				"router's down": func() { r.SetLink(Link{}, l) },
			} {
				func() {
					defer func() {
						if recover() == nil {
							t.Errorf("%s: %+v is taken", name, l)
						}
					}()
					f()
				}()
			}
		}
	})
}

func TestDefaultQueue(t *testing.T) {
	for rate, want := range map[int64]int{0: 64 << 10, 1_000_000: 64 << 10, 100_000_000: 1_250_000} {
		if l := (Link{Rate: rate}).withDefaults(); l.Queue != want || l.MTU != 1500 {
			t.Errorf("at %d bit/s: %+v", rate, l)
		}
	}
}

// Each direction is a link of its own, and a change leaves alone what is under way.
func TestSetLink(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ha := w.public("a", "1.0.0.1", Link{Delay: time.Second})
		a, b := w.listen(ha, 1), w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		start := time.Now()
		wantAfter := func(c *Conn, text string, d time.Duration) {
			t.Helper()
			_ = c.SetReadDeadline(time.Time{})
			buf := make([]byte, 20)
			if n, _, err := c.ReadFrom(buf); err != nil || string(buf[:n]) != text || time.Since(start) != d {
				t.Errorf("%q after %v (%v), want %q after %v", buf[:n], time.Since(start), err, text, d)
			}
		}
		w.send(a, "1.0.0.2:2", "old link")
		time.Sleep(100 * time.Millisecond)
		ha.SetLink(Link{Delay: 10 * time.Millisecond}, Link{Delay: 20 * time.Millisecond})
		w.send(a, "1.0.0.2:2", "behind it")
		w.send(b, "1.0.0.1:1", "down")
		wantAfter(a, "down", 120*time.Millisecond+1)
		wantAfter(b, "old link", time.Second+1)
		wantAfter(b, "behind it", time.Second+1) // nothing overtakes
		w.send(a, "1.0.0.2:2", "new link")
		wantAfter(b, "new link", 1010*time.Millisecond+2)
	})
}

func TestJitterIsSpread(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.listen(w.public("a", "1.0.0.1", Link{Delay: time.Millisecond, Jitter: 10 * time.Millisecond}), 1)
		b := w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		var sum time.Duration
		const n = 2000
		for range n {
			start := time.Now()
			w.send(a, "1.0.0.2:2", "x")
			w.wantPacket(b, "x")
			took := time.Since(start) - time.Millisecond - 1
			if took < 0 || took > 10*time.Millisecond {
				t.Fatalf("jitter of %v", took)
			}
			sum += took
			time.Sleep(20 * time.Millisecond)
		}
		if mean := sum / n; mean < 4700*time.Microsecond || mean > 5300*time.Microsecond {
			t.Errorf("mean jitter %v of 10 ms", mean)
		}
	})
}

// Also when the link becomes instant just as a packet arrives.
func TestNothingOvertakes(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ha := w.public("a", "1.0.0.1", Link{Delay: 10 * time.Millisecond})
		a, b := w.listen(ha, 1), w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		w.send(a, "1.0.0.2:2", "first")
		time.Sleep(10 * time.Millisecond)
		ha.SetLink(Link{}, Link{})
		w.send(a, "1.0.0.2:2", "second")
		w.wantPacket(b, "first")
		w.wantPacket(b, "second")
	})
	// The times at which packets arrive never go back.
	n := &Network{rand: rand.New(rand.NewPCG(1, 1))}
	l := newPipe(Link{Jitter: time.Second})
	for i := range 100 {
		p := n.newPacket(nil)
		p.dst, p.ttl = addrPort("1.0.0.2:2"), defaultTTL
		n.carry(int64(i)*int64(time.Millisecond), l, p)
	}
	if n.arrivals.packets != 100 {
		t.Fatalf("%d of 100 packets are under way", n.arrivals.packets)
	}
	last := int64(0)
	for n.arrivals.packets > 0 {
		p, _ := n.arrivals.next()
		if p.arrives < last {
			t.Fatalf("a packet arrives at %d, after one at %d", p.arrives, last)
		}
		last = p.arrives
	}
}
