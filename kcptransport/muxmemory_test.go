package kcptransport

import (
	"errors"
	"io"
	"sync"
	"testing"
	"time"
)

// withMemory gives b a limit of so many bytes for all links, shared with whoever uses pool.
func withMemory(pool *memoryPool) pairOption {
	return func(_ *muxPair, _, b *muxConfig) { b.memory = pool }
}

// A peer that writes what nobody reads, on many streams, fills its share of the memory and no more. Then whoever reads gets
// everything, in the end.
func TestMuxMemoryUnread(t *testing.T) {
	pool := &memoryPool{limit: 16 << 20}
	inBubble(t, simModel{delay: 10 * time.Millisecond, rate: 200e6, queue: 1 << 20}, func(t *testing.T, p *muxPair) {
		const streams, size = 30, 1 << 20
		var to []*Stream
		var from []*Stream
		for range streams {
			from = append(from, p.open(p.a, "k"))
			to = append(to, p.accept(p.b))
		}
		for i, s := range from {
			go func() {
				io.Copy(s, pattern(byte(i), size))
				s.Close()
			}()
		}
		pass(30 * time.Second)
		share := pool.limit / memoryShare
		p.do(func() {
			m := p.b
			if m.memory.held < share/2 || m.memory.held > share+streams*(queueChunk+segmentMemory) {
				t.Errorf("the link holds %d bytes, its share is %d", m.memory.held, share)
			}
			t.Logf("%d bytes are held, %d segments were refused", m.memory.held, m.counts.Refused)
		})
		var wg sync.WaitGroup
		for i, s := range to {
			wg.Go(func() {
				want, _ := io.ReadAll(pattern(byte(i), size))
				if got, err := io.ReadAll(s); err != nil || string(got) != string(want) {
					t.Errorf("stream %d: %d bytes, %v", i, len(got), err)
				}
				s.Close()
			})
		}
		wg.Wait()
		p.wantIdle()
		p.wantStreams(0)
		if n := pool.used.Load(); n != 0 {
			t.Errorf("%d bytes are still counted", n)
		}
	}, withMemory(pool))
}

// Who fills the memory with streams is refused more of them, and gives everything back when the link ends.
func TestMuxMemoryStreams(t *testing.T) {
	pool := &memoryPool{limit: 8 << 20}
	inBubble(t, simModel{delay: 10 * time.Millisecond}, func(t *testing.T, p *muxPair) {
		refused := 0
		for range 200 {
			s := p.open(p.a, "k")
			s.Write([]byte("x"))
			p.wake()
			pass(50 * time.Millisecond)
			s.SetReadDeadline(time.Now().Add(time.Millisecond))
			var reset *ResetError
			if _, err := s.Read(make([]byte, 1)); errors.As(err, &reset) && reset.Code == ResetRefused {
				refused++
			}
		}
		p.do(func() {
			if share := pool.limit / memoryShare; p.b.memory.held > share+queueChunk+machineMemory {
				t.Errorf("the link holds %d bytes, its share is %d", p.b.memory.held, share)
			}
		})
		t.Logf("%d of 200 streams were refused", refused)
		if refused < 100 || refused > 190 {
			t.Errorf("%d of 200 streams were refused", refused)
		}
		p.stop()
		if n := pool.used.Load(); n != 0 {
			t.Errorf("%d bytes are still counted", n)
		}
	}, withMemory(pool))
}

// What a peer does not take is bounded as well, however many streams write to it.
func TestMuxMemoryStalled(t *testing.T) {
	pool := &memoryPool{limit: 64 << 20}
	inBubble(t, simModel{delay: 10 * time.Millisecond, rate: 100e6, queue: 1 << 20}, func(t *testing.T, p *muxPair) {
		const streams = 50
		for range streams {
			s := p.open(p.b, "k")
			go saturate(s)
			p.accept(p.a) // and it does not read
		}
		pass(time.Minute)
		share := pool.limit / memoryShare
		p.do(func() {
			t.Logf("%d bytes are held", p.b.memory.held)
			if p.b.memory.held > share+streams*(scarceBuffer+2*queueChunk+machineMemory) {
				t.Errorf("the link holds %d bytes, its share is %d", p.b.memory.held, share)
			}
		})
	}, withMemory(pool))
}

// Links that fill their shares leave memory to others, however many they are.
func TestMemoryPoolShares(t *testing.T) {
	pool := &memoryPool{limit: 1 << 20}
	for range 12 {
		a := memoryAccount{pool: pool}
		for a.fits(1000) {
			a.add(1000)
		}
		if a.held < 10000 {
			t.Fatalf("%d bytes are left when %d are used", a.held, pool.used.Load())
		}
	}
	if n := pool.used.Load(); n > 1<<20 {
		t.Errorf("%d bytes are used", n)
	}
}
