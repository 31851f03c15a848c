package netsim

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// taker takes ports of one outside address, each for another inside socket.
type taker struct {
	*table
	random *rand.Rand
}

func newTaker(n NAT) *taker {
	return &taker{newTable(n), rand.New(rand.NewPCG(1, 2))}
}

// take returns the outside port for an inside address and port, 0 when there is none.
func (k *taker) take(host netip.Addr, port uint16) uint16 {
	inside := netip.AddrPortFrom(host, port)
	key := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, byte(len(k.byKey) >> 8), byte(len(k.byKey))}), port)
	remote := addrPort("2.0.0.1:1")
	m := k.outbound(0, key, remote, func() (netip.AddrPort, bool) {
		return k.choose(0, addr("1.0.0.1"), inside, remote, k.random.IntN)
	})
	if m == nil {
		return 0
	}
	return m.claim.outside.Port()
}

func TestPreservedPorts(t *testing.T) {
	k := newTaker(NAT{})
	for _, tt := range []struct{ port, want uint16 }{
		{7337, 7337}, {7337, 7338}, {7337, 7339}, {65535, 65535}, {65535, 1024}, {53, 53}, {53, 1025}, {1024, 1026},
	} {
		if got := k.take(addr("10.0.0.1"), tt.port); got != tt.want {
			t.Errorf("port %d is mapped to %d, want %d", tt.port, got, tt.want)
		}
	}
}

// RFC 4787, section 4.2.2.
func TestParityOfPorts(t *testing.T) {
	k, seen := newTaker(NAT{Ports: ParityPorts}), map[uint16]bool{}
	for i := range 1000 {
		port := uint16(5000 + i%2)
		got := k.take(addr("10.0.0.1"), port)
		if got%2 != port%2 || got < firstNATPort || seen[got] {
			t.Fatalf("port %d is mapped to %d", port, got)
		}
		seen[got] = true
	}
}

func TestSequentialPorts(t *testing.T) {
	for _, step := range []int{0, 1, 2, 7} {
		k := newTaker(NAT{Ports: SequentialPorts, Step: step})
		want := k.take(addr("10.0.0.1"), 5000)
		for range 200 {
			want = firstNATPort + (want-firstNATPort+uint16(max(step, 1)))%natPorts
			if got := k.take(addr("10.0.0.2"), 7000); got != want {
				t.Fatalf("step %d: mapped to %d, want %d", step, got, want)
			}
		}
	}
	// What is in use is left out, and the end is followed by the beginning.
	k := newTaker(NAT{Ports: SequentialPorts})
	k.ports.last = 65534
	for _, want := range []uint16{65535, 1024, 1025} {
		if got := k.take(addr("10.0.0.1"), 5000); got != want {
			t.Errorf("mapped to %d, want %d", got, want)
		}
	}
	k.ports.last = 65534
	if got := k.take(addr("10.0.0.1"), 5000); got != 1026 {
		t.Errorf("mapped to %d, want the first free one, 1026", got)
	}
}

// Each inside address has a block of its own, and nothing when that is used up.
func TestBlocksOfPorts(t *testing.T) {
	const size = 256
	k := newTaker(NAT{Ports: BlockPorts, Block: size})
	for host := range 3 {
		inside := netip.AddrFrom4([4]byte{10, 0, 0, byte(host)})
		for range size {
			got := int(k.take(inside, 5000))
			if block := (got - firstNATPort) / size; block != host {
				t.Fatalf("host %d got port %d of block %d", host, got, block)
			}
		}
		if got := k.take(inside, 5000); got != 0 {
			t.Errorf("host %d got port %d beyond its block", host, got)
		}
	}
	k = newTaker(NAT{Ports: BlockPorts, Block: natPorts/2 - 1})
	for host, want := range []bool{true, true, false} {
		if got := k.take(netip.AddrFrom4([4]byte{10, 0, 0, byte(host)}), 1) != 0; got != want {
			t.Errorf("host %d got a block: %v", host, got)
		}
	}
}

// However a NAT chooses, no two mappings that live have the same claim, and each
// way back leads to who made it.
func TestMappingsDoNotCollide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := NAT{
			Mapping: Behaviour(rapid.IntRange(0, 2).Draw(t, "mapping")), Filtering: Behaviour(rapid.IntRange(0, 2).Draw(t, "filtering")),
			Ports: PortAllocation(rapid.IntRange(0, 4).Draw(t, "ports")), Step: rapid.IntRange(0, 9).Draw(t, "step"),
			Block: rapid.SampledFrom([]int{0, 4, 300}).Draw(t, "block"), Timeout: 50, Unanswered: rapid.SampledFrom([]time.Duration{0, 20}).Draw(t, "unanswered"),
			Refresh: Refresh(rapid.IntRange(0, 2).Draw(t, "refresh")),
		}
		if rapid.Bool().Draw(t, "overload") {
			n.Mapping, n.Filtering, n.Overload = AddressAndPortDependent, AddressAndPortDependent, true
			n.TakesUnsolicited = rapid.Bool().Draw(t, "takes unsolicited")
		}
		checkTable(t, newTable(n))
	})
}

// checkTable sends packets in both directions and checks each.
func checkTable(t *rapid.T, tab *table) {
	random := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "seed")))
	at := int64(0)
	seen := map[claim]*mapping{}
	end := func(label string, hosts int) netip.AddrPort {
		host, port := rapid.IntRange(1, hosts).Draw(t, label), rapid.IntRange(2000, 2002).Draw(t, label+" port")
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(host)}), uint16(port))
	}
	for range rapid.IntRange(1, 60).Draw(t, "packets") {
		at += int64(rapid.IntRange(0, 30).Draw(t, "pause"))
		remote := end("remote", 3)
		if rapid.Bool().Draw(t, "in") {
			outside := netip.AddrPortFrom(addr("1.0.0.1"), uint16(rapid.IntRange(2000, 2004).Draw(t, "outside")))
			m, _ := tab.inbound(at, outside, remote)
			if m != nil && (m.router || m.claim != tab.claim(outside, remote) || m.key.remote != tab.Mapping.cut(remote) && tab.Filtering >= tab.Mapping) {
				t.Fatalf("%v to %v is let in by %+v", remote, outside, m)
			}
			continue
		}
		inside := end("inside", 3)
		m := tab.outbound(at, inside, remote, func() (netip.AddrPort, bool) {
			return tab.choose(at, addr("1.0.0.1"), inside, remote, random.IntN)
		})
		if m == nil {
			if tab.Ports != BlockPorts {
				t.Fatalf("no mapping for %v to %v", inside, remote)
			}
			continue
		}
		if old := seen[m.claim]; old != nil && old != m && !tab.over(at, old) && tab.byKey[old.key] == old {
			t.Fatalf("%+v has the claim of %+v", m, old)
		}
		seen[m.claim] = m
		if back := tab.byClaim[tab.claim(m.claim.outside, remote)]; back != m || m.key.inside != inside {
			t.Fatalf("the way back from %v leads to %+v, not %v", remote, back, inside)
		}
	}
	if len(tab.byKey) != len(tab.byClaim) {
		t.Fatalf("%d mappings with %d claims", len(tab.byKey), len(tab.byClaim))
	}
}
