package netsim

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// sink is the far end of a pipe: it remembers what arrives.
type sink struct {
	at   []int64
	data [][]byte
}

func (s *sink) arrive(at int64, p *packet) {
	s.at = append(s.at, at)
	s.data = append(s.data, slices.Clone(p.data))
}

// through sends count packets of three bytes, which count them, a millisecond
// apart, through a link, and returns what arrives.
func through(l Link, count int) (*Network, *sink) {
	n := &Network{rand: rand.New(rand.NewPCG(1, 1))}
	s := &sink{}
	l.Delay += time.Nanosecond // so that all packets pass the arrivals
	pipe := newPipe(l)
	pipe.to = s
	for i := range count {
		p := n.newPacket([]byte{byte(i >> 16), byte(i >> 8), byte(i)})
		p.dst, p.ttl = addrPort("1.0.0.2:2"), defaultTTL
		n.ledger.sent++
		n.carry(int64(i)*int64(time.Millisecond), pipe, p)
	}
	for n.arrivals.packets > 0 {
		at := n.arrivals.due()
		p, l := n.arrivals.next()
		l.to.arrive(at, p)
		n.ledger.delivered++
	}
	return n, s
}

func number(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

func TestBurstLoss(t *testing.T) {
	for _, tt := range []struct{ loss, burst, wantBurst float64 }{
		{loss: 0.02, burst: 5, wantBurst: 5},
		{loss: 0.1, burst: 3, wantBurst: 3},
		{loss: 0.3, burst: 20, wantBurst: 20},
		{loss: 0.2, burst: 1, wantBurst: 1},
		{loss: 0.75, burst: 1, wantBurst: 3}, // shorter ones cannot be so many
		{loss: 0.2, wantBurst: 1.25},         // by themselves: 1/(1-Loss)
	} {
		const count = 150_000
		n, s := through(Link{Loss: tt.loss, Burst: tt.burst}, count)
		lost := float64(n.ledger.dropped[DropLoss])
		bursts, next := 0, 0
		for _, b := range s.data {
			if number(b) != next {
				bursts++
			}
			next = number(b) + 1
		}
		if share := lost / count; math.Abs(share-tt.loss) > 0.06*tt.loss {
			t.Errorf("%+v: lost %.4f of all", tt, share)
		}
		if mean := lost / float64(bursts); math.Abs(mean-tt.wantBurst) > 0.06*tt.wantBurst {
			t.Errorf("%+v: bursts of %.3f packets", tt, mean)
		}
	}
	if n, _ := through(Link{Loss: 1, Burst: 2}, 100); n.ledger.dropped[DropLoss] != 100 {
		t.Error("a link that loses all lets something through")
	}
}

// A packet that is late is overtaken; the others keep their order and their time.
func TestReorder(t *testing.T) {
	const count, share, by = 50_000, 0.05, 20 * time.Millisecond
	_, s := through(Link{Reorder: share, ReorderBy: by}, count)
	if len(s.at) != count {
		t.Fatalf("%d packets arrive", len(s.at))
	}
	late, overtaken, last := 0, 0, -1
	var sum time.Duration
	for i, b := range s.data {
		k := number(b)
		if after := time.Duration(s.at[i]) - time.Duration(k)*time.Millisecond - 1; after > 0 {
			if late++; after > by {
				t.Fatalf("a packet is %v late", after)
			}
			sum += after
		}
		if k < last {
			overtaken++
		}
		last = max(last, k)
	}
	if got := float64(late) / count; math.Abs(got-share) > 0.005 {
		t.Errorf("%.4f of the packets are late", got)
	}
	if mean := sum / time.Duration(late); mean < by*47/100 || mean > by*53/100 {
		t.Errorf("%v late on average, of %v", mean, by)
	}
	if overtaken < late*8/10 || overtaken > late { // those less than 1 ms late are not
		t.Errorf("%d of %d late packets were overtaken", overtaken, late)
	}
}

func TestReorderByNothingIsANanosecond(t *testing.T) {
	_, s := through(Link{Reorder: 1}, 1)
	if len(s.at) != 1 || s.at[0] != 2 {
		t.Errorf("arrives at %v", s.at)
	}
}

func TestDuplicate(t *testing.T) {
	const count, share = 50_000, 0.03
	n, s := through(Link{Duplicate: share}, count)
	if got := float64(n.ledger.duplicated) / count; math.Abs(got-share) > 0.003 {
		t.Errorf("%.4f of the packets were duplicated", got)
	}
	if twice := uint64(len(s.data) - count); twice != n.ledger.duplicated {
		t.Errorf("%d packets came twice, %d were made", twice, n.ledger.duplicated)
	}
	if err := n.ledger.check(); err != nil {
		t.Error(err)
	}
}

// Where the bit flips in the headers, 28 bytes of 31, the packet is lost.
func TestCorrupt(t *testing.T) {
	const count, share = 100_000, 0.2
	n, s := through(Link{Corrupt: share}, count)
	dropped := int(n.ledger.dropped[DropCorrupt])
	if got, want := float64(dropped)/count, share*28/31; math.Abs(got-want) > 0.005 {
		t.Errorf("%.4f of the packets dropped, want %.4f", got, want)
	}
	if len(s.data) != count-dropped {
		t.Errorf("%d packets arrive, %d were dropped", len(s.data), dropped)
	}
}

func ones(a, b []byte) (sum int) {
	for i := range a {
		sum += bits.OnesCount8(a[i] ^ b[i])
	}
	return sum
}

// A packet that was changed has another digest, and still its length.
func TestCorruptData(t *testing.T) {
	n := &Network{}
	r := rand.New(rand.NewPCG(1, 1))
	data := make([]byte, 1200)
	where := map[int]int{} // by hundred bytes
	for range 2000 {
		p := n.newPacket(data)
		p.dst = addrPort("1.0.0.2:2")
		before := p.sum
		if !p.damage(r) {
			continue
		}
		if ones(p.data, data) != 1 || p.sum == before {
			t.Fatalf("%d bits differ", ones(p.data, data))
		}
		where[slices.IndexFunc(p.data, func(b byte) bool { return b != 0 })/100]++
		n.recycle(p)
	}
	if len(where) != 12 {
		t.Errorf("the bits are only in %v", where)
	}
}

// A link with nothing to draw draws nothing: what is new changes no old outcome.
func TestNothingIsDrawnForWhatIsOff(t *testing.T) {
	n, _ := through(Link{Burst: 3, ReorderBy: time.Second}, 100)
	if got, want := n.rand.Uint64(), rand.New(rand.NewPCG(1, 1)).Uint64(); got != want {
		t.Error("something was drawn")
	}
}

// Whatever links do to packets, they allocate nothing for it.
func TestLinksAllocateNothing(t *testing.T) {
	n := &Network{rand: rand.New(rand.NewPCG(1, 1))}
	pipe := newPipe(Link{
		Delay: time.Millisecond, Jitter: time.Millisecond, Rate: 1_000_000_000, Loss: 0.1, Burst: 3,
		Reorder: 0.1, ReorderBy: time.Millisecond, Duplicate: 0.1, Corrupt: 0.1,
	})
	at, data := int64(0), make([]byte, 1200)
	turn := func() {
		p := n.newPacket(data)
		p.src, p.dst, p.ttl = addrPort("1.0.0.1:1"), addrPort("1.0.0.2:2"), defaultTTL
		n.carry(at, pipe, p)
		for at += 10_000; n.arrivals.due() <= at; {
			p, _ := n.arrivals.next()
			n.recycle(p)
		}
	}
	for range 5000 {
		turn() // fills the pool
	}
	if allocs := testing.AllocsPerRun(5000, turn); allocs != 0 {
		t.Errorf("%v allocations for a packet", allocs)
	}
}

// inBubbleTB hides the method Deadline, which may not be called in a bubble.
type inBubbleTB struct{ testing.TB }

// Whatever links do to packets, each packet that was sent or made is delivered,
// dropped or under way, at every moment.
func TestLedgerBalancesWhateverLinksDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(inBubbleTB{t}, func(t *rapid.T) {
			share := rapid.SampledFrom([]float64{0, 0, 0.1, 0.5, 1})
			pause := rapid.SampledFrom([]time.Duration{0, 0, time.Microsecond, 7 * time.Millisecond})
			link := rapid.Custom(func(t *rapid.T) Link {
				return Link{
					Delay: pause.Draw(t, "delay"), Jitter: pause.Draw(t, "jitter"),
					Loss: share.Draw(t, "loss"), Burst: rapid.SampledFrom([]float64{0, 1, 4}).Draw(t, "burst"),
					Reorder: share.Draw(t, "reorder"), ReorderBy: pause.Draw(t, "by"),
					Duplicate: share.Draw(t, "duplicate"), Corrupt: share.Draw(t, "corrupt"),
					Rate: rapid.SampledFrom([]int64{0, 100_000}).Draw(t, "rate"), Queue: 200,
				}
			})
			n := New(Config{Seed: rapid.Uint64().Draw(t, "seed")})
			defer n.Close()
			a := n.NewHost("a", n.Internet(), link.Draw(t, "a"), addr("1.0.0.1"))
			n.NewHost("b", n.Internet(), link.Draw(t, "b"), addr("1.0.0.2"))
			c, err := a.ListenUDP(addrPort("0.0.0.0:1"))
			if err != nil {
				t.Fatal(err)
			}
			for range rapid.IntRange(1, 30).Draw(t, "writes") {
				to := rapid.SampledFrom([]string{"1.0.0.2:1", "1.0.0.1:1", "1.0.0.3:1"}).Draw(t, "to")
				_, _ = c.WriteToUDPAddrPort(make([]byte, rapid.IntRange(0, 100).Draw(t, "size")), addrPort(to))
				time.Sleep(pause.Draw(t, "pause"))
				s := n.Stats()
				sum := s.Delivered + s.UnderWay
				for _, d := range s.Dropped {
					sum += d
				}
				if s.Sent+s.Duplicated != sum {
					t.Fatalf("%d packets are somewhere, of %+v", sum, s)
				}
			}
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
		})
	})
}
