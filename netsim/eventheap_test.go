package netsim

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestEventHeap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var h eventHeap
	if h.due() != never {
		t.Error("something is due in an empty heap")
	}
	var got, want []event
	for i := range 2000 {
		e := event{at: int64(r.IntN(100)), order: uint64(i)}
		h.push(e)
		want = append(want, e)
	}
	for len(h) > 0 {
		if h.due() != h[0].at {
			t.Fatal("the first one is not what is due")
		}
		got = append(got, h.pop())
	}
	slices.SortStableFunc(want, func(a, b event) int { return int(a.at - b.at) })
	if !slices.Equal(got, want) {
		t.Error("events come out of order")
	}
}
