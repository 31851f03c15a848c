package api

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func numbers(es []*envelope) (out []uint64) {
	for _, e := range es {
		out = append(out, e.Number)
	}
	return out
}

// Whatever order copies arrive in, each broadcast after the first is delivered
// once and in order.
func TestBroadcastOrderProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const n = 40
		var arrivals []uint64
		for i := uint64(2); i <= n; i++ {
			for range rapid.IntRange(1, 3).Draw(t, "copies") {
				arrivals = append(arrivals, i)
			}
		}
		arrivals = append([]uint64{1}, rapid.Permutation(arrivals).Draw(t, "order")...)
		var b broadcastOrder
		var got []uint64
		fresh := 0
		for _, i := range arrivals {
			ready, news := b.add(time.Time{}, origin{boot: 1}, &envelope{Number: i, Payload: []byte{1}})
			got = append(got, numbers(ready)...)
			if news {
				fresh++
			}
		}
		if fresh != n || len(got) != n || !slices.IsSorted(got) {
			t.Fatalf("delivered %v, %d of them new", got, fresh)
		}
		if b.held != 0 {
			t.Fatalf("%d bytes still counted as held", b.held)
		}
	})
}

func TestBroadcastOrderGivesUpOnGap(t *testing.T) {
	var b broadcastOrder
	start := time.Unix(1000, 0)
	o := origin{boot: 1}
	b.add(start, o, &envelope{Number: 1})
	if ready, _ := b.add(start, o, &envelope{Number: 3}); len(ready) != 0 {
		t.Fatalf("delivered %v before 2", numbers(ready))
	}
	if ready, next := b.expire(start.Add(holdFor - 1)); len(ready) != 0 || !next.Equal(start.Add(holdFor)) {
		t.Fatalf("before the time: %v, next %v", numbers(ready), next)
	}
	if ready, next := b.expire(start.Add(holdFor)); !slices.Equal(numbers(ready), []uint64{3}) || !next.IsZero() {
		t.Fatalf("at the time: %v, next %v", numbers(ready), next)
	}
	if _, fresh := b.add(start, o, &envelope{Number: 2}); fresh {
		t.Error("the missing one was taken in after it was given up")
	}
}

func TestBroadcastOrderBounds(t *testing.T) {
	var b broadcastOrder
	for i := range uint64(maxOrigins + 10) {
		b.add(time.Unix(int64(i), 0), origin{peer: [32]byte{byte(i), byte(i >> 8)}}, &envelope{Number: 1})
	}
	if len(b.origins) != maxOrigins {
		t.Errorf("%d authors remembered, want %d", len(b.origins), maxOrigins)
	}
	o := origin{boot: 1 << 60}
	b.add(time.Unix(1e6, 0), o, &envelope{Number: 1})
	big := make([]byte, 1<<20)
	for i := range uint64(20) {
		b.add(time.Unix(1e6, 0), o, &envelope{Number: 10 + 2*i, Payload: big})
	}
	if b.held > maxHeldSum {
		t.Errorf("%d bytes held, at most %d are allowed", b.held, maxHeldSum)
	}
}

// One author cannot make us forget what others have said already, whatever it signs.
func TestBroadcastOrderAuthorFillsOnlyItsShare(t *testing.T) {
	var b broadcastOrder
	now := time.Unix(1000, 0)
	victim := origin{peer: [32]byte{1}, boot: 1}
	b.add(now, victim, &envelope{Number: 1})
	for i := range uint64(2 * maxOrigins) {
		now = now.Add(time.Millisecond)
		b.add(now, origin{peer: [32]byte{2}, boot: i}, &envelope{Number: 2, Payload: []byte("x")})
		b.add(now, origin{peer: [32]byte{2}, boot: i}, &envelope{Number: 4, Payload: []byte("held")})
	}
	if ready, fresh := b.add(now, victim, &envelope{Number: 1}); fresh || len(ready) != 0 {
		t.Error("a broadcast was delivered twice")
	}
	if len(b.origins) != 1+maxBoots || b.held != maxBoots*len("held") {
		t.Errorf("%d origins with %d bytes", len(b.origins), b.held)
	}
}
