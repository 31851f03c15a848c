package netsim

import (
	"net/netip"
	"slices"
)

// tcpHost is what a host has of TCP.
type tcpHost struct {
	ephemeral uint16 // the next port to give
	ports     map[uint16]int

	// As calls see it. Streams are there until packets have done with them.
	bound []*TCPListener
	made  map[*TCPConn]struct{}

	// As packets see it: a change later.
	open    []*TCPListener
	streams map[ends]*TCPConn
}

// ends are the addresses of a stream, as its host sees them.
type ends struct{ local, remote netip.AddrPort }

func newTCPHost() tcpHost {
	return tcpHost{
		ephemeral: firstEphemeral, ports: map[uint16]int{},
		made: map[*TCPConn]struct{}{}, streams: map[ends]*TCPConn{},
	}
}

// port returns a port for a stream that is dialled, or 0 when all are in use.
func (t *tcpHost) port() uint16 {
	for range lastEphemeral - firstEphemeral + 1 {
		port := t.ephemeral
		t.ephemeral = nextEphemeral(port)
		if t.ports[port] == 0 {
			return port
		}
	}
	return 0
}

func (t *tcpHost) take(port uint16) { t.ports[port]++ }

func (t *tcpHost) giveBack(port uint16) {
	if t.ports[port]--; t.ports[port] == 0 {
		delete(t.ports, port)
	}
}

// taken reports whether somebody listens on a port of an overlapping address.
func (t *tcpHost) taken(addr netip.Addr, port uint16) bool {
	return slices.ContainsFunc(t.bound, func(l *TCPListener) bool {
		return l.local.Port() == port && (covers(l.local.Addr(), addr) || covers(addr, l.local.Addr()))
	})
}

// listener returns who listens at an address: one bound to it goes before one bound
// to none.
func (t *tcpHost) listener(at netip.AddrPort) (found *TCPListener) {
	for _, l := range t.open {
		if l.local == at {
			return l
		}
		if l.local.Port() == at.Port() && covers(l.local.Addr(), at.Addr()) {
			found = l
		}
	}
	return found
}

// wakeAll wakes all calls that wait.
func (t *tcpHost) wakeAll() {
	for c := range t.made {
		c.cond.Broadcast()
	}
	for _, l := range t.bound {
		l.cond.Broadcast()
	}
}

// close ends all calls, as the network closes.
func (t *tcpHost) close() {
	for c := range t.made {
		c.shut()
	}
	for _, l := range t.bound {
		l.shut()
	}
}

// crash makes all calls fail from an instant on.
func (t *tcpHost) crash(dies int64) {
	for c := range t.made {
		c.dies = dies
	}
	for _, l := range t.bound {
		l.dies = dies
		t.giveBack(l.local.Port())
	}
	t.bound = nil
}

// forget is how packets see a crash: nobody is told.
func (t *tcpHost) forget(at int64) {
	for _, c := range t.streams {
		c.dies = min(c.dies, at)
		c.vanish()
		c.cond.Broadcast()
	}
	for _, l := range t.open {
		l.dies = min(l.dies, at)
		l.cond.Broadcast()
	}
	t.open = nil
}

// receiveTCP gives a segment to its stream or listener, or refuses it.
func (h *Host) receiveTCP(at int64, p *packet) {
	n, t := h.net, &h.tcp
	c := t.streams[ends{p.dst, p.src}]
	l := t.listener(p.dst)
	opens := p.tcp.flags&(flagSYN|flagACK|flagRST) == flagSYN
	switch {
	case c != nil:
	case l == nil || !opens:
		from, to, head, length := p.src, p.dst, p.tcp, len(p.data)
		n.drop(at, p, DropNoSocket)
		h.refuse(at, to, from, head, length)
		return
	case l.full():
		n.drop(at, p, DropBuffer)
		return
	default:
		c = l.answer(at, p)
	}
	p.passes()
	n.ledger.delivered++
	n.ledger.note(at, p, fateDelivered)
	c.input(at, p)
	n.recycle(p)
}

// refuse answers a segment that no stream wants (RFC 9293, section 3.5.2).
func (h *Host) refuse(at int64, local, remote netip.AddrPort, to tcpHeader, length int) {
	if to.has(flagRST) {
		return
	}
	answer := tcpHeader{flags: flagRST, seq: to.ack}
	if !to.has(flagACK) {
		answer = tcpHeader{flags: flagRST | flagACK, ack: to.seq + uint64(length)}
		if to.has(flagSYN) {
			answer.ack++
		}
	}
	h.emit(at, h.net.newPacket(nil), local, remote, answer)
}

// emit sends a segment, whose data p has.
func (h *Host) emit(at int64, p *packet, local, remote netip.AddrPort, head tcpHeader) {
	h.seq++
	p.src, p.dst, p.ttl, p.origin, p.seq, p.at = local, remote, defaultTTL, h, h.seq, at
	p.tcp, p.extra = head, tcpExtra
	if head.has(flagSYN) {
		p.extra += tcpOptions
	}
	h.net.ledger.sent++
	h.depart(at, p)
}
