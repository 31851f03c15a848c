package kcptransport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/2xppg/xppg/internal/views"
)

const (
	readBatchLen  = 64
	maxReadErrors = 100 // one after the other, before the socket counts as broken
)

// reader tells arriving packets apart. It belongs to the goroutine that reads the socket.
type reader struct {
	e     *Endpoint
	views [readBatchLen][]byte // of the packets of a batch, in the socket's memory
	addrs [readBatchLen]netip.AddrPort
	spare *inPacket // for the next packet that is kept

	gate    gate
	now     time.Time  // of this batch, zero: nobody has asked yet
	shaking packetList // of this batch, for the handshaker
	transit transit    // of this batch, for Config.Forwarder
	lists   []linkPackets
	last    int // the list that was used last
}

// linkPackets are the packets of one batch for one link.
type linkPackets struct {
	index uint32
	link  *Link
	list  packetList
}

// read is the goroutine that reads the socket, until it is closed.
func (e *Endpoint) read() {
	r := &reader{e: e, spare: newInPacket(), gate: newGate(e.shaker.cfg, gateSecrets(e.cfg.Identity, e.shaker.boot))}
	defer func() { r.spare.release() }() // the last one
	next := views.Of(e.cfg.Conn, readBatchLen, packetBufSize)
	forward := e.cfg.Forwarder != nil
	for failed := 0; ; {
		n, err := next(r.views[:], r.addrs[:])
		if err != nil {
			if failed++; errors.Is(err, net.ErrClosed) || failed == maxReadErrors {
				e.readFailed(err)
				return
			}
			continue
		}
		failed = 0
		for i, b := range r.views[:n] {
			if forward && isTransit(b) {
				r.transit.add(b, r.addrs[i])
				continue
			}
			p := r.spare
			p.n, p.from = copy(p.buf[:], b), r.addrs[i]
			if r.sort(p) {
				r.spare = newInPacket()
			} else {
				p.reset()
			}
		}
		r.handOver()
	}
}

// sort puts p on the list of who handles it. It reports false when nobody does: the caller keeps it then.
func (r *reader) sort(p *inPacket) (taken bool) {
	switch packetType(p.bytes()) {
	case kindSTUN:
		if r.e.cfg.OnSTUN != nil {
			r.e.cfg.OnSTUN(p.bytes(), p.from)
		}
	case kindFirst, kindCookied:
		if !r.admit(p) {
			return false
		}
		r.shaking.push(p)
		return true
	case kindAnswer, kindFinish, kindReject, kindCookie:
		index, _ := receiverIndex(p.bytes())
		if _, known := r.e.table.lookup(index); !known { // a flood of them is to wake nobody
			return false
		}
		r.shaking.push(p)
		return true
	case kindData:
		index, _ := receiverIndex(p.bytes())
		return r.sortData(index, p)
	case kindRelayed:
		return !isTransit(p.bytes()) && r.e.unwrap(p) && r.sort(p)
	}
	return false
}

// isTransit tells packets of circuits that go on from this node.
func isTransit(b []byte) bool {
	return len(b) > relayPrefix && len(b) <= packetBufSize && (b[0] == typeRelayed || b[0] == typeRelayedMarked) && b[1]&0x80 != 0
}

// admit reports whether a first message is for the handshaker.
func (r *reader) admit(p *inPacket) bool {
	if p.signal != nil { // whoever carries it for others limits how many
		return true
	}
	if r.now.IsZero() {
		r.now = time.Now()
	}
	return r.gate.admit(r.now, p)
}

// transit are the packets of a batch that are to be carried on. They stay where they lie.
type transit struct {
	n     int
	bytes [readBatchLen][]byte
	from  [readBatchLen]netip.AddrPort
}

func (t *transit) add(b []byte, from netip.AddrPort) {
	t.bytes[t.n], t.from[t.n] = b, from
	t.n++
}

func (t *transit) handOver(to Forwarder) {
	if t.n > 0 {
		to.Forward(t.bytes[:t.n], t.from[:t.n])
		t.n = 0
	}
}

func (r *reader) sortData(index uint32, p *inPacket) bool {
	if r.last < len(r.lists) && r.lists[r.last].index == index {
		r.lists[r.last].list.push(p)
		return true
	}
	for i := range r.lists {
		if r.lists[i].index == index {
			r.last = i
			r.lists[i].list.push(p)
			return true
		}
	}
	l, ok := r.e.table.lookup(index)
	switch {
	case !ok:
		return false
	case l == nil:
		r.shaking.push(p)
		return true
	}
	r.last = len(r.lists)
	r.lists = append(r.lists, linkPackets{index: index, link: l})
	r.lists[r.last].list.push(p)
	return true
}

// handOver gives every link its packets of the batch.
func (r *reader) handOver() {
	r.now = time.Time{}
	r.transit.handOver(r.e.cfg.Forwarder)
	r.e.shaker.inbox.deliver(&r.shaking)
	for i := range r.lists {
		r.lists[i].link.inbox.deliver(&r.lists[i].list)
	}
	clear(r.lists)
	r.lists = r.lists[:0]
}

// readFailed ends what cannot go on without the socket.
func (e *Endpoint) readFailed(err error) {
	select {
	case <-e.closing:
		return
	default:
	}
	err = fmt.Errorf("the socket broke: %w", err)
	e.failure.Store(&err)
	for _, l := range e.table.all() {
		l.inbox.put(abortMessage{fmt.Errorf("kcptransport: link to %s: %w", l.peer.Short(), err)})
	}
	go func() { _ = e.Close() }() // which waits for us, and never fails
}

// HandleSignal takes in a packet that came by way of an introducer, and keeps reply for what is to go back to its
// sender the same way. It does not keep packet, and drops whatever makes no sense.
func (e *Endpoint) HandleSignal(packet []byte, reply Signal) {
	if len(packet) > packetBufSize || reply == nil {
		return
	}
	p := newInPacket()
	p.n, p.from, p.signal = copy(p.buf[:], packet), netip.AddrPort{}, reply
	var list packetList
	list.push(p)
	switch packetType(packet) {
	case kindFirst, kindAnswer, kindFinish, kindReject:
		e.shaker.inbox.deliver(&list)
	case kindData:
		index, _ := receiverIndex(packet)
		l, ok := e.table.lookup(index)
		switch {
		case l != nil:
			l.inbox.deliver(&list)
		case ok:
			e.shaker.inbox.deliver(&list)
		default:
			list.releaseAll()
		}
	default:
		list.releaseAll()
	}
}
