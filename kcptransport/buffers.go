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

	circuit *Circuit // it came by way of relays, and from is invalid
	marked  bool     // one of which has too much to carry
	asks    bool     // it is a request for a proof of from, to be sent there

	skip, n int // where it begins and ends in buf
	buf     [packetBufSize]byte
}

var inPackets = sync.Pool{New: func() any { return new(inPacket) }}

func newInPacket() *inPacket { return inPackets.Get().(*inPacket) }

func (p *inPacket) bytes() []byte { return p.buf[p.skip:p.n] }

func (p *inPacket) release() {
	p.reset()
	inPackets.Put(p)
}

// reset forgets whose packet it was.
func (p *inPacket) reset() {
	p.next, p.signal, p.circuit, p.marked, p.asks, p.skip = nil, nil, nil, false, false, 0
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
	store [outBatchLen][maxMaxPacket + relayPrefix]byte
}

var outBatches = sync.Pool{New: func() any { return new(outBatch) }}

// space returns room for the next datagram, of length 0, behind that for the prefix of a circuit.
func (b *outBatch) space() []byte { return b.store[b.n][relayPrefix:relayPrefix] }

// push adds the datagram that was built in space.
func (b *outBatch) push(datagram []byte, to netip.AddrPort) {
	b.bufs[b.n], b.addrs[b.n] = datagram, to
	b.n++
}

// pushRelayed adds the datagram that was built in space for a circuit, unless its first relay cannot be reached.
func (b *outBatch) pushRelayed(datagram []byte, c *Circuit) {
	if to := c.via.hop.Addr(); to.IsValid() {
		c.prefix(b.store[b.n][:0])
		b.push(b.store[b.n][:relayPrefix+len(datagram)], to)
	}
}

// full reports whether there is no room for a datagram and a copy of it.
func (b *outBatch) full() bool { return b.n >= outBatchLen-1 }

// flush sends what was gathered. Datagrams that could not be sent are lost, as any may be.
func (b *outBatch) flush(conn PacketConn) {
	if b.n > 0 {
		_, _ = conn.WriteBatch(b.bufs[:b.n], b.addrs[:b.n]) // what fails here fails as loss: probes find out
		b.n = 0
	}
}
