package kcptransport

import (
	"bytes"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// saturate writes to a stream until it fails.
func saturate(s *Stream) {
	for buf := make([]byte, 64<<10); ; {
		if _, err := s.Write(buf); err != nil {
			return
		}
	}
}

// swallow reads a stream until it fails and counts.
func swallow(s *Stream, got *atomic.Int64) {
	for buf := make([]byte, 64<<10); ; {
		n, err := s.Read(buf)
		got.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// A short question and its answer on an interactive stream hardly notice a bulk stream that fills the path.
func TestPriorityInteractiveBesideBulk(t *testing.T) {
	for name, loss := range map[string]float64{"no loss": 0, "1 % loss": 0.01} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, simModel{delay: 20 * time.Millisecond, rate: 10e6, queue: 100e3, loss: loss}, func(t *testing.T, p *muxPair) {
				echo := p.open(p.a, "echo")
				echo.Write([]byte("x"))
				r := p.accept(p.b)
				go io.Copy(struct{ io.Writer }{r}, r)
				p.wantRead(echo, "x")
				measure := func() (took []time.Duration) {
					buf := make([]byte, 100)
					for range 300 {
						pass(25 * time.Millisecond)
						start := time.Now()
						echo.Write(buf)
						if _, err := io.ReadFull(echo, buf); err != nil {
							t.Fatal(err)
						}
						took = append(took, time.Since(start))
					}
					slices.Sort(took)
					return took
				}
				echo.SetPriority(PriorityInteractive)
				r.SetPriority(PriorityInteractive)
				alone := measure()
				bulk := p.open(p.a, "bulk")
				bulk.SetPriority(PriorityBulk)
				var got atomic.Int64
				go saturate(bulk)
				go swallow(p.accept(p.b), &got)
				pass(3 * time.Second)
				start, from := time.Now(), got.Load()
				beside := measure()
				rate := float64(got.Load()-from) * 8 / time.Since(start).Seconds()
				added := beside[len(beside)*95/100] - alone[len(alone)/2]
				p.stop()
				if added > 20*time.Millisecond || rate < 9e6 {
					t.Errorf("the interactive stream waits %v longer; bulk gets %.2f Mbit/s", added, rate/1e6)
				}
				t.Logf("round trip alone p50 %v p95 %v, beside bulk p50 %v p95 %v p99 %v: %v more; bulk gets %.2f Mbit/s, queue %v", alone[150], alone[285], beside[150],
					beside[285], beside[297], added, rate/1e6, p.ab.maxQueue)
			})
		})
	}
}

// Of a path that higher streams would fill alone, a lower one keeps a sixteenth.
func TestPriorityShare(t *testing.T) {
	for _, levels := range [][2]Priority{{PriorityInteractive, PriorityBulk}, {PriorityInteractive, PriorityNormal}, {PriorityNormal, PriorityBulk}} {
		t.Run(levels[0].String()+" over "+levels[1].String(), func(t *testing.T) {
			inBubble(t, simModel{delay: 20 * time.Millisecond, rate: 20e6, queue: 100e3}, func(t *testing.T, p *muxPair) {
				var got [2]atomic.Int64
				for i, level := range []Priority{levels[1], levels[0]} { // the lower one is first
					s := p.open(p.a, level.String())
					s.SetPriority(level)
					go saturate(s)
					go swallow(p.accept(p.b), &got[i])
					pass(time.Second)
				}
				got[0].Store(0)
				got[1].Store(0)
				pass(5 * time.Second)
				low, high := got[0].Load(), got[1].Load()
				share := float64(low) / float64(low+high)
				t.Logf("%.1f Mbit/s and %.1f Mbit/s: %.4f", float64(high)*8/5e6, float64(low)*8/5e6, share)
				if share < 0.05 || share > 0.075 || float64(low+high)*8/5 < 17e6 {
					t.Errorf("the lower stream has %.4f of %d bytes, want 1/17", share, low+high)
				}
			})
		})
	}
}

// Streams of one priority share evenly, by bytes, whatever portions they are written in.
func TestPriorityFairByBytes(t *testing.T) {
	inBubble(t, simModel{delay: 20 * time.Millisecond, rate: 50e6, queue: 200e3}, func(t *testing.T, p *muxPair) {
		var got [4]atomic.Int64
		for i, portion := range []int{40, 700, 5000, 64 << 10} {
			s := p.open(p.a, "k")
			go func() {
				for buf := make([]byte, portion); ; {
					if _, err := s.Write(buf); err != nil {
						return
					}
				}
			}()
			go swallow(p.accept(p.b), &got[i])
		}
		pass(2 * time.Second)
		var before [4]int64
		for i := range got {
			before[i] = got[i].Load()
		}
		pass(3 * time.Second)
		p.stop() // or the writers of 40 bytes never end
		for i := range got {
			rate := float64(got[i].Load()-before[i]) * 8 / 3
			t.Logf("stream %d: %.2f Mbit/s", i, rate/1e6)
			if rate < 0.9*46e6/4 || rate > 1.1*46e6/4 {
				t.Errorf("stream %d gets %.2f Mbit/s of 46", i, rate/1e6)
			}
		}
	})
}

// A stream keeps its data and its order when its priority changes in the middle, and no priority is worse than a strange one.
func TestPriorityChanges(t *testing.T) {
	inBubble(t, simModel{delay: 10 * time.Millisecond, rate: 20e6, queue: 100e3, loss: 0.02}, func(t *testing.T, p *muxPair) {
		const size = 4 << 20
		s := p.open(p.a, "k")
		go func() {
			src := pattern(1, size)
			for i := 0; ; i++ {
				s.SetPriority(Priority(i % 5))
				if n, _ := io.CopyN(s, src, 50<<10); n == 0 {
					break
				}
			}
			s.CloseWrite()
		}()
		got, err := io.ReadAll(p.accept(p.b))
		want, _ := io.ReadAll(pattern(1, size))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes arrived, %v", len(got), err)
		}
		p.do(func() {
			for i := range p.a.levels {
				if l := &p.a.levels[i]; l.handed != 0 || l.waiting() {
					t.Errorf("level %d has %d bytes left", i, l.handed)
				}
			}
		})
	})
}
