package netsim

import (
	"fmt"
	"net/netip"
)

const (
	firstNATPort = 1024
	lastNATPort  = 65535
	natPorts     = lastNATPort - firstNATPort + 1
)

// PortAllocation is how a NAT chooses the outside port of a mapping (RFC 4787,
// section 4.2). All but a port that is kept are from 1024 on.
type PortAllocation uint8

// The ways to choose a port.
const (
	PreservePorts   PortAllocation = iota // the inside port, or the next free one; with Overload any free one
	RandomPorts                           // any free port
	ParityPorts                           // any free port that is even or odd as the inside one is (section 4.2.2)
	SequentialPorts                       // Step after the one given last, or the first free one of those that follow in such steps
	BlockPorts                            // any free port of a block that is set aside for the inside address, as carriers do (RFC 7422)
)

// String returns the way's name.
func (a PortAllocation) String() string {
	switch a {
	case PreservePorts:
		return "preserve"
	case RandomPorts:
		return "random"
	case ParityPorts:
		return "parity"
	case SequentialPorts:
		return "sequential"
	case BlockPorts:
		return "block"
	}
	return fmt.Sprintf("PortAllocation(%d)", uint8(a))
}

// allocation is what a NAT remembers about the ports it gave.
type allocation struct {
	last   int // the one of SequentialPorts, from firstNATPort on; 0: none yet
	blocks map[blockKey]int
	given  map[netip.Addr]int // blocks of each outside address
}

// blockKey says whose block it is, and of which outside address.
type blockKey struct{ inside, outside netip.Addr }

func newAllocation() allocation {
	return allocation{blocks: map[blockKey]int{}, given: map[netip.Addr]int{}}
}

// block returns the number of the block of an inside address, and false when
// there is none left.
func (a *allocation) block(inside, outside netip.Addr, size int) (int, bool) {
	key := blockKey{inside, outside}
	b, ok := a.blocks[key]
	if !ok {
		if b = a.given[outside]; (b+1)*size > natPorts {
			return 0, false
		}
		a.given[outside]++
		a.blocks[key] = b
	}
	return b, true
}

// A walk is an order in which to try ports: count of them, each step after the
// one before, in a range of span ports from low on where the end is followed by
// the beginning.
type walk struct{ low, span, first, step, count int }

func (w walk) port(i int) uint16 { return uint16(w.low + (w.first+i*w.step)%w.span) }

// choose picks a free port on an outside address for an inside one towards a
// destination.
func (t *table) choose(at int64, addr netip.Addr, inside, remote netip.AddrPort, random func(n int) int) (netip.AddrPort, bool) {
	if same := netip.AddrPortFrom(addr, inside.Port()); t.Ports == PreservePorts && t.free(at, same, remote) {
		return same, true
	}
	w, ok := t.walk(addr, inside, random)
	if !ok {
		return netip.AddrPort{}, false
	}
	for i := range w.count {
		if a := netip.AddrPortFrom(addr, w.port(i)); t.free(at, a, remote) {
			t.ports.last = int(a.Port())
			return a, true
		}
	}
	return netip.AddrPort{}, false
}

// walk returns the order in which to try the ports of an outside address.
func (t *table) walk(outside netip.Addr, inside netip.AddrPort, random func(n int) int) (walk, bool) {
	w := walk{low: firstNATPort, span: natPorts, step: 1, count: natPorts}
	switch t.Ports {
	case PreservePorts:
		if t.Overload {
			w.first = random(natPorts)
		} else {
			w.first = max(0, int(inside.Port())-firstNATPort)
		}
	case RandomPorts:
		w.first = random(natPorts)
	case ParityPorts:
		w.first, w.step, w.count = 2*random(natPorts/2)+int(inside.Port()&1), 2, natPorts/2
	case SequentialPorts:
		if t.ports.last == 0 {
			t.ports.last = firstNATPort + random(natPorts)
		}
		w.first, w.step = t.ports.last-firstNATPort+t.Step, t.Step
	case BlockPorts:
		b, ok := t.ports.block(inside.Addr(), outside, t.Block)
		if !ok {
			return walk{}, false
		}
		w = walk{low: firstNATPort + b*t.Block, span: t.Block, first: random(t.Block), step: 1, count: t.Block}
	}
	return w, true
}
