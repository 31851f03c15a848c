package punch

import (
	"encoding/binary"
	"math"
	"time"
)

// A hint is what one side tells the other of its NAT inside the handshake: items of 6 bytes, see docs/wire.md.
//
//	+----+------------+---------------+
//	| id | confidence | value         |   confidence in per cent, value big-endian
//	+----+------------+---------------+
const (
	hintItem = 6
	maxHint  = 64

	hintMapping   = 1
	hintFiltering = 2
	hintPorts     = 3
	hintStep      = 4
	hintBlock     = 5
	hintAddresses = 6
	hintLifetime  = 7
	hintHairpin   = 8
)

// Hint encodes what is known, in at most 48 bytes. Confidences are rounded to per cents, lifetimes to seconds. It may
// serve as kcptransport.Config.Hint.
func (n NAT) Hint() (b []byte) {
	item := func(id byte, confidence float64, value uint32) {
		if percent := min(99, math.Round(100*confidence)); percent >= 1 {
			b = binary.BigEndian.AppendUint32(append(b, id, byte(percent)), value)
		}
	}
	seconds := func(m Millis) uint32 {
		return uint32(min(65535, max(0, m.Duration()/time.Second)))
	}
	item(hintMapping, n.Mapping.Confidence, uint32(n.Mapping.Is))
	item(hintFiltering, n.Filtering.Confidence, uint32(n.Filtering.Is))
	item(hintPorts, n.Ports.Confidence, uint32(n.Ports.Is))
	item(hintStep, n.Step.Confidence, uint32(int32(n.Step.Is)))
	item(hintBlock, n.Block.Confidence, uint32(n.Block.Is.First)<<16|uint32(n.Block.Is.Last))
	item(hintAddresses, n.Addresses.Confidence, uint32(min(65535, max(0, n.Addresses.Is))))
	item(hintLifetime, n.Lifetime.Confidence, seconds(n.Lifetime.Is.Min)<<16|seconds(n.Lifetime.Is.Max))
	turned := uint32(0)
	if n.Hairpin.Is {
		turned = 1
	}
	item(hintHairpin, n.Hairpin.Confidence, turned)
	return b
}

// ParseNAT reads a peer's hint. What it does not understand, and what makes no sense, is as if it were not there.
func ParseNAT(hint []byte) (n NAT) {
	if len(hint) > maxHint {
		return n
	}
	var seen [hintHairpin + 1]bool
	for ; len(hint) >= hintItem; hint = hint[hintItem:] {
		id, percent := hint[0], hint[1]
		if id == 0 || id > hintHairpin || seen[id] || percent < 1 || percent > 99 {
			continue
		}
		seen[id] = true
		n.take(id, float64(percent)/100, binary.BigEndian.Uint32(hint[2:]))
	}
	return n
}

// take enters one item if its value is in range.
func (n *NAT) take(id byte, confidence float64, v uint32) {
	high, low := uint16(v>>16), uint16(v)
	switch step := int32(v); {
	case id == hintMapping && v >= 1 && v <= uint32(AddressAndPortDependent):
		n.Mapping = Belief[Behaviour]{Behaviour(v), confidence}
	case id == hintFiltering && v >= uint32(EndpointIndependent) && v <= uint32(AddressAndPortDependent):
		n.Filtering = Belief[Behaviour]{Behaviour(v), confidence}
	case id == hintPorts && v >= 1 && v <= uint32(PortsParityKept):
		n.Ports = Belief[Ports]{Ports(v), confidence}
	case id == hintStep && step != 0 && step >= math.MinInt16 && step <= math.MaxInt16:
		n.Step = Belief[int]{int(step), confidence}
	case id == hintBlock && high >= 1 && high <= low:
		n.Block = Belief[PortRange]{PortRange{high, low}, confidence}
	case id == hintAddresses && v >= 1 && v <= 65535:
		n.Addresses = Belief[int]{int(v), confidence}
	case id == hintLifetime && v != 0 && (low == 0 || high <= low):
		n.Lifetime = Belief[Lifetime]{Lifetime{Millis(time.Duration(high) * time.Second), Millis(time.Duration(low) * time.Second)}, confidence}
	case id == hintHairpin && v <= 1:
		n.Hairpin = Belief[bool]{v == 1, confidence}
	}
}
