package kcptransport

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// Whatever the path does and in whatever portions the ends write and read, each reads what the other wrote, and its end.
func TestStreamModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		model := simModel{
			rate:  float64(rapid.IntRange(0, 200).Draw(r, "Mbit/s")) * 1e6,
			delay: time.Duration(rapid.IntRange(0, 100).Draw(r, "delay")) * time.Millisecond, jitter: time.Duration(rapid.IntRange(0, 30).Draw(r, "jitter")) * time.Millisecond,
			loss: rapid.Float64Range(0, 0.25).Draw(r, "loss"), duplicate: rapid.Float64Range(0, 0.2).Draw(r, "duplicate"),
			queue: rapid.IntRange(20, 1000).Draw(r, "queue") << 10,
		}
		sizes := rapid.SliceOfN(rapid.IntRange(0, 60<<10), 0, 12)
		writes := [2][]int{sizes.Draw(r, "writes of a"), sizes.Draw(r, "writes of b")}
		portion := [2]int{rapid.IntRange(1, 5000).Draw(r, "reads of a"), rapid.IntRange(1, 5000).Draw(r, "reads of b")}
		pause := rapid.IntRange(0, 20).Draw(r, "pause")
		synctest.Test(t, func(t *testing.T) {
			p := newMuxPair(t, model)
			defer p.stop()
			a := p.open(p.a, "k")
			b := p.accept(p.b)
			var wg sync.WaitGroup
			for i, s := range []*Stream{a, b} {
				wg.Go(func() {
					src := pattern(byte(i), 1<<30)
					for n, size := range writes[i] {
						buf := make([]byte, size)
						io.ReadFull(src, buf)
						if _, err := s.Write(buf); err != nil {
							t.Error(err)
						}
						time.Sleep(time.Duration(n*pause) * time.Millisecond)
					}
					s.CloseWrite()
				})
				wg.Go(func() {
					total := 0
					for _, size := range writes[1-i] {
						total += size
					}
					want, _ := io.ReadAll(pattern(byte(1-i), int64(total)))
					var got []byte
					buf := make([]byte, portion[i])
					for {
						n, err := s.Read(buf)
						got = append(got, buf[:n]...)
						if err != nil {
							if !errors.Is(err, io.EOF) || !bytes.Equal(got, want) {
								t.Errorf("read %d bytes of %d: %v", len(got), total, err)
							}
							return
						}
					}
				})
			}
			wg.Wait()
			a.Close()
			b.Close()
			p.wantIdle()
			p.wantStreams(0)
		})
		if t.Failed() {
			r.Fatal("see above")
		}
	})
}
