package kcptransport

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var controllerTime = flag.Duration("controller", 0, "how long each story of the controller lasts, in virtual time; 0: a few short ones")

const (
	storyWarm = 3 * time.Second // what comes before does not count
	storyTick = 5 * time.Millisecond
)

// bottleneck is a path of the rate in Mbit/s and round trip, with a queue of 100 ms that marks nothing.
func bottleneck(mbits float64, rtt time.Duration, loss float64) simModel {
	return simModel{rate: mbits * 1e6, delay: rtt / 2, loss: loss, queue: int(mbits * 1e6 / 8 / 10)}
}

// rivals are links that share a path, each with a stream that sends all it can.
type rivals struct {
	p   *muxPair
	got []*atomic.Int64
}

func (f *rivals) add() {
	a, b := f.p.a, f.p.b
	if len(f.got) > 0 {
		a, b = f.p.add()
	}
	got := new(atomic.Int64)
	f.got = append(f.got, got)
	go saturate(f.p.open(a, "bulk"))
	go swallow(f.p.accept(b), got)
}

// storyResult is what a stretch of time brought.
type storyResult struct {
	shares []float64       // of the rate, of each flow
	waits  []time.Duration // in the path's queue, ascending
}

func (r storyResult) sum() (sum float64) {
	for _, s := range r.shares {
		sum += s
	}
	return sum
}

// jain is Jain's index of fairness: 1 when all are equal.
func (r storyResult) jain() float64 {
	squares := 0.0
	for _, s := range r.shares {
		squares += s * s
	}
	return r.sum() * r.sum() / (float64(len(r.shares)) * squares)
}

func (r storyResult) wait(part float64) time.Duration {
	return r.waits[int(part*float64(len(r.waits)-1))].Round(100 * time.Microsecond)
}

func (r storyResult) String() string {
	var shares []string
	for _, s := range r.shares {
		shares = append(shares, fmt.Sprintf("%.3f", s))
	}
	return fmt.Sprintf("%s of the rate; in the queue p50 %v, p95 %v, longest %v", strings.Join(shares, " + "), r.wait(0.5), r.wait(0.95), r.wait(1))
}

// measure lets time go by and says what it brought.
func (f *rivals) measure(lasts time.Duration) (r storyResult) {
	first := make([]int64, len(f.got))
	for i, got := range f.got {
		first[i] = got.Load()
	}
	var rate float64
	for range int(lasts / storyTick) {
		pass(storyTick)
		f.p.do(func() {
			rate = f.p.ab.model.rate
			r.waits = append(r.waits, max(f.p.ab.busyTill-time.Since(f.p.start), 0))
		})
	}
	slices.Sort(r.waits)
	for i, got := range f.got {
		r.shares = append(r.shares, float64(got.Load()-first[i])*8/lasts.Seconds()/rate)
	}
	return r
}

// change gives both directions of the path another model.
func (f *rivals) change(change func(m *simModel)) {
	f.p.do(func() {
		change(&f.p.ab.model)
		change(&f.p.ba.model)
	})
}

// tellStory plays a story on a path and ends it.
func tellStory(t *testing.T, model simModel, story func(t *testing.T, f *rivals)) {
	inBubble(t, model, func(t *testing.T, p *muxPair) {
		story(t, &rivals{p: p})
		p.stop()
	})
}

// reno is a controller that knows only loss (RFC 5681), to have somebody to share with who fills the queue.
type reno struct {
	mss, size, threshold int
	rtt, cutAt           time.Duration
}

func (r *reno) onAck(s ackSample) {
	if s.rtt > 0 {
		r.rtt = s.rtt
	}
	switch {
	case s.lost > 0 && s.now-r.cutAt > r.rtt:
		r.size = max(r.size/2, 2*r.mss)
		r.threshold, r.cutAt = r.size, s.now
	case r.threshold == 0:
		r.size += s.acked
	default:
		r.size += s.acked * r.mss / r.size
	}
}

func (r *reno) onMark(time.Duration)               {}
func (r *reno) window() int                        { return r.size }
func (r *reno) rate() float64                      { return 0 }
func (r *reno) gentle(time.Duration) bool          { return false }
func (r *reno) delivery() float64                  { return 0 }
func (r *reno) reset(time.Duration, time.Duration) {}

// raceReno starts a flow of ours, and then one of reno.
func raceReno(f *rivals) {
	f.add()
	pass(storyWarm)
	f.p.do(func() {
		f.p.a.cfg.control = &reno{mss: f.p.a.cfg.maxPayload, size: 10 * f.p.a.cfg.maxPayload}
	})
	f.add()
	pass(storyWarm)
}

type queueStory struct {
	mbits       float64
	rtt         time.Duration
	loss, burst float64
	flows       int
	goodput     float64       // at least
	wait        time.Duration // in the queue, p95, at most
}

var queueStories = []queueStory{
	{50, 160 * time.Millisecond, 0, 0, 1, 0.91, 20 * time.Millisecond},
	{100, 50 * time.Millisecond, 0.05, 0, 1, 0.88, 20 * time.Millisecond},
	{100, 50 * time.Millisecond, 0, 0, 2, 0.9, 25 * time.Millisecond},
	{100, 10 * time.Millisecond, 0, 0, 1, 0.91, 20 * time.Millisecond},
	{100, 50 * time.Millisecond, 0, 0, 1, 0.91, 20 * time.Millisecond},
	{100, 200 * time.Millisecond, 0, 0, 1, 0.91, 20 * time.Millisecond},
	{10, 40 * time.Millisecond, 0, 0, 1, 0.9, 20 * time.Millisecond},
	{2, 40 * time.Millisecond, 0, 0, 1, 0.9, 40 * time.Millisecond}, // a packet takes 5 ms
	{50, 160 * time.Millisecond, 0.01, 0, 1, 0.9, 20 * time.Millisecond},
	{50, 160 * time.Millisecond, 0.05, 0, 1, 0.87, 20 * time.Millisecond},
	{50, 160 * time.Millisecond, 0.1, 0, 1, 0.83, 20 * time.Millisecond},
	{100, 50 * time.Millisecond, 0.01, 0, 1, 0.91, 20 * time.Millisecond},
	{100, 50 * time.Millisecond, 0.1, 0, 1, 0.85, 20 * time.Millisecond},
	{100, 50 * time.Millisecond, 0.2, 0, 1, 0.85, 20 * time.Millisecond},
	{50, 160 * time.Millisecond, 0.2, 0, 1, 0.7, 20 * time.Millisecond},
	{100, 50 * time.Millisecond, 0.008, 0.86, 1, 0.86, 20 * time.Millisecond},
	{100, 50 * time.Millisecond, 0.02, 0, 2, 0.9, 25 * time.Millisecond},
	{50, 80 * time.Millisecond, 0, 0, 2, 0.9, 25 * time.Millisecond},
	{50, 160 * time.Millisecond, 0, 0, 2, 0.9, 30 * time.Millisecond},
	{50, 160 * time.Millisecond, 0, 0, 4, 0.9, 35 * time.Millisecond},
}

// One flow, or several, fill a path whose queue marks nothing. They get what it carries, and do not fill the queue.
func TestControllerQueue(t *testing.T) {
	stories, lasts := queueStories, *controllerTime
	if lasts == 0 {
		stories, lasts = stories[:3], 6*time.Second
	}
	for _, c := range stories {
		t.Run(fmt.Sprintf("%v Mbit-s, %v, loss %v burst %v, %d flows", c.mbits, c.rtt, c.loss, c.burst, c.flows), func(t *testing.T) {
			if raceEnabled {
				t.Skip("takes long with the race detector")
			}
			model := bottleneck(c.mbits, c.rtt, c.loss)
			model.burst = c.burst
			tellStory(t, model, func(t *testing.T, f *rivals) {
				for range c.flows {
					f.add()
					pass(storyWarm)
				}
				r := f.measure(lasts)
				t.Logf("%v; fairness %.3f", r, r.jain())
				if r.sum() < c.goodput || r.wait(0.95) > c.wait {
					t.Errorf("want %.2f of the rate and at most %v in the queue", c.goodput, c.wait)
				}
			})
		})
	}
}

// The path changes under a flow that fills it.
func TestControllerSteps(t *testing.T) {
	if *controllerTime == 0 {
		t.Skip("needs -controller")
	}
	short, long := 50*time.Millisecond, 160*time.Millisecond
	halve := func(f *rivals) { f.change(func(m *simModel) { m.rate /= 2 }) }
	double := func(f *rivals) { f.change(func(m *simModel) { m.rate *= 2 }) }
	for _, c := range []struct {
		name string
		rtt  time.Duration
		step func(f *rivals)
	}{
		{"half the rate", short, halve},
		{"half the rate", long, halve},
		{"twice the rate", short, double},
		{"twice the rate", long, double},
		{"another path, of 160 ms", short, func(f *rivals) {
			f.change(func(m *simModel) { m.delay = long / 2 })
			f.p.do(func() { f.p.a.pathChanged(time.Now(), false); f.p.b.pathChanged(time.Now(), false) })
		}},
		{"40 ms longer, which nobody tells", short, func(f *rivals) {
			f.change(func(m *simModel) { m.delay += 20 * time.Millisecond })
		}},
	} {
		t.Run(fmt.Sprintf("%v, %s", c.rtt, c.name), func(t *testing.T) {
			tellStory(t, bottleneck(50, c.rtt, 0), func(t *testing.T, f *rivals) {
				f.add()
				pass(2 * storyWarm)
				c.step(f)
				for second := range 4 {
					t.Logf("second %d: %v", second+1, f.measure(time.Second))
				}
				r := f.measure(10 * time.Second)
				t.Logf("then: %v", r)
				if r.sum() < 0.9 || r.wait(0.95) > 20*time.Millisecond {
					t.Error("want 0.9 of the rate and at most 20 ms in the queue")
				}
			})
		})
	}
}

// Beside a flow that fills the queue until it overflows, ours is not starved.
func TestControllerBesideReno(t *testing.T) {
	if *controllerTime == 0 {
		t.Skip("needs -controller")
	}
	for _, rtt := range []time.Duration{20 * time.Millisecond, 50 * time.Millisecond, 160 * time.Millisecond} {
		t.Run(rtt.String(), func(t *testing.T) {
			tellStory(t, bottleneck(50, rtt, 0), func(t *testing.T, f *rivals) {
				raceReno(f)
				r := f.measure(2 * *controllerTime)
				t.Logf("ours and reno: %v", r)
				if r.shares[0] < 0.1 {
					t.Error("ours is starved")
				}
			})
		})
	}
}

// A queue so short that no round trip shows it loses what is too much, as chance does. It must not have the sender send more and more.
func TestControllerShortQueue(t *testing.T) {
	if raceEnabled {
		t.Skip("takes long with the race detector")
	}
	stories := []struct {
		rtt, holds    time.Duration
		flows         int
		goodput, over float64 // at least; part of what is sent that does not fit, at most
	}{
		{50 * time.Millisecond, 2 * time.Millisecond, 1, 0.88, 0.05},
		{50 * time.Millisecond, 3 * time.Millisecond, 1, 0.88, 0.05},
		{160 * time.Millisecond, 2 * time.Millisecond, 1, 0.75, 0.12},
		{50 * time.Millisecond, 3 * time.Millisecond, 2, 0.88, 0.25}, // each takes what the other floods for chance
	}
	if *controllerTime == 0 {
		stories = stories[:2]
	}
	for _, c := range stories {
		t.Run(fmt.Sprintf("%v, holds %v, %d flows", c.rtt, c.holds, c.flows), func(t *testing.T) {
			model := bottleneck(50, c.rtt, 0)
			model.queue = int(model.rate / 8 * c.holds.Seconds())
			tellStory(t, model, func(t *testing.T, f *rivals) {
				for range c.flows {
					f.add()
					pass(storyWarm)
				}
				for range 4 {
					var sent, over int
					f.p.do(func() { sent, over = f.p.ab.sent, f.p.ab.overflowed })
					r := f.measure(2 * time.Second)
					f.p.do(func() { sent, over = f.p.ab.sent-sent, f.p.ab.overflowed-over })
					part := float64(over) / float64(sent)
					t.Logf("%v; fairness %.3f; %.1f %% do not fit", r, r.jain(), 100*part)
					if r.sum() < c.goodput || part > c.over {
						t.Errorf("want %v of the rate, and at most %v that does not fit", c.goodput, c.over)
					}
				}
			})
		})
	}
}

// Chance loss that ends is forgotten, although what is paced on top of it made a queue.
func TestControllerLossEnds(t *testing.T) {
	if raceEnabled {
		t.Skip("takes long with the race detector")
	}
	tellStory(t, bottleneck(50, 100*time.Millisecond, 0.2), func(t *testing.T, f *rivals) {
		f.add()
		pass(2 * storyWarm)
		f.change(func(m *simModel) { m.loss = 0 })
		pass(storyWarm)
		r := f.measure(3 * time.Second)
		t.Log(r)
		if r.sum() < 0.9 || r.wait(0.95) > 20*time.Millisecond {
			t.Error("want 0.9 of the rate and at most 20 ms in the queue")
		}
	})
}
