package kcptransport

import (
	"time"

	"github.com/xtaci/kcp-go/v5"
)

const (
	// kcpReserve is how many acknowledged segments are kept back from the kcp package. It lets segments go at once only
	// when an acknowledgement moves its window, otherwise every 10 ms; with some in reserve, a small write moves the
	// window by one and leaves at once. A conversation begins with a full reserve: its first kcpReserve segments never
	// leave this side, so that sequence numbers on the wire are those of the kcp package less kcpReserve, plus sendBase.
	kcpReserve = 32
	kcpKept    = 128 // how far the reserve may grow

	kcpTick       = 10 * time.Millisecond  // how often kcp.Update does anything
	kcpMargin     = 300 * time.Millisecond // added to what it measures as round trip
	kcpFallback   = time.Second            // how often it is asked to look for what our own loss detection overlooked
	sendSpan      = 4096                   // segments between the oldest unacknowledged and the newest
	recvWindowMin = 64                     // segments the sender may count on before it hears of more
	recvWindowNew = 256                    // segments, of a new stream while the link has memory for it
	recvWindowMax = 4096                   // segments, of a stream whose reader keeps up
	maxStale      = 1 << 16                // how old a duplicate may be, in segments
)

// conversation is one KCP machine, and all the link's loop knows of it. A stream has one; conversation 0 carries
// control messages. Only the loop touches it.
//
// The machine is not given what the network says but what the conversation makes of it: when to believe that something
// was lost, and when to let go of new segments, is decided here and in the mux.
type conversation struct {
	mux    *mux
	id     uint32
	kcp    *kcp.KCP // nil while it has nothing to do
	stream *Stream  // nil for control, and until the peer's opening message came
	dead   bool

	// listed says in which of the mux's lists the conversation is.
	listed struct{ ready, acking, flushing, touched, active, losing bool }

	levelIndex uint8 // of its priority, in mux.levels

	send sending
	recv receiving

	sendBase, recvBase uint32 // wire numbers at which the machine began

	lastUpdate time.Duration
	primed     bool          // the reserve was filled,
	priming    bool          // is being filled
	lingerAt   time.Duration // when a closed stream without progress is given up; 0 = not closed
	unaCheck   uint32        // send.una at the last look at lingerAt
	counted    bool          // it counts against a limit of open streams
}

func newConversation(m *mux, id uint32) *conversation {
	c := &conversation{mux: m, id: id, counted: id != 0, levelIndex: uint8(PriorityNormal.level())}
	if id == 0 {
		c.levelIndex = uint8(PriorityInteractive.level())
	}
	c.recv.window = recvWindowMin
	c.widen(recvWindowNew)
	c.recv.announced = c.recv.window // whatever is sent first tells it
	c.send.edge = recvWindowMin
	c.startAnew()
	return c
}

// prime fills the reserve with segments that are sent and acknowledged here and now. It comes before the first segment.
func (c *conversation) prime() {
	c.primed, c.priming = true, true
	for range kcpReserve {
		c.kcp.Send([]byte{0})
	}
	c.update()
	c.priming = false
	c.markReserve()
	c.tellWindow()
}

// The segments that are made up for the machine. Numbers are wire numbers.

// inject gives made-up segments to the machine. fresh says that the window in them is the peer's newest.
func (c *conversation) inject(segments []byte, fresh bool) {
	c.mux.scratch = segments[:0]
	if c.kcp == nil {
		return
	}
	c.kcp.Input(segments, fresh, false)
}

func (c *conversation) made(dst []byte, cmd uint8, sn, ts, una uint32) []byte {
	wnd := max(int32(c.send.edge-una), 0)
	return appendSegmentHeader(dst, c.id, cmd, uint16(min(wnd, 0x7fff)), ts, sn+kcpReserve-c.sendBase, una+kcpReserve-c.sendBase)
}

// past is a time stamp of the kcp package before which nothing was sent.
func (c *conversation) past() uint32 { return c.send.kcpTS - 1<<30 }

// slide moves the machine's window to una, which makes it let go of what it holds.
func (c *conversation) slide(una uint32) {
	c.send.fed = una
	if before(c.send.marked, una) {
		c.send.marked = una
	}
	c.inject(c.made(c.mux.scratch[:0], kcpTell, 0, 0, una), true)
}

// sampleRTT tells the machine the peer's window and the round trip of a segment it let go at ts, exaggerated: its own
// timer is to be the last to believe in a loss.
func (c *conversation) sampleRTT(ts uint32, rtt time.Duration) {
	ts -= uint32((2*rtt + kcpMargin) / time.Millisecond)
	c.inject(c.made(c.mux.scratch[:0], kcpAck, c.send.fed-1, ts, c.send.fed), true)
}

// tellWindow tells the machine the peer's window.
func (c *conversation) tellWindow() {
	c.inject(c.made(c.mux.scratch[:0], kcpTell, 0, 0, c.send.fed), true)
}

// mark tells the machine that sn arrived, so that it forgets the data, without making it guess that others are lost.
func (c *conversation) mark(sn uint32) {
	c.inject(c.made(c.mux.scratch[:0], kcpAck, sn, c.past(), c.send.fed), false)
}

// markReserve tells the machine that all before una arrived, without moving its window.
func (c *conversation) markReserve() {
	b := c.mux.scratch[:0]
	for ; before(c.send.marked, c.send.una); c.send.marked++ {
		b = c.made(b, kcpAck, c.send.marked, c.past(), c.send.fed)
	}
	if len(b) > 0 {
		c.inject(b, false)
	}
}

// provoke makes the machine send again, when it is flushed, what it let go at ts or earlier and precedes acked, which
// must have arrived: it believes in a loss after two acknowledgements of something later.
func (c *conversation) provoke(acked, ts uint32) {
	b := c.made(c.mux.scratch[:0], kcpAck, acked, ts, c.send.fed)
	c.inject(append(b, b...), false)
}

// flush makes the machine let go of what it holds: by an acknowledgement from the reserve, or when its clock allows.
func (c *conversation) flush() {
	if c.dead || !c.primed {
		return
	}
	s := &c.send
	holds := s.emitted != s.handed || s.provoked
	switch have := int32(s.una - s.fed); {
	case have > kcpKept:
		c.slide(s.una - kcpKept)
	case holds && have > 0:
		c.slide(s.fed + 1)
	case holds && c.mux.now-c.lastUpdate >= kcpTick:
		c.update()
	case holds:
		c.mux.activate(c)
		return
	}
	s.provoked = false
	if s.outstanding == 0 {
		c.markReserve()
	}
	if s.emitted != s.handed {
		c.mux.activate(c)
	}
}

func (c *conversation) update() {
	c.lastUpdate = c.mux.now
	c.kcp.Update()
}

// output is called by the machine with what it lets go: one or more segments.
func (c *conversation) output(buf []byte, size int) {
	for b := buf[:size]; len(b) > 0; {
		seg, rest, err := parseSegment(b)
		if err != nil {
			return // the machine made it, so this does not happen
		}
		b = rest
		switch seg.cmd {
		case kcpPush:
			c.send.kcpTS = seg.ts
			if !c.priming {
				c.letGo(seg)
			}
		case kcpAck:
			c.acknowledge(seg.sn+c.recvBase, seg.ts)
		}
	}
}

// tick does what is due and reports whether the conversation still needs to be looked at.
func (c *conversation) tick(now time.Duration) bool {
	if c.dead {
		return false
	}
	due := c.due()
	if due == 0 {
		return false
	}
	if due > now {
		return true
	}
	if c.send.emitted != c.send.handed || c.send.provoked || c.send.outstanding > 0 {
		if now-c.lastUpdate >= kcpTick {
			c.update()
			c.send.provoked = false
			if c.send.emitted != c.send.handed { // its clock counts whole milliseconds
				c.lastUpdate = now - kcpTick + time.Millisecond
			}
		}
	}
	if c.send.persistAt != 0 && c.send.persistAt <= now {
		c.askWindow(now)
	}
	if c.send.lossAt != 0 && c.send.lossAt <= now {
		c.repair()
	}
	if c.lingerAt != 0 && c.lingerAt <= now {
		c.linger(now)
	}
	return !c.dead && c.due() != 0
}

// due returns when tick has something to do, 0 = never.
func (c *conversation) due() time.Duration {
	t := earliest(earliest(c.send.persistAt, c.lingerAt), c.send.lossAt)
	switch {
	case c.send.emitted != c.send.handed || c.send.provoked:
		t = earliest(t, c.lastUpdate+kcpTick)
	case c.send.outstanding > 0:
		t = earliest(t, c.lastUpdate+kcpFallback)
	}
	return t
}

// earliest returns the earlier of two times, of which 0 means never.
func earliest(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
