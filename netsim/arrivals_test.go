package netsim

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Whatever is added and removed when, late or not, packets arrive by time, and at
// one instant in the order in which they were added.
func TestArrivals(t *testing.T) {
	type entry struct {
		at   int64
		p    *packet
		pipe *pipe
	}
	r := rand.New(rand.NewPCG(1, 1))
	var a arrivals
	var want []entry // a stable sort of what is there
	now, late, pipes, last := int64(0), 0, make([]*pipe, 9), map[*pipe]int64{}
	for i := range pipes {
		pipes[i] = &pipe{}
	}
	for range 3000 {
		if r.IntN(2) == 0 {
			l := pipes[r.IntN(len(pipes))]
			e := entry{now + int64(r.IntN(20)), &packet{dst: addrPort("1.0.0.1:1")}, l}
			if r.IntN(5) == 0 {
				late++
				a.addLate(e.at, e.p, l)
			} else {
				e.at = max(e.at, last[l])
				last[l] = e.at
				a.add(e.at, e.p, l)
			}
			want = append(want, e)
			slices.SortStableFunc(want, func(a, b entry) int { return int(a.at - b.at) })
		} else if len(want) > 0 {
			if a.due() != want[0].at {
				t.Fatalf("%d is due, want %d", a.due(), want[0].at)
			}
			if p, l := a.next(); p != want[0].p || l != want[0].pipe {
				t.Fatal("another packet arrives")
			}
			now, want = want[0].at, want[1:]
		}
		if a.packets != len(want) || len(a.heap) > len(pipes)+late || (len(want) == 0) != (a.due() == never) {
			t.Fatalf("%d packets in %d pipes, want %d", a.packets, len(a.heap), len(want))
		}
	}
}
