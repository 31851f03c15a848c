package netsim

import "testing"

func TestPacketQueue(t *testing.T) {
	n := &Network{}
	var q packetQueue
	for round := range 3 {
		for i := range 5 {
			p := n.newPacket(make([]byte, i))
			p.src, p.dst = addrPort("1.0.0.1:1"), addrPort("1.0.0.2:2")
			q.push(p)
		}
		if q.bytes != 0+1+2+3+4+5*headers4 {
			t.Errorf("%d bytes in round %d", q.bytes, round)
		}
		for i := range 5 {
			p := q.pop()
			if len(p.data) != i || p.next != nil {
				t.Fatalf("%d bytes instead of %d", len(p.data), i)
			}
			n.recycle(p)
		}
		if !q.empty() || q.bytes != 0 {
			t.Errorf("%d bytes are left", q.bytes)
		}
	}
	pooled := 0
	for p := n.free; p != nil; p = p.next {
		pooled++
	}
	if pooled != 5 {
		t.Errorf("%d packets in the pool, 5 were in use at a time", pooled)
	}
	for range 2 * maxPooled {
		q.push(n.newPacket(nil))
	}
	for !q.empty() {
		n.recycle(q.pop())
	}
	for pooled = 0; n.free != nil; pooled++ {
		n.newPacket(nil)
	}
	if pooled != maxPooled || n.pooled != 0 {
		t.Errorf("%d packets in the pool, %d at most, and %d when it is empty", pooled, maxPooled, n.pooled)
	}
}

func TestPacketSize(t *testing.T) {
	for dst, want := range map[string]int{"1.0.0.1:1": 128, "[2001:db8::1]:1": 148} {
		if got := (&packet{dst: addrPort(dst), data: make([]byte, 100)}).size(); got != want {
			t.Errorf("100 bytes to %s take up %d, want %d", dst, got, want)
		}
	}
}
