package netsim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// written is a packet as an outbox gets it.
func written(at int64, host int, src, dst string, seq uint64) *packet {
	return &packet{at: at, origin: &Host{id: host}, src: addrPort(src), dst: addrPort(dst), seq: seq}
}

// Whatever the order of goroutines within an instant, packets are taken in one order.
func TestOutboxOrder(t *testing.T) {
	inOrder := []*packet{
		written(1, 0, "1.0.0.1:9", "9.9.9.9:9", 7),
		written(2, 0, "1.0.0.1:1", "3.0.0.1:1", 9),
		written(2, 0, "1.0.0.1:2", "2.0.0.1:1", 5), // a socket with a higher port
		written(2, 0, "1.0.0.1:2", "2.0.0.1:1", 8), // written after the other one
		written(2, 0, "1.0.0.1:2", "2.0.0.1:2", 1),
		written(2, 1, "1.0.0.0:1", "2.0.0.1:1", 1), // another host
		written(3, 0, "1.0.0.1:1", "2.0.0.1:1", 2),
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		shuffled := slices.Clone(inOrder)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		slices.SortStableFunc(shuffled, func(a, b *packet) int { return int(a.at - b.at) })
		var o outbox
		for _, p := range shuffled {
			o.add(p)
		}
		o.settle(4)
		for i, want := range inOrder {
			if o.due() != want.at+1 || o.take() != want {
				t.Fatalf("packet %d is another one", i)
			}
		}
		if o.waiting() != 0 || o.due() != never {
			t.Fatal("there are more")
		}
	}
}

// What is written now waits for those who still may write at this instant.
func TestOutboxWaitsForTheInstantToEnd(t *testing.T) {
	var o outbox
	a, b, c := written(5, 2, "1.0.0.1:1", "2.0.0.1:1", 1), written(6, 3, "1.0.0.2:1", "2.0.0.1:1", 1), written(6, 1, "1.0.0.3:1", "2.0.0.1:1", 1)
	o.add(a)
	o.add(b)
	o.settle(6)
	if o.take() != a || o.due() != 7 || o.waiting() != 1 {
		t.Fatal("not the one written before")
	}
	o.add(c)
	o.settle(7)
	if o.take() != c || o.take() != b {
		t.Error("not in the order of hosts")
	}
	for i := range 1000 { // a few always wait
		o.add(written(int64(10+i), 0, "1.0.0.1:1", "2.0.0.1:1", uint64(i)))
		o.settle(int64(10 + i))
		if i > 0 && o.take().seq != uint64(i-1) {
			t.Fatal(fmt.Sprint("lost track at ", i))
		}
	}
	if cap(o.packets) > 16 {
		t.Errorf("room for %d packets where one waits", cap(o.packets))
	}
}
