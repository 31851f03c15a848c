package netsim

import (
	"cmp"
	"container/heap"
)

// appointments are the streams that have something to do, by time. Those of one
// instant are in an order that does not depend on who asked first.
type appointments []*TCPConn

// due returns when the next one is, or never.
func (a appointments) due() int64 {
	if len(a) == 0 {
		return never
	}
	return a[0].due
}

// make makes, moves or cancels the appointment of a stream.
func (a *appointments) make(c *TCPConn, due int64) {
	switch {
	case c.place < 0 && due != never:
		c.due = due
		heap.Push(a, c)
	case c.place >= 0 && due == never:
		heap.Remove(a, c.place)
	case c.place >= 0 && due != c.due:
		c.due = due
		heap.Fix(a, c.place)
	}
}

// Len implements heap.Interface.
func (a appointments) Len() int { return len(a) }

// Less implements heap.Interface.
func (a appointments) Less(i, j int) bool {
	x, y := a[i], a[j]
	if x.due != y.due {
		return x.due < y.due
	}
	if x.host != y.host {
		return x.host.id < y.host.id
	}
	return cmp.Or(x.local.Compare(y.local), x.remote.Compare(y.remote)) < 0
}

// Swap implements heap.Interface.
func (a appointments) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i, j
}

// Push implements heap.Interface.
func (a *appointments) Push(x any) {
	c := x.(*TCPConn)
	c.place = len(*a)
	*a = append(*a, c)
}

// Pop implements heap.Interface.
func (a *appointments) Pop() any {
	last := len(*a) - 1
	c := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	c.place = -1
	return c
}
