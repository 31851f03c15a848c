package kcptransport

import (
	"net/netip"
	"sync"
)

// packetBufSize holds any datagram that an Ethernet path delivers in one piece. With its neighbours in inPacket it
// fills a size class of the allocator.
const packetBufSize = 2000

// inPacket is a datagram on its way from the reader to who handles it. Whoever holds it owns it, alone, and hands it
// on or back with release.
type inPacket struct {
	next   *inPacket // in a packetList
	from   netip.AddrPort
	signal Signal // it came by way of an introducer, and from is invalid
	n      int
	buf    [packetBufSize]byte
}

var inPackets = sync.Pool{New: func() any { return new(inPacket) }}

func newInPacket() *inPacket { return inPackets.Get().(*inPacket) }

func (p *inPacket) bytes() []byte { return p.buf[:p.n] }

func (p *inPacket) release() {
	p.next, p.signal = nil, nil
	inPackets.Put(p)
}

// packetList is a queue of packets linked through themselves. Its zero value is empty.
type packetList struct {
	head, tail *inPacket
	n          int
}

func (l *packetList) push(p *inPacket) {
	p.next = nil
	if l.tail == nil {
		l.head = p
	} else {
		l.tail.next = p
	}
	l.tail = p
	l.n++
}

func (l *packetList) pop() *inPacket {
	p := l.head
	if p == nil {
		return nil
	}
	if l.head = p.next; l.head == nil {
		l.tail = nil
	}
	p.next = nil
	l.n--
	return p
}

// append moves all of m to the end of l.
func (l *packetList) append(m *packetList) {
	if m.head == nil {
		return
	}
	if l.tail == nil {
		l.head = m.head
	} else {
		l.tail.next = m.head
	}
	l.tail = m.tail
	l.n += m.n
	*m = packetList{}
}

func (l *packetList) releaseAll() {
	for p := l.pop(); p != nil; p = l.pop() {
		p.release()
	}
}

// outBatchLen is how many datagrams leave in one call at most.
const outBatchLen = 64

// outBatch gathers the datagrams of one turn. A loop holds one only while it writes.
type outBatch struct {
	n     int
	bufs  [outBatchLen][]byte
	addrs [outBatchLen]netip.AddrPort
	store [outBatchLen][maxMaxPacket]byte
}

var outBatches = sync.Pool{New: func() any { return new(outBatch) }}

// space returns room for the next datagram, of length 0.
func (b *outBatch) space() []byte { return b.store[b.n][:0] }

// push adds the datagram that was built in space.
func (b *outBatch) push(datagram []byte, to netip.AddrPort) {
	b.bufs[b.n], b.addrs[b.n] = datagram, to
	b.n++
}

func (b *outBatch) full() bool { return b.n == outBatchLen }

// flush sends what was gathered. Datagrams that could not be sent are lost, as any may be.
func (b *outBatch) flush(conn PacketConn) {
	if b.n > 0 {
		_, _ = conn.WriteBatch(b.bufs[:b.n], b.addrs[:b.n]) // what fails here fails as loss: probes find out
		b.n = 0
	}
}
