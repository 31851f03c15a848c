package netsim

import (
	"hash/crc32"
	"net/netip"
)

// Sizes of what a datagram travels in, in bytes.
const (
	headers4 = 20 + 8 // IPv4 and UDP
	headers6 = 40 + 8 // IPv6 and UDP
)

const (
	maxDatagram = 65507
	bufferSize  = 2048 // of a pooled packet; larger ones grow theirs
	maxPooled   = 1 << 14
	defaultTTL  = 64
	maxTTL      = 255
)

// A packet is a UDP datagram or TCP segment under way. Packets are pooled by the network.
type packet struct {
	src, dst netip.AddrPort // src is what its socket is bound to until it departs
	data     []byte
	ttl      int
	origin   *Host
	at       int64  // when it was written
	seq      uint64 // counts what its host wrote
	sum      uint32 // of data, for the digest
	tcp      tcpHeader
	extra    int // bytes that the header of TCP has more than that of UDP; 0 is UDP
	next     *packet

	// While it is in a pipe.
	arrives int64
	order   uint64

	held held // while a capture waits for its fate
}

// size is how many bytes the packet takes up on a link.
func (p *packet) size() int {
	if p.dst.Addr().Is4() {
		return len(p.data) + headers4 + p.extra
	}
	return len(p.data) + headers6 + p.extra
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// newPacket takes a packet from the pool and copies data. n.mu is held.
func (n *Network) newPacket(data []byte) *packet {
	p := n.free
	if p == nil {
		p = &packet{data: make([]byte, 0, bufferSize)}
	} else {
		n.free = p.next
		n.pooled--
		p.next = nil
	}
	p.data = append(p.data[:0], data...)
	p.sum = crc32.Checksum(p.data, castagnoli)
	return p
}

// recycle gives a packet back to the pool, which does not keep all of a moment with very many. n.mu is held.
func (n *Network) recycle(p *packet) {
	if n.pooled == maxPooled {
		return
	}
	n.pooled++
	*p = packet{data: p.data[:0], next: n.free}
	n.free = p
}

// drop ends a packet's way. n.mu is held.
func (n *Network) drop(at int64, p *packet, why DropReason) {
	if p.held.tap != nil {
		p.held.write("dropped: " + why.String())
	}
	n.ledger.dropped[why]++
	n.ledger.note(at, p, fateDropped+fate(why))
	n.recycle(p)
}

// A packetQueue holds packets in order, without memory of its own.
type packetQueue struct {
	first, last *packet
	bytes       int // with headers
}

func (q *packetQueue) empty() bool { return q.first == nil }

func (q *packetQueue) push(p *packet) {
	if q.first == nil {
		q.first = p
	} else {
		q.last.next = p
	}
	q.last = p
	q.bytes += p.size()
}

// pop removes the oldest packet of a queue that is not empty.
func (q *packetQueue) pop() *packet {
	p := q.first
	q.first, p.next = p.next, nil
	q.bytes -= p.size()
	return p
}
