package kcptransport

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestSegQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q segQueue
		var model [][]byte
		size := 0
		next := byte(0)
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				for range rapid.IntRange(1, 80).Draw(t, "count") {
					next++
					seg := bytes.Repeat([]byte{next}, rapid.IntRange(kcpHeaderLen, kcpMaxSegment).Draw(t, "size"))
					q.push(nil, seg)
					model = append(model, seg)
					size += len(seg)
				}
			},
			"pop": func(t *rapid.T) {
				for range rapid.IntRange(1, 100).Draw(t, "count") {
					if len(model) == 0 {
						return
					}
					if _, got := q.front(); !bytes.Equal(got, model[0]) {
						t.Fatalf("front is %d bytes of %d", len(got), got[0])
					}
					q.pop()
					size -= len(model[0])
					model = model[1:]
				}
			},
			"": func(t *rapid.T) {
				if q.empty() != (len(model) == 0) || q.bytes() != size {
					t.Fatalf("empty %v, %d bytes; want %d items, %d bytes", q.empty(), q.bytes(), len(model), size)
				}
				if q.empty() && len(q.chunks) != 0 {
					t.Fatal("an empty queue holds memory")
				}
			},
		})
	})
}
