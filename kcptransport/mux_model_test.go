package kcptransport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// sentMessage is one message of the model, and what its sender does besides.
type sentMessage struct {
	size     int
	pause    time.Duration // before it
	priority Priority
}

// Whatever the path loses, repeats and reorders, however short of memory the receiver is, whether or not the streams rest in
// between, and whatever their priorities: every message of every stream arrives once, whole and in its order.
func TestMuxModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		model := simModel{
			rate:  float64(rapid.IntRange(1, 100).Draw(r, "Mbit/s")) * 1e6,
			delay: time.Duration(rapid.IntRange(0, 100).Draw(r, "delay")) * time.Millisecond, jitter: time.Duration(rapid.IntRange(0, 50).Draw(r, "jitter")) * time.Millisecond,
			loss: rapid.Float64Range(0, 0.25).Draw(r, "loss"), duplicate: rapid.Float64Range(0, 0.3).Draw(r, "duplicate"),
			queue: rapid.IntRange(20, 500).Draw(r, "queue") << 10,
		}
		message := rapid.Custom(func(r *rapid.T) sentMessage {
			return sentMessage{
				size:     rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 20<<10)).Draw(r, "size"),
				pause:    time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 30, 7000}).Draw(r, "pause")) * time.Millisecond,
				priority: Priority(rapid.IntRange(0, 3).Draw(r, "priority")),
			}
		})
		streams := rapid.SliceOfN(rapid.SliceOfN(message, 0, 20), 1, 5).Draw(r, "streams")
		pool := &memoryPool{limit: rapid.IntRange(1, 32).Draw(r, "memory") << 20}
		movesAt := time.Duration(rapid.IntRange(0, 2000).Draw(r, "path changes")) * time.Millisecond
		synctest.Test(t, func(t *testing.T) {
			p := newMuxPair(t, model, withMemory(pool))
			defer p.stop()
			var wg sync.WaitGroup
			var from, to []*Stream
			for i := range streams { // all at first, or one might be refused for want of memory
				from, to = append(from, p.open(p.a, fmt.Sprint(i))), append(to, p.accept(p.b))
			}
			for i, messages := range streams {
				wg.Go(func() { sendMessages(t, from[i], messages) })
				wg.Go(func() { wantMessages(t, to[i], messages) })
			}
			time.Sleep(movesAt)
			p.do(func() {
				p.a.pathChanged(time.Now(), false)
				p.b.pathChanged(time.Now(), false)
			})
			p.wake()
			wg.Wait()
			p.wantIdle()
			p.wantStreams(0)
			p.stop()
			if n := pool.used.Load(); n != 0 {
				t.Errorf("%d bytes of memory are still counted", n)
			}
		})
		if t.Failed() {
			r.Fatal("see above")
		}
	})
}

// sendMessages writes messages, each with its length and number in front and filled with its number.
func sendMessages(t *testing.T, s *Stream, messages []sentMessage) {
	for n, m := range messages {
		time.Sleep(m.pause)
		s.SetPriority(m.priority)
		b := make([]byte, 8+m.size)
		binary.BigEndian.PutUint32(b, uint32(m.size))
		binary.BigEndian.PutUint32(b[4:], uint32(n))
		for i := range m.size {
			b[8+i] = byte(n)
		}
		if _, err := s.Write(b); err != nil {
			t.Error(err)
		}
	}
	s.Close()
}

func wantMessages(t *testing.T, s *Stream, messages []sentMessage) {
	defer s.Close()
	for n, m := range messages {
		b := make([]byte, 8+m.size)
		if _, err := io.ReadFull(s, b); err != nil {
			t.Errorf("message %d of stream %s: %v", n, s.Kind(), err)
			return
		}
		ok := binary.BigEndian.Uint32(b) == uint32(m.size) && binary.BigEndian.Uint32(b[4:]) == uint32(n)
		for _, c := range b[8:] {
			ok = ok && c == byte(n)
		}
		if !ok {
			t.Errorf("message %d of stream %s is another one: %x", n, s.Kind(), b[:8])
			return
		}
	}
	if n, err := s.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after the last message: %d bytes, %v", n, err)
	}
}
