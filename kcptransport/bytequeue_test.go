package kcptransport

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestByteQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q byteQueue
		var model []byte
		next := byte(0)
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				p := make([]byte, rapid.IntRange(0, 5*queueChunk).Draw(t, "size"))
				for i := range p {
					p[i] = next
					next += 7
				}
				q.write(p)
				model = append(model, p...)
			},
			"read": func(t *rapid.T) {
				p := make([]byte, rapid.IntRange(0, 6*queueChunk).Draw(t, "size"))
				n := q.readInto(p)
				if n != min(len(p), len(model)) || !bytes.Equal(p[:n], model[:n]) {
					t.Fatalf("read %d of %d", n, len(model))
				}
				model = model[n:]
			},
			"reset": func(*rapid.T) {
				q.reset()
				model = nil
			},
			"": func(t *rapid.T) {
				if q.len() != len(model) {
					t.Fatalf("%d bytes, want %d", q.len(), len(model))
				}
				if q.len() == 0 && len(q.chunks) != 0 {
					t.Fatal("an empty queue holds memory")
				}
			},
		})
	})
}
