package kcptransport

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

const ms = time.Millisecond

func newTxLog() *txLog {
	l := new(txLog)
	l.oldest, l.next = 1, 1
	return l
}

// lostBy returns the segments that detect takes for lost.
func (l *txLog) lostBy(now, rtt, reorder time.Duration) (sns []uint32, again time.Duration) {
	again = l.detect(now, rtt, reorder, func(t *transmission) { sns = append(sns, t.sn) })
	return sns, again
}

func TestTxLogInFlight(t *testing.T) {
	l := newTxLog()
	a := l.send(0, 2, 0, 0, 1000)
	b := l.send(0, 2, 1, 0, 500)
	c := l.send(0, 2, 2, 0, 100)
	if l.inflight != 1600 {
		t.Fatalf("%d bytes fly", l.inflight)
	}
	l.ack(50*ms, l.get(a), true)
	l.ack(50*ms, l.get(a), true)
	l.lose(l.get(b))
	l.forget(l.get(c))
	if l.inflight != 0 || l.delivered != 1000 || l.batch.lost != 500 || l.batch.rtt != 50*ms {
		t.Fatalf("%d bytes fly, %d arrived, %+v", l.inflight, l.delivered, l.batch)
	}
	l.ack(60*ms, l.get(b), true) // it was not lost after all
	if l.inflight != 0 || l.delivered != 1500 || l.batch.spurious != 1 || l.batch.found != 500 {
		t.Fatalf("%d bytes fly, %d arrived, %+v", l.inflight, l.delivered, l.batch)
	}
}

// What is sent gently is counted apart, whatever is thought of it on the way.
func TestTxLogGentle(t *testing.T) {
	l := newTxLog()
	l.send(0, 2, 0, 0, 1000)
	l.gentle = true
	a, b := l.send(0, 2, 1, 0, 500), l.send(0, 2, 2, 0, 200)
	l.gentle = false
	l.send(0, 2, 3, 0, 1000)
	l.ack(50*ms, l.get(a), true)
	l.lose(l.get(b))
	if s := l.sample(50 * ms); s.gentle != (gentleSample{sent: 700, lost: 200}) {
		t.Errorf("%+v", s.gentle)
	}
	l.ack(60*ms, l.get(b), true) // it was not lost after all
	if s := l.sample(60 * ms); s.gentle != (gentleSample{lost: -200}) {
		t.Errorf("%+v", s.gentle)
	}
}

// "A segment is deemed lost if a segment sent sufficiently later has been delivered",
// https://www.rfc-editor.org/rfc/rfc8985#section-6.2
func TestTxLogDetect(t *testing.T) {
	l := newTxLog()
	var nums []uint32
	for sn := range uint32(10) {
		nums = append(nums, l.send(time.Duration(sn)*10*ms, 2, sn, 0, 1000))
	}
	if lost, again := l.lostBy(200*ms, 50*ms, 15*ms); lost != nil || again != 0 {
		t.Fatalf("lost %v, again %v, although nothing arrived", lost, again)
	}
	l.ack(110*ms, l.get(nums[6]), true) // sent at 60 ms
	lost, again := l.lostBy(110*ms, 50*ms, 15*ms)
	if len(lost) != 5 || lost[4] != 4 || again != 50*ms+50*ms+15*ms {
		t.Fatalf("lost %v, again %v", lost, again)
	}
	if lost, again := l.lostBy(115*ms, 50*ms, 15*ms); len(lost) != 1 || lost[0] != 5 || again != 0 {
		t.Fatalf("lost %v, again %v", lost, again)
	}
	if l.inflight != 3000 {
		t.Fatalf("%d bytes fly", l.inflight)
	}
}

func TestTxLogRate(t *testing.T) {
	l := newTxLog()
	var nums []uint32
	for sn := range uint32(100) { // 1 MB/s
		nums = append(nums, l.send(time.Duration(sn)*ms, 2, sn, 0, 1000))
	}
	for i, num := range nums {
		now := time.Duration(i)*2*ms + 50*ms // arrives at half the rate
		l.ack(now, l.get(num), true)
		if s := l.sample(now); i == 99 && (s.rate < 400e3 || s.rate > 550e3 || s.acked != 1000 || s.rtt != 50*ms+99*ms) {
			t.Errorf("%+v", s)
		}
	}
	l.idle()
	num := l.send(time.Second, 2, 100, 0, 1000)
	l.ack(time.Second+50*ms, l.get(num), true)
	if s := l.sample(time.Second + 50*ms); !s.idle {
		t.Errorf("a sample of an idle sender does not say so: %+v", s)
	}
}

// Whatever happens, the books agree with a simple model, and memory is bounded.
func TestTxLogModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newTxLog()
		flying := map[uint32]int{}
		now := time.Duration(0)
		known := func() uint32 { return l.next - 1 - rapid.Uint32Range(0, 200).Draw(t, "back") }
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				for range rapid.IntRange(1, 100).Draw(t, "count") {
					size := rapid.IntRange(1, 1500).Draw(t, "size")
					flying[l.send(now, 2, 0, 0, size)] = size
				}
			},
			"pass": func(t *rapid.T) { now += time.Duration(rapid.IntRange(1, 100).Draw(t, "ms")) * ms },
			"ack": func(t *rapid.T) {
				if tx := l.get(known()); tx != nil {
					l.ack(now, tx, rapid.Bool().Draw(t, "named"))
					delete(flying, tx.num)
				}
			},
			"lose": func(t *rapid.T) {
				if tx := l.get(known()); tx != nil {
					l.lose(tx)
					delete(flying, tx.num)
				}
			},
			"detect": func(t *rapid.T) {
				again := l.detect(now, 50*ms, 5*ms, func(tx *transmission) {
					if _, ok := flying[tx.num]; !ok || !before(tx.num, l.newestAcked) {
						t.Fatalf("%d is not to be taken for lost", tx.num)
					}
					delete(flying, tx.num)
				})
				if again != 0 && again <= now {
					t.Fatalf("to be asked again at %v, at %v", again, now)
				}
				l.sample(now)
			},
			"": func(t *rapid.T) {
				sum := 0
				for num, size := range flying {
					if tx := l.get(num); tx == nil || tx.state != txFlying {
						t.Fatalf("%d is forgotten", num)
					}
					sum += size
				}
				if sum != l.inflight {
					t.Fatalf("%d bytes fly, want %d", l.inflight, sum)
				}
			},
		})
	})
}

func TestTxLogBounded(t *testing.T) {
	l := newTxLog()
	for range 3 * txLogMax {
		l.send(0, 2, 0, 0, 1)
	}
	if len(l.ring) > txLogMax || l.inflight != txLogMax {
		t.Errorf("%d transmissions are remembered, %d bytes fly", len(l.ring), l.inflight)
	}
}
