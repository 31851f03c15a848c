package kcptransport

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// What a peer may do inside its link to harm others. frames makes the nth packet; serve is the application of the victim.
var hostilities = []struct {
	name   string
	frames func(n int, conv func(k uint32) uint32) []byte
	serve  func(s *Stream)
}{
	{"opens streams", func(n int, conv func(uint32) uint32) []byte {
		return push(nil, conv(uint32(n)), 0, 128, []byte{msgOpen, 'k'})
	}, func(s *Stream) { s.Reset(1) }},
	{"floods", func(n int, conv func(uint32) uint32) []byte { // streams that nobody reads, and datagrams
		switch k := uint32(n); {
		case n%2 == 0:
			return appendDatagram(nil, make([]byte, 1100))
		case n < 2000:
			return push(nil, conv(k/2), 0, 128, []byte{msgOpen, 'k'})
		default:
			return push(nil, conv(k/2%1000), k/2000, 128, append([]byte{msgData}, make([]byte, 1100)...))
		}
	}, func(*Stream) {}},
	{"stalls", func(n int, conv func(uint32) uint32) []byte { // is sent more than it ever acknowledges
		if n < 1000 {
			return push(nil, conv(uint32(n)), 0, 4096, []byte{msgOpen, 'k'})
		}
		return appendProbe(nil, uint64(n))
	}, saturate},
	{"sends garbage", func(n int, conv func(uint32) uint32) []byte {
		rng := rand.New(rand.NewPCG(uint64(n), 1))
		b := make([]byte, 200)
		for i := range b {
			if b[i] = byte(rng.Uint32()); b[i] == byte(frameClose) { // which would be the end of it
				b[i] = byte(frameProbe)
			}
		}
		if n%3 == 0 {
			b[0] = byte(n / 3 % 5) // a frame of some kind
			return b
		}
		frames, at := openFrame(nil, frameKCP)
		frames = appendSegmentHeader(frames, conv(uint32(n%100)), kcpPush+uint8(n%5), uint16(n), rng.Uint32(), rng.Uint32()%5000, rng.Uint32()%50)
		return closeFrame(append(frames, b[:n%50]...), at)
	}, func(*Stream) {}},
}

// peersConv returns the number of the kth conversation that peer may open to victim.
func peersConv(victim, peer PeerID) func(k uint32) uint32 {
	even := peer.Compare(victim) < 0
	return func(k uint32) uint32 {
		if even {
			return 2*k + 2
		}
		return 2*k + 1
	}
}

// A peer that obeys no rule costs another link of the same node less than a tenth of its throughput. In virtual time
// computing costs nothing: this is about queues, budgets and timers, BenchmarkHostilePeer about the rest.
func TestHostilePeer(t *testing.T) {
	for _, h := range hostilities {
		t.Run(h.name, func(t *testing.T) {
			inWorld(t, 20*time.Millisecond, func(w *world) {
				w.link = slowLink(20 * time.Millisecond)
				friend := w.node(1)
				w.link.Rate = 0
				hub := w.node(2)
				l := friend.dial(hub)
				m := hub.accept()
				rate := func(from, to *Link) time.Duration {
					tr := w.startTransfer(from, to, 1<<20)
					tr.wait()
					return tr.took
				}
				rate(l, m) // finds the path's rate
				rate(m, l)
				up, down := rate(l, m), rate(m, l)
				evil := w.keyedPeer(hub)
				link := hub.accept()
				go func() {
					for {
						s, err := link.AcceptStream(w.ctx)
						if err != nil {
							return
						}
						go h.serve(s)
					}
				}()
				var stopped atomic.Bool
				done := make(chan struct{})
				go func() {
					defer close(done)
					conv := peersConv(hub.ID(), testIdentity(keyedSeed).ID())
					for n := 0; !stopped.Load(); n++ {
						evil.sealed(h.frames(n, conv))
						if n%10 == 9 {
							evil.listen(time.Millisecond)
						}
					}
				}()
				upBeside, downBeside := rate(l, m), rate(m, l)
				stopped.Store(true)
				<-done
				if err := link.Err(); err != nil {
					t.Errorf("the hostile link ended early: %v", err)
				}
				t.Logf("1 MiB took %v and %v, beside it %v and %v; %d bytes of memory are held", up, down, upBeside, downBeside, hub.memory.used.Load())
				if upBeside > up*11/10 || downBeside > down*11/10 {
					t.Errorf("1 MiB take %v and %v instead of %v and %v", upBeside, downBeside, up, down)
				}
				_ = link.CloseWithError(1, "") // ends its streams' writers
			})
		})
	}
}

// BenchmarkHostilePeer is the bar for hostile peers: a link carries 200 Mbit/s over loopback, without and with a peer at the
// same endpoint that sends 20,000 hostile packets a second, turn by turn in one run. It tells what is left of the
// throughput, and what the hostile peer costs in processors, its own sending included.
func BenchmarkHostilePeer(b *testing.B) {
	for _, h := range hostilities {
		b.Run(h.name, func(b *testing.B) {
			l, m := loopbackPair(b)
			var got atomic.Int64
			s, err := l.OpenStream(context.Background(), "bulk")
			if err != nil {
				b.Fatal(err)
			}
			go pour(s, 200e6)
			r, err := m.AcceptStream(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			go swallow(r, &got)
			time.Sleep(time.Second) // until the link has found its rate
			measure := func() (rate, processors float64) {
				before, busy, start := got.Load(), processorTime(), time.Now()
				time.Sleep(2 * time.Second)
				took := time.Since(start).Seconds()
				return float64(got.Load()-before) * 8 / 1e6 / took, (processorTime() - busy).Seconds() / took
			}
			var ratios, costs []float64
			seed := byte(100)
			for b.Loop() {
				base, calm := measure()
				stop := hostileOnLoopback(b, m.ep, seed, h.frames, h.serve)
				beside, busy := measure()
				stop()
				seed++
				b.Logf("%.0f Mbit/s and %.2f processors alone, %.0f Mbit/s and %.2f beside a peer that %s", base, calm, beside, busy, h.name)
				ratios, costs = append(ratios, beside/base), append(costs, busy-calm)
			}
			slices.Sort(ratios)
			slices.Sort(costs)
			b.ReportMetric(ratios[len(ratios)/2], "of-the-throughput")
			b.ReportMetric(costs[len(costs)/2], "more-processors")
			s.Reset(0)
		})
	}
}

// pour writes to a stream so many bits a second until it fails.
func pour(s *Stream, rate float64) {
	const tick = 5 * time.Millisecond
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	start, written := time.Now(), 0
	buf := make([]byte, 64<<10)
	for range ticker.C {
		for due := int(time.Since(start).Seconds() * rate / 8); written < due; {
			n, err := s.Write(buf[:min(len(buf), due-written)])
			if written += n; err != nil {
				return
			}
		}
	}
}

// hostileOnLoopback links a hostile peer to victim and has it send until stop is called.
func hostileOnLoopback(b *testing.B, victim *Endpoint, seed byte, frames func(int, func(uint32) uint32) []byte, serve func(*Stream)) (stop func()) {
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(victim.LocalAddr()))
	if err != nil {
		b.Fatal(err)
	}
	i, err := newInitiator(testConfig(seed), victim.ID(), 1, says(testHello(1)))
	if err != nil {
		b.Fatal(err)
	}
	_, _ = conn.Write(i.first())
	answer := make([]byte, 2000)
	n, err := conn.Read(answer)
	if err != nil {
		b.Fatal(err)
	}
	_, est, err := i.handle(answer[:n])
	if err != nil {
		b.Fatal(err)
	}
	pn := uint64(0)
	send := func(frames []byte) {
		_, _ = conn.Write(est.keys.seal(nil, est.remoteIndex, pn, frames)) // a full buffer is part of it
		pn++
	}
	send(appendProbe(nil, 1))
	link, err := victim.Accept(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		for {
			s, err := link.AcceptStream(context.Background())
			if err != nil {
				return
			}
			go serve(s)
		}
	}()
	conv := peersConv(victim.ID(), testIdentity(seed).ID())
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n += 20 {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			for k := range 20 {
				send(frames(n+k, conv))
			}
		}
	}()
	return func() {
		close(quit)
		<-done
		_ = link.CloseWithError(1, "")
		conn.Close()
	}
}
