package kcptransport

import (
	"encoding/binary"
	"time"
)

// Messages inside a conversation: one per segment, told apart by the first byte.
const (
	msgOpen = 1 // kind; the first message of the opener
	msgData = 2 // bytes
	msgEnd  = 3 // nothing; the last message of a direction
)

const (
	maxAskPause  = time.Second
	lingerPeriod = time.Minute // a closed stream whose data does not move for so long is given up
)

// sending is the sending half of a conversation. Numbers are wire numbers: una <= emitted <= handed.
type sending struct {
	una     uint32 // the peer has all before
	fed     uint32 // what the machine was told of una
	marked  uint32 // the machine knows that all before arrived, even where fed is lower
	edge    uint32 // the peer takes what is before
	handed  uint32 // the next to be given to the machine
	emitted uint32 // the next that the machine will let go for the first time

	segs        []sentSegment // segment sn at sn % len
	outstanding int           // emitted, and not known to have arrived
	maxAcked    uint32        // the newest that arrived; of interest while not before una
	handedBytes int           // given to the machine and not yet let go
	inFresh     int           // segments in the level's queue of that name
	turn        int           // bytes left of its turn to hand over; negative: it took more
	spent       int           // bytes of late, for the sparse budget,
	spentIn     time.Duration // in the period that began then
	kcpTS       uint32        // the machine's clock when it last let something go

	lost     int           // segments found lost that were not sent again
	lossTS   uint32        // the newest time stamp of those
	lossAt   time.Duration // when the machine is told of them once more, if it has not let go of them
	provoked bool          // the machine was told of losses and is to be flushed

	tail   []byte // copy of the newest segment, to be sent again when nothing else can be; empty when it arrived
	tailSN uint32

	backlog   bool // there is more to hand over than the peer takes
	persistAt time.Duration
	persist   time.Duration

	opened  bool // msgOpen was handed over, or comes from the peer
	ended   bool // msgEnd was handed over,
	endSN   uint32
	stopped bool // nobody at the other side reads: nothing is sent any more
}

type sentSegment struct {
	tx     uint32 // its latest transmission
	kcpTS  uint32
	acked  bool
	queued bool // waits for the pacer
	lost   bool // its latest transmission was lost
	again  bool // it was sent more than once
}

func (s *sending) at(sn uint32) *sentSegment { return &s.segs[sn&uint32(len(s.segs)-1)] }

// has reports whether sn was let go and may still be unacknowledged.
func (s *sending) has(sn uint32) bool { return !before(sn, s.una) && before(sn, s.emitted) }

// grow makes room for one more segment.
func (s *sending) grow() {
	if int(s.emitted-s.una) < len(s.segs) {
		return
	}
	old := s.segs
	s.segs = make([]sentSegment, max(2*len(old), 8))
	for sn := s.una; sn != s.emitted; sn++ {
		*s.at(sn) = old[sn&uint32(len(old)-1)]
	}
}

// open reports whether the peer and the span take one more segment.
func (s *sending) open() bool { return before(s.handed, s.edge) && s.handed-s.una < sendSpan }

// done reports whether there is nothing left to send, ever.
func (s *sending) done() bool { return s.stopped || s.ended && before(s.endSN, s.una) }

// handOver gives the machine messages until it has limit bytes or more, and returns how many bytes they will be on the
// wire. more says that there was more to give.
func (c *conversation) handOver(limit int) (total int, more bool) {
	buf := c.mux.messageBuffer()[:c.mux.cfg.maxPayload-kcpHeaderLen]
	for total < limit {
		if !c.send.open() {
			c.send.backlog = c.unsent()
			if c.send.backlog && c.send.persistAt == 0 && c.send.handed == c.send.edge {
				c.send.persist = c.mux.trip.probeTimeout()
				c.send.persistAt = c.mux.now + c.send.persist
				c.mux.activate(c)
			}
			return total, false
		}
		size := c.nextMessage(buf)
		if size == 0 {
			return total, false
		}
		c.awaken()
		if !c.primed {
			c.prime()
		}
		c.kcp.Send(buf[:size])
		c.send.handed++
		c.hand(size + kcpHeaderLen)
		total += size + kcpHeaderLen
	}
	return total, true
}

// hasMuch reports whether a stream has more to send than fits into a portion.
func (c *conversation) hasMuch() bool {
	if c.stream == nil {
		return false
	}
	n, _ := c.stream.queuedOut()
	return n > handPortion*c.mux.cfg.maxPayload
}

// saves reports whether the reserve is so low that it is not to be spent on little.
func (c *conversation) saves() bool {
	return c.send.una-c.send.fed < kcpReserve && c.send.outstanding > 0
}

// nextMessage writes the next message to be sent into buf and returns its length, 0 = there is none.
func (c *conversation) nextMessage(buf []byte) int {
	s := &c.send
	switch {
	case s.stopped || s.ended:
		return 0
	case c.id == 0:
		return c.mux.nextControl(buf)
	case c.stream == nil:
		return 0
	case !s.opened:
		s.opened = true
		buf[0] = msgOpen
		return 1 + copy(buf[1:], c.stream.kind)
	}
	n, end := c.stream.pull(buf[1:])
	switch {
	case n > 0:
		buf[0] = msgData
		return 1 + n
	case end:
		s.ended, s.endSN = true, s.handed
		buf[0] = msgEnd
		return 1
	}
	return 0
}

// unsent reports whether something was not given to the machine yet.
func (c *conversation) unsent() bool {
	switch {
	case c.send.stopped || c.send.ended:
		return false
	case c.id == 0:
		return len(c.mux.control) > 0
	case c.stream == nil:
		return false
	}
	n, end := c.stream.queuedOut()
	return n > 0 || end || !c.send.opened
}

// letGo takes a data segment from the machine: a new one goes to the pacer; whether an old one is needed again is for
// us to say.
func (c *conversation) letGo(seg kcpSegment) {
	sn := seg.sn - kcpReserve + c.sendBase
	binary.LittleEndian.PutUint32(seg.raw[kcpOffSN:], sn)
	s := &c.send
	if sn == s.emitted {
		s.grow()
		*s.at(sn) = sentSegment{kcpTS: seg.ts, queued: true}
		s.emitted++
		s.outstanding++
		c.hand(-len(seg.raw))
		if s.inFresh == 0 && c.overtakes(len(seg.raw)) {
			c.mux.urgent.push(c, seg.raw)
			return
		}
		s.inFresh++
		c.level().fresh.push(c, seg.raw)
		return
	}
	if !s.has(sn) {
		return
	}
	st := s.at(sn)
	st.kcpTS = seg.ts
	if st.acked || st.queued || s.stopped || !st.lost && !c.overdue(st) {
		c.mux.counts.Withheld++
		return
	}
	c.sendAgain(sn, seg.raw)
}

// transmit appends a queued segment to a packet. It returns dst unchanged when it is not needed any more.
func (c *conversation) transmit(now time.Duration, dst, raw []byte) []byte {
	sn := binary.LittleEndian.Uint32(raw[kcpOffSN:])
	if c.dead || c.send.stopped || !c.send.has(sn) {
		return dst
	}
	st := c.send.at(sn)
	st.queued = false
	if st.acked {
		return dst
	}
	if sn+1 == c.send.emitted {
		c.send.tail, c.send.tailSN = append(c.send.tail[:0], raw...), sn
	}
	st.tx = c.mux.log.send(now, c.id, sn, binary.LittleEndian.Uint32(raw[kcpOffTS:]), len(raw))
	c.mux.stir()
	start := len(dst)
	dst = append(dst, raw...)
	c.stamp(dst[start:], st.tx)
	return dst
}

// stamp writes what is up to date now into a segment that leaves.
func (c *conversation) stamp(seg []byte, ts uint32) {
	binary.LittleEndian.PutUint16(seg[kcpOffWnd:], c.recv.announce())
	binary.LittleEndian.PutUint32(seg[kcpOffTS:], ts)
	binary.LittleEndian.PutUint32(seg[kcpOffUna:], c.recv.next)
}

// askWindow asks a peer that takes nothing whether it does now, because its telling may have been lost.
func (c *conversation) askWindow(now time.Duration) {
	if !c.send.backlog || c.send.open() {
		c.send.persistAt = 0
		return
	}
	c.recv.ask = true
	c.mux.acknowledgeLater(c)
	c.send.persist = min(2*c.send.persist, maxAskPause)
	c.send.persistAt = now + c.send.persist
}

// linger gives up a closed stream whose data does not move.
func (c *conversation) linger(now time.Duration) {
	if c.send.una == c.unaCheck {
		c.mux.resetStream(c, &ResetError{Code: ResetAbandoned})
		return
	}
	c.unaCheck = c.send.una
	c.lingerAt = now + lingerPeriod
}

// stop ends the sending direction without further ado, because nobody reads at the other side.
func (c *conversation) stop(err error) {
	if c.send.stopped {
		return
	}
	c.send.stopped = true
	c.forgetFlights()
	c.send.persistAt, c.send.backlog = 0, false
	if c.stream != nil {
		c.stream.endWrite(err)
	}
}
