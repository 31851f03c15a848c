package kcptransport

import (
	"encoding/binary"
	"io"
)

const (
	maxAcks    = 2 * recvWindowMax // acknowledgements that wait to be sent; more are not made
	ackRepeats = 6                 // out-of-order acknowledgements sent once more with each batch
)

type ackItem struct{ sn, ts uint32 }

// receiving is the receiving half of a conversation. Numbers are wire numbers: consumed <= next.
type receiving struct {
	next      uint32                      // all before arrived
	arrived   *[recvWindowMax / 64]uint64 // which of those after next did; nil = none did yet
	consumed  uint32                      // messages taken out of the machine
	window    uint32                      // segments after consumed that we take
	inside    int                         // segments that the machine holds
	held      int                         // bytes that the mux's memory account has for us
	announced uint32                      // consumed+window as last told
	highest   uint32                      // all that arrived is before it,
	mark      uint32                      // and was when the window last grew
	acks      []ackItem                   // to be sent
	repeats   []ackItem                   // sent, and may have been lost: the machine sends them once
	pushed    bool                        // data came in this batch
	ask, tell bool                        // the window is to be asked for, or told

	opened  bool // the opening message came, or is ours to send
	ended   bool // msgEnd was taken out of the machine
	closed  bool // nobody reads here any more,
	stopped bool // and the peer was told
}

// announce returns the window for a segment that leaves now.
func (r *receiving) announce() uint16 {
	r.announced = r.consumed + r.window
	return uint16(r.announced - r.next)
}

// isNew notes the arrival of sn, which is within the window, and reports whether it is the first.
func (r *receiving) isNew(sn uint32) bool {
	const bits = recvWindowMax
	if before(sn, r.next) {
		return false
	}
	if !before(sn, r.highest) {
		r.highest = sn + 1
	}
	if sn != r.next {
		if r.arrived == nil {
			r.arrived = new([bits / 64]uint64)
		}
		if r.arrived[sn%bits/64]&(1<<(sn%64)) != 0 {
			return false
		}
		r.arrived[sn%bits/64] |= 1 << (sn % 64)
		return true
	}
	r.next++
	for r.arrived != nil && r.arrived[r.next%bits/64]&(1<<(r.next%64)) != 0 {
		r.arrived[r.next%bits/64] &^= 1 << (r.next % 64)
		r.next++
	}
	return true
}

// onPush gives a data segment to the machine.
func (c *conversation) onPush(seg kcpSegment) error {
	r := &c.recv
	if int32(seg.sn-r.next) < -maxStale {
		return errSegmentRange
	}
	if !before(seg.sn, r.consumed+r.window) {
		if seg.sn-(r.consumed+r.window) > recvWindowMax {
			return errSegmentRange
		}
		c.mux.counts.Overrun++ // the peer knows the window; it may have been told wrongly
		r.tell = true
		c.mux.acknowledgeLater(c)
		return nil
	}
	if !before(seg.sn, r.next) && !c.takes(seg.sn) {
		c.mux.counts.Refused++
		return nil
	}
	if r.isNew(seg.sn) {
		r.inside++
		c.mux.counts.Received++
	} else {
		c.mux.counts.Duplicates++
	}
	r.pushed = true
	c.mux.stir()
	c.awaken()
	binary.LittleEndian.PutUint32(seg.raw[kcpOffSN:], seg.sn-c.recvBase)
	binary.LittleEndian.PutUint32(seg.raw[kcpOffUna:], c.send.fed+kcpReserve-c.sendBase) // una is ours to tell
	c.kcp.Input(seg.raw, false, false)
	return nil
}

// acknowledgeBatch has the machine make the acknowledgements of a batch.
func (c *conversation) acknowledgeBatch() {
	r := &c.recv
	r.pushed = false
	old := len(r.acks)
	c.mux.scratch = c.made(c.mux.scratch[:0], kcpTell, 0, 0, c.send.fed)
	c.kcp.Input(c.mux.scratch, false, true)
	if len(r.acks) == old {
		return
	}
	fresh := r.acks[old:]
	kept := r.repeats[:0]
	for _, a := range r.repeats {
		if !before(a.sn, r.next) {
			kept = append(kept, a)
		}
	}
	r.acks = append(r.acks, kept[max(0, len(kept)-ackRepeats):]...)
	for _, a := range fresh {
		if !before(a.sn, r.next) {
			kept = append(kept, a)
		}
	}
	r.repeats = append(r.repeats[:0], kept[max(0, len(kept)-2*ackRepeats):]...)
}

// acknowledge takes an acknowledgement from the machine.
func (c *conversation) acknowledge(sn, ts uint32) {
	if len(c.recv.acks) < maxAcks {
		c.recv.acks = append(c.recv.acks, ackItem{sn, ts})
	}
	c.mux.acknowledgeLater(c)
}

// appendAcks appends what fits below limit of the segments without data. done says that none is left.
func (c *conversation) appendAcks(dst []byte, limit int) (_ []byte, done bool) {
	r := &c.recv
	sent := 0
	for ; sent < len(r.acks) && len(dst)+kcpHeaderLen <= limit; sent++ {
		a := r.acks[sent]
		dst = appendSegmentHeader(dst, c.id, kcpAck, r.announce(), a.ts, a.sn, r.next)
		r.tell = false // every segment tells
	}
	r.acks = r.acks[:copy(r.acks, r.acks[sent:])]
	if len(r.acks) == 0 && cap(r.acks) > 256 {
		r.acks = nil
	}
	if r.ask && len(dst)+kcpHeaderLen <= limit {
		dst = appendSegmentHeader(dst, c.id, kcpAsk, r.announce(), 0, 0, r.next)
		r.ask, r.tell = false, false
	}
	if r.tell && len(dst)+kcpHeaderLen <= limit {
		dst = appendSegmentHeader(dst, c.id, kcpTell, r.announce(), 0, 0, r.next)
		r.tell = false
	}
	return dst, len(r.acks) == 0 && !r.ask && !r.tell
}

// drain moves messages from the machine to the stream as far as the stream takes them.
func (c *conversation) drain() {
	r := &c.recv
	for r.next != r.consumed && !c.dead {
		if c.stream != nil && !c.stream.room() {
			break
		}
		n := c.kcp.Recv(c.mux.messageBuffer())
		if n < 0 {
			break
		}
		r.consumed++
		r.inside--
		c.onMessage(c.mux.message[:n])
	}
	if c.dead {
		return
	}
	if r.highest-r.mark >= r.window/2 && c.stream != nil && c.stream.keepsUp() {
		r.mark = r.highest
		c.widen(2 * r.window)
	}
	if moved := r.consumed + r.window - r.announced; moved >= r.window/4 {
		r.tell = true
		c.mux.acknowledgeLater(c)
	}
}

// widen makes the window as wide as wanted if the link has memory for it.
func (c *conversation) widen(wanted uint32) {
	r := &c.recv
	wanted = min(wanted, recvWindowMax)
	if r.window < wanted && c.mux.windows+wanted-r.window <= windowBudget && c.mux.memory.fits(int(wanted-r.window)*segmentMemory) {
		c.mux.windows += wanted - r.window
		r.window = wanted
	}
}

// onMessage handles one message of the peer.
func (c *conversation) onMessage(b []byte) {
	if c.id == 0 {
		c.mux.onControl(b)
		return
	}
	r := &c.recv
	switch tag, body := b[0], b[1:]; {
	case !r.opened && tag == msgOpen && len(body) > 0 && len(body) <= maxKind:
		r.opened = true
		c.mux.accepted(c, string(body))
	case r.opened && !r.ended && tag == msgData && len(body) > 0:
		c.stream.deliver(body)
	case r.opened && !r.ended && tag == msgEnd && len(body) == 0:
		r.ended = true
		c.stream.endRead(io.EOF)
	default:
		c.mux.counts.Hostile++
		c.mux.resetStream(c, &ResetError{Code: ResetProtocol})
	}
}

// done reports whether nothing the peer sends is of interest any more.
func (r *receiving) done() bool { return r.ended || r.closed }
