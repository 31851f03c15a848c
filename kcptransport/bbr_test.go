package kcptransport

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// feedBBR gives a controller the samples of an ideal path of the given rate and round trip, without a queue: what is
// sent is acknowledged a round trip later, and never more than the path carries.
func feedBBR(b *bbr, from, until time.Duration, rate float64, rtt time.Duration, loss float64) {
	const step = 5 * time.Millisecond
	rng := rand.New(rand.NewPCG(1, 1))
	delivered := b.roundEnd + 1
	for now := from; now < until; now += step {
		sent := min(b.rate(), float64(b.window())/rtt.Seconds())
		arriving := min(sent, rate) * (1 - loss*2*rng.Float64())
		acked := int(arriving * step.Seconds())
		inFlight := int(min(sent, rate) * rtt.Seconds())
		delivered += int64(acked)
		queue := time.Duration(0)
		if sent > rate {
			queue = min(time.Duration((sent/rate-1)*float64(rtt)), rtt)
		}
		b.onAck(ackSample{
			now: now, acked: acked, lost: int(sent*step.Seconds()*loss + max(sent-2*rate, 0)*step.Seconds()), inflight: inFlight,
			delivered: delivered, prior: delivered - int64(inFlight), rate: arriving, interval: rtt, rtt: rtt + queue,
		})
	}
}

func TestBBRFindsRate(t *testing.T) {
	for _, loss := range []float64{0, 0.02, 0.1} {
		b := newBBR(1204)
		const rate, rtt = 12.5e6, 50 * time.Millisecond
		feedBBR(b, 0, 5*time.Second, rate, rtt, loss)
		if got := b.bw.max(); got < 0.93*rate || got > 1.01*rate {
			t.Errorf("loss %v: the rate is taken for %.1f MB/s, want %.1f", loss, got/1e6, rate/1e6)
		}
		product := rate * rtt.Seconds()
		if w := float64(b.window()); w < product || w > 1.5*product {
			t.Errorf("loss %v: the window is %.2f times what the path holds", loss, w/product)
		}
		feedBBR(b, 5*time.Second, 15*time.Second, rate/4, rtt, loss) // the path gets worse,
		if got := b.bw.max(); got > 1.1*rate/4 {
			t.Errorf("loss %v: a path that is 4 times slower is taken for %.1f MB/s, want %.1f", loss, got/1e6, rate/4e6)
		}
		feedBBR(b, 15*time.Second, 25*time.Second, rate, rtt, loss) // and better again
		if got := b.bw.max(); got < 0.9*rate {
			t.Errorf("loss %v: a path that is 4 times faster is taken for %.1f MB/s, want %.1f", loss, got/1e6, rate/1e6)
		}
	}
}

// Whatever samples come, the window and the rate stay usable.
func TestBBRNeverStops(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBBR(1204)
		now, delivered := time.Duration(0), int64(0)
		for range rapid.IntRange(1, 200).Draw(t, "samples") {
			now += time.Duration(rapid.Int64Range(0, 20e9).Draw(t, "pass"))
			s := ackSample{
				now: now, acked: rapid.IntRange(0, 1<<20).Draw(t, "acked"), lost: rapid.IntRange(0, 1<<20).Draw(t, "lost"),
				inflight: rapid.IntRange(0, 1<<22).Draw(t, "inflight"), rate: rapid.Float64Range(0, 1e10).Draw(t, "rate"),
				interval: time.Duration(rapid.Int64Range(0, 1e9).Draw(t, "interval")),
				rtt:      time.Duration(rapid.Int64Range(0, 1e10).Draw(t, "rtt")), idle: rapid.Bool().Draw(t, "idle"),
			}
			delivered += int64(s.acked)
			s.delivered = delivered
			s.prior = rapid.Int64Range(0, delivered).Draw(t, "prior")
			b.onAck(s)
			if b.window() < bbrMinWindow*b.mss || b.rate() < 0 {
				t.Fatalf("window %d, rate %v", b.window(), b.rate())
			}
		}
	})
}

func TestRateFilter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var f rateFilter
		var all []float64
		for round := range rapid.IntRange(1, 100).Draw(t, "rounds") {
			rate := rapid.Float64Range(1, 1000).Draw(t, "rate")
			all = append(all, rate)
			f.add(round, rate)
			least, most := 0.0, 0.0
			for i, r := range all {
				if i >= len(all)-1-bbrRounds {
					most = max(most, r)
				}
				if i >= len(all)-1-bbrRounds/4 {
					least = max(least, r)
				}
			}
			// The three samples of the filter approximate the maximum: never more, and never less than of late.
			if got := f.max(); got > most || got < least {
				t.Fatalf("round %d: the maximum is %v, want %v to %v", round, got, least, most)
			}
		}
	})
}
