package netsim

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestMappingTimeoutAndRebind(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h, r := w.behind("a", "1.0.0.1", NAT{Timeout: 30 * time.Second})
		a := w.listen(h, 5000)
		s := w.listen(w.public("s", "2.0.0.1", Link{}), 1)
		w.send(a, "2.0.0.1:1", "x")
		seen := w.wantPacket(s, "x")
		time.Sleep(29 * time.Second)
		w.send(s, seen.String(), "in time") // inbound packets refresh nothing
		w.wantPacket(a, "in time")
		time.Sleep(2 * time.Second)
		w.send(s, seen.String(), "too late")
		w.wantNothing(a)
		w.wantDrops(DropNoMapping, 1)
		w.send(a, "2.0.0.1:1", "y")
		if again := w.wantPacket(s, "y"); again != seen {
			t.Errorf("mapped to %v, then to %v: the port is free again", seen, again)
		}
		r.Rebind()
		w.send(a, "2.0.0.1:1", "z")
		if again := w.wantPacket(s, "z"); again == seen {
			t.Error("the same mapping after a rebinding")
		}
	})
}

func TestPortCollision(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h1, _ := w.behind("a", "1.0.0.1", NAT{})
		h2 := w.NewHost("a2", h1.port.segment, Link{}, addr("192.168.1.3"))
		s := w.listen(w.public("s", "2.0.0.1", Link{}), 1)
		w.send(w.listen(h1, 5000), "2.0.0.1:1", "x")
		w.send(w.listen(h2, 5000), "2.0.0.1:1", "x")
		p := []uint16{w.wantPacket(s, "x").Port(), w.wantPacket(s, "x").Port()}
		slices.Sort(p)
		if !slices.Equal(p, []uint16{5000, 5001}) {
			t.Errorf("outside ports %v", p)
		}
	})
}

// RFC 4787, section 4.3: packets from inside keep a mapping alive, however few
// at a time; the right to answer runs out for each peer by itself.
func TestMappingRefresh(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h, _ := w.behind("a", "1.0.0.1", NAT{Filtering: AddressAndPortDependent, Timeout: 30 * time.Second})
		a := w.listen(h, 5000)
		s1, s2 := w.listen(w.public("s1", "2.0.0.1", Link{}), 1), w.listen(w.public("s2", "2.0.0.2", Link{}), 1)
		w.send(a, "2.0.0.2:1", "once")
		w.wantPacket(s2, "once")
		for range 10 {
			w.send(a, "2.0.0.1:1", "again")
			if seen := w.wantPacket(s1, "again"); seen.String() != "1.0.0.1:5000" {
				t.Fatalf("seen as %v", seen)
			}
			time.Sleep(25 * time.Second)
		}
		w.send(s1, "1.0.0.1:5000", "alive")
		w.wantPacket(a, "alive")
		w.send(s2, "1.0.0.1:5000", "forgotten")
		w.wantNothing(a)
		w.wantDrops(DropFiltered, 1)
	})
}

func inside(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 5000)
}

func allocator(t *table, at int64, port uint16) func() (netip.AddrPort, bool) {
	r := rand.New(rand.NewPCG(1, uint64(port)))
	return func() (netip.AddrPort, bool) {
		return t.choose(at, addr("1.0.0.1"), netip.AddrPortFrom(addr("10.0.0.1"), port), netip.AddrPort{}, r.IntN)
	}
}

func TestNATRunsOutOfPorts(t *testing.T) {
	for _, ports := range []PortAllocation{PreservePorts, RandomPorts} {
		tab := newTable(NAT{Ports: ports})
		remote, free := addrPort("2.0.0.1:1"), map[uint16]bool{1024: true, 5000: true, 65535: true}
		for i := range lastNATPort - firstNATPort + 1 {
			if port := uint16(firstNATPort + i); !free[port] {
				m := &mapping{key: mappingKey{inside: inside(i)}, claim: claim{outside: netip.AddrPortFrom(addr("1.0.0.1"), port)}}
				tab.byKey[m.key], tab.byClaim[m.claim] = m, m
			}
		}
		for i := range 3 {
			m := tab.outbound(0, inside(1<<17+i), remote, allocator(tab, 0, 7337))
			if m == nil || !free[m.claim.outside.Port()] {
				t.Fatalf("mapping %d is %+v", i, m)
			}
			delete(free, m.claim.outside.Port())
		}
		if m := tab.outbound(0, inside(1<<18), remote, allocator(tab, 0, 7337)); m != nil {
			t.Errorf("one more: %+v", m)
		}
		// Later the old ones make room.
		later := int64(time.Hour)
		if m := tab.outbound(later, inside(1<<18), remote, allocator(tab, later, 7337)); m == nil {
			t.Error("no room after an hour")
		}
	}
}

// A table that is full makes room as soon as it can, and not before.
func TestTablesAreBounded(t *testing.T) {
	tab := newTable(NAT{Filtering: AddressAndPortDependent, Timeout: time.Second})
	next := uint16(0)
	unlimited := func() (netip.AddrPort, bool) {
		next++
		return netip.AddrPortFrom(inside(len(tab.byKey)).Addr(), next), true
	}
	remote := addrPort("2.0.0.1:1")
	for i := range maxMappings {
		if tab.outbound(0, inside(i), remote, unlimited) == nil {
			t.Fatalf("full after %d", i)
		}
	}
	late, over := int64(time.Second), int64(time.Second)+1
	if tab.outbound(late, inside(1<<20), remote, unlimited) != nil {
		t.Error("more than the limit")
	}
	if m := tab.outbound(over, inside(1<<20), remote, unlimited); m == nil || len(tab.byKey) != 1 {
		t.Errorf("%v, one of %d", m, len(tab.byKey))
	}

	m := tab.byKey[mappingKey{inside: inside(1 << 20)}]
	for i := range maxMappings + 10 {
		tab.admit(over, m, inside(i))
	}
	if len(m.peers) > maxMappings {
		t.Errorf("%d may answer", len(m.peers))
	}
	tab.admit(over+over, m, inside(1<<21))
	if len(m.peers) != 1 {
		t.Errorf("%d may answer when the time of all but one is over", len(m.peers))
	}
}

// What is over is forgotten, without anybody asking for it.
func TestMappingsDoNotAccumulate(t *testing.T) {
	tab := newTable(NAT{Filtering: AddressAndPortDependent, Timeout: time.Second})
	const n = 50_000
	for i := range n {
		at := int64(i) * int64(10*time.Millisecond) // 100 are alive at a time
		tab.outbound(at, inside(i), addrPort("2.0.0.1:1"), allocator(tab, at, 5000))
		tab.outbound(at, inside(n), inside(i), allocator(tab, at, 5000))
	}
	if len(tab.byKey) > 2*firstSweep || len(tab.byClaim) != len(tab.byKey) {
		t.Errorf("%d mappings, %d outside addresses", len(tab.byKey), len(tab.byClaim))
	}
	if m := tab.byKey[mappingKey{inside: inside(n)}]; len(m.peers) > 2*firstSweep {
		t.Errorf("%d peers of one mapping", len(m.peers))
	}
}
