package kcptransport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	windowBudget = 12 << 10 // segments of 1,500 bytes that all streams of a link may have in window beyond the least of each
	maxReorder   = 16
	maxGone      = 64 // answers to segments of finished streams that wait to be sent
)

// muxConfig says what a mux needs to know. It is not changed after newMux.
type muxConfig struct {
	local, remote net.Addr
	peer          PeerID
	even          bool // this side opens the streams with even numbers
	maxPayload    int  // bytes of KCP segments in a packet, 128 to 1,500
	maxStreams    int  // open at once, of each side; 0 = 256
	wake          func()
	now           time.Time
	control       controller // nil = the default one
}

// mux carries the streams of a link as KCP conversations. It has no goroutine, clock or network: the link's loop tells
// it what came and what time it is, and asks it for packets. One turn of the loop is
//
//	input for each frame of KCP segments that came, then endBatch   (if something came)
//	advance
//	poll until it has nothing more
//	next: when to come again if nothing happens before
//
// Only the loop calls its methods, except open and accept, which any goroutine may call.
type mux struct {
	cfg   muxConfig
	start time.Time
	now   time.Duration // since start

	convs    map[uint32]*conversation
	peerSeen convSet
	peerOpen int
	gones    []uint32
	resets   [maxGone]uint32 // conversations lately reset, of which the peer learns reliably
	resetAt  int
	control  []controlItem
	closed   bool
	bornNext uint32 // index of the next stream of ours that has no conversation yet
	noPath   bool   // there is no path
	windows  uint32 // of windowBudget, in use

	// Lists of conversations that need something.
	ready, later []*conversation // to hand messages over, in turn
	acking       []*conversation // segments without data to send
	flushing     []*conversation
	touched      []*conversation // something came for them in this batch
	active       []*conversation // timers run
	losing       []*conversation // transmissions were found lost
	marks        []ackMark

	urgent, resend, fresh segQueue // for the pacer: little of streams that send little, what was lost, all else
	sparse                sparseBudget
	handedBytes           int // given to KCP and not yet let go
	log                   txLog
	trip                  rttEstimator
	ctrl                  controller
	pace                  pacer
	reorder               int           // grows when something taken for lost arrives
	reorderAt             time.Duration // when that last changed
	lossAt                time.Duration // when to look for losses again, 0 = never
	lastAck               time.Duration
	lastProbe             time.Duration
	probes                int // since the last acknowledgement

	counts           muxCounts
	scratch, message []byte

	mu        sync.Mutex
	noticed   []*Stream // their methods were called
	noticedIn []*Stream
	accepts   []*Stream
	nextConv  uint32 // index of the next stream of ours
	opened    int    // streams of ours that are open
	err       error  // why the mux is closed
	acceptC   chan struct{}
	done      chan struct{}
}

type ackMark struct {
	conv *conversation
	sn   uint32
}

// muxCounts are counters since the mux began, in segments.
type muxCounts struct {
	Sent, Retransmitted, Lost, Spurious, Received, Duplicates uint64
	Overrun                                                   uint64 // beyond the window
	Hostile                                                   uint64 // malformed, or out of any range
	Probes                                                    uint64
	Withheld                                                  uint64 // KCP wanted to send them again without need
}

var errTooManyStreams = errors.New("kcptransport: opening a stream: too many are open (close some)")

func newMux(cfg muxConfig) *mux {
	if cfg.maxStreams == 0 {
		cfg.maxStreams = 256
	}
	cfg.maxPayload = min(max(cfg.maxPayload, 128), kcpMaxSegment) // the kcp package panics on longer ones
	m := &mux{
		cfg: cfg, start: cfg.now, convs: make(map[uint32]*conversation), message: make([]byte, kcpMaxSegment),
		acceptC: make(chan struct{}, 1), done: make(chan struct{}), ctrl: cfg.control, pace: pacer{credit: pacingMin},
	}
	if m.ctrl == nil {
		m.ctrl = newBBR(cfg.maxPayload)
	}
	m.log.init()
	return m
}

// convIndex counts the conversations of one side from 0: even numbers 2, 4, …, odd ones 1, 3, …
func convIndex(conv uint32) uint32 { return (conv - 1) / 2 }

func (m *mux) ours(conv uint32) bool { return conv%2 == 0 == m.cfg.even }

// open makes a stream of the given kind, at most 64 bytes, known to the peer with its first data or soon.
func (m *mux) open(kind string) (*Stream, error) {
	if len(kind) > maxKind {
		return nil, fmt.Errorf("kcptransport: opening a stream: its kind has %d bytes, and %d are allowed", len(kind), maxKind)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.err != nil:
		return nil, m.err
	case m.opened >= m.cfg.maxStreams:
		return nil, errTooManyStreams
	case m.nextConv == 1<<31-1:
		return nil, errors.New("kcptransport: opening a stream: the link has used up its numbers (dial anew)")
	}
	id := 2*m.nextConv + 1
	if m.cfg.even {
		id++
	}
	m.nextConv++
	m.opened++
	s := newStream(m, id, kind)
	s.wanted.queued = true
	m.noticed = append(m.noticed, s)
	m.cfg.wake()
	return s, nil
}

// accept returns the next stream that the peer opened.
func (m *mux) accept(ctx context.Context) (*Stream, error) {
	for {
		m.mu.Lock()
		if len(m.accepts) > 0 {
			s := m.accepts[0]
			m.accepts = m.accepts[1:]
			if len(m.accepts) > 0 {
				m.signalAccept() // there may be others who wait
			} else {
				m.accepts = nil
			}
			m.mu.Unlock()
			return s, nil
		}
		err := m.err
		m.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-m.acceptC:
		case <-m.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (m *mux) signalAccept() {
	select {
	case m.acceptC <- struct{}{}:
	default:
	}
}

// notice has the loop look at s. Any goroutine may call it.
func (m *mux) notice(s *Stream) {
	m.mu.Lock()
	m.noticed = append(m.noticed, s)
	m.mu.Unlock()
	m.cfg.wake()
}

// accepted gives a stream that the peer opened to accept.
func (m *mux) accepted(c *conversation, kind string) {
	s := newStream(m, c.id, kind)
	m.mu.Lock()
	full := len(m.accepts) >= m.cfg.maxStreams
	if !full {
		m.accepts = append(m.accepts, s)
		m.signalAccept()
	}
	m.mu.Unlock()
	if full {
		m.resetStream(c, &ResetError{Code: ResetRefused})
		return
	}
	c.stream = s
}

// input takes the segments of one frame that came from the peer. It may overwrite them and does not keep them. An error
// says that the peer broke the rules; what followed in the frame was not looked at.
func (m *mux) input(now time.Time, segments []byte) error {
	m.setNow(now)
	if m.closed {
		return nil
	}
	for len(segments) > 0 {
		seg, rest, err := parseSegment(segments)
		if err == nil {
			err = m.dispatch(seg)
		}
		if err != nil {
			m.counts.Hostile++
			return err
		}
		segments = rest
	}
	return nil
}

func (m *mux) dispatch(seg kcpSegment) error {
	c := m.convs[seg.conv]
	if c == nil {
		var err error
		if c, err = m.arrival(seg); c == nil {
			return err
		}
	}
	if err := c.onAcks(seg); err != nil {
		return err
	}
	if !c.listed.touched {
		c.listed.touched = true
		m.touched = append(m.touched, c)
	}
	switch seg.cmd {
	case kcpPush:
		return c.onPush(seg)
	case kcpAsk:
		c.recv.tell = true
		m.acknowledgeLater(c)
	}
	return nil
}

// arrival says what to do with a segment of a conversation that does not exist: a new one is made only for data near
// the beginning of one that the peer may open.
func (m *mux) arrival(seg kcpSegment) (*conversation, error) {
	if seg.cmd != kcpPush { // an answer to the last words of one that is finished
		return nil, nil
	}
	if m.ours(seg.conv) && seg.conv != 0 {
		m.mu.Lock()
		opened := before(convIndex(seg.conv), m.nextConv)
		m.mu.Unlock()
		if !opened {
			return nil, errSegmentRange
		}
		if !m.unborn(seg.conv) {
			m.tellGone(seg.conv)
		}
		return nil, nil
	}
	k := convIndex(seg.conv)
	switch {
	case seg.conv != 0 && m.peerSeen.seen(k):
		m.tellGone(seg.conv)
		return nil, nil
	case seg.sn >= recvWindowMin, seg.una != 0, seg.conv != 0 && !m.peerSeen.fits(k):
		return nil, errSegmentRange
	case seg.conv != 0 && m.peerOpen >= m.cfg.maxStreams:
		if len(m.control) < 2*m.cfg.maxStreams {
			m.peerSeen.add(k)
			m.sendControl(controlReset, seg.conv, ResetRefused, nil)
		}
		return nil, nil
	}
	c := newConversation(m, seg.conv)
	c.send.opened = true
	m.convs[seg.conv] = c
	if seg.conv != 0 {
		m.peerSeen.add(k)
		m.peerOpen++
	}
	return c, nil
}

// unborn reports whether conv is ours, given out and not yet seen by the loop.
func (m *mux) unborn(conv uint32) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.noticed {
		if s.id == conv {
			return true
		}
	}
	return false
}

// tellGone has the peer told that conv is finished, unless it is told already.
func (m *mux) tellGone(conv uint32) {
	if len(m.gones) < maxGone && !slices.Contains(m.gones, conv) && !slices.Contains(m.resets[:], conv) {
		m.gones = append(m.gones, conv)
	}
}

// pollGone returns a conversation for which a STREAM_GONE frame is to be sent.
func (m *mux) pollGone() (conv uint32, ok bool) {
	if len(m.gones) == 0 || m.noPath {
		return 0, false
	}
	conv = m.gones[0]
	m.gones = m.gones[:copy(m.gones, m.gones[1:])]
	return conv, true
}

// gone takes a STREAM_GONE frame: the peer has finished with conv. If we know its end, it has all of what we sent that it
// wanted.
func (m *mux) gone(conv uint32) {
	c := m.convs[conv]
	if c == nil || conv == 0 {
		return
	}
	if c.recv.done() {
		c.stop(&ResetError{Remote: true})
		m.finish(c)
		return
	}
	m.discard(c, &ResetError{Code: ResetForgotten, Remote: true})
	m.uncount(c)
}

// endBatch ends what input began: acknowledgements are made once for all that came together.
func (m *mux) endBatch(now time.Time) {
	m.setNow(now)
	if m.closed {
		return
	}
	for i := 0; i < len(m.touched); i++ {
		c := m.touched[i]
		if !c.dead {
			c.drain()
		}
		if c.recv.pushed && c.kcp != nil {
			c.acknowledgeBatch()
		}
	}
	m.learn()
	for _, c := range m.touched {
		c.listed.touched = false
		m.finish(c)
	}
	clear(m.touched)
	m.touched = m.touched[:0]
}

// learn takes what the acknowledgements of the batch say about the path.
func (m *mux) learn() {
	for _, mark := range m.marks {
		if c := mark.conv; !c.dead && c.send.has(mark.sn) {
			c.mark(mark.sn)
		}
	}
	clear(m.marks)
	m.marks = m.marks[:0]
	b := &m.log.batch
	if b.any {
		m.lastAck, m.probes = m.now, 0
	}
	if b.rtt > 0 {
		m.trip.update(m.now, b.rtt)
	}
	for _, c := range m.touched {
		if c.dead {
			continue
		}
		if b.rtt > 0 && b.newest.conv == c.id {
			c.sampleRTT(b.rttTS, min(b.rtt, 10*time.Second))
		} else {
			c.tellWindow()
		}
	}
	m.adaptReorder(b.spurious)
	m.findLosses()
}

// adaptReorder widens the reordering window when something arrived that was taken for lost (RFC 8985 section 6.2, step 4).
// A path that reorders once is expected to do so again, for a minute.
func (m *mux) adaptReorder(spurious int) {
	m.counts.Spurious += uint64(spurious)
	since := m.now - m.reorderAt
	switch {
	case spurious > 0 && (m.reorder == 0 || since > m.trip.smoothed):
		m.reorder = min(m.reorder+1, maxReorder)
	case m.reorder > 1 && since > 16*m.trip.smoothed+time.Second, m.reorder == 1 && since > time.Minute:
		m.reorder--
	default:
		return
	}
	m.reorderAt = m.now
}

// reorderWindow is how much later than others something may arrive before it counts as lost.
func (m *mux) reorderWindow() time.Duration {
	w := m.trip.min / 16
	if m.reorder > 0 {
		w = m.trip.min / 4 * time.Duration(m.reorder)
	}
	return max(min(w, m.trip.smoothed), time.Duration(1+m.reorder)*2*time.Millisecond)
}

// findLosses looks for transmissions that must be lost, and has them repeated.
func (m *mux) findLosses() {
	m.lossAt = m.log.detect(m.now, m.trip.smoothed, m.reorderWindow(), func(t *transmission) {
		m.counts.Lost++
		if c := m.convs[t.conv]; c != nil {
			c.lost(t)
		}
	})
	for _, c := range m.losing {
		c.recover()
	}
	clear(m.losing)
	m.losing = m.losing[:0]
	if s := m.log.sample(m.now); s.acked > 0 || s.lost > 0 {
		m.ctrl.onAck(s)
	}
}

// finish frees a stream both of whose directions have ended.
func (m *mux) finish(c *conversation) {
	if c.dead || c.id == 0 || !c.recv.done() {
		return
	}
	if !c.recv.ended && !c.recv.stopped && (c.send.una > 0 || !m.ours(c.id)) { // the peer must know the stream before it hears this
		c.recv.stopped = true
		m.sendControl(controlStop, c.id, 0, nil)
	}
	if !c.send.done() {
		return
	}
	m.release(c)
	m.uncount(c)
}

func (m *mux) finishLater(c *conversation) {
	if !c.listed.touched {
		c.listed.touched = true
		m.touched = append(m.touched, c)
	}
}

// release forgets a conversation. Acknowledgements it still has to send are sent.
func (m *mux) release(c *conversation) {
	c.forgetFlights()
	c.dead = true
	c.kcp = nil
	c.send.segs = nil
	m.windows -= c.recv.window - recvWindowMin
	delete(m.convs, c.id)
}

// uncount stops counting c against the limit of open streams.
func (m *mux) uncount(c *conversation) {
	if c == nil || !c.counted {
		return
	}
	c.counted = false
	if !m.ours(c.id) {
		m.peerOpen--
		return
	}
	m.mu.Lock()
	m.opened--
	m.mu.Unlock()
}

// discard ends a conversation at once; its calls fail with err.
func (m *mux) discard(c *conversation, err *ResetError) {
	if c.dead {
		return
	}
	m.release(c)
	if s := c.stream; s != nil {
		s.wasReset(err)
		m.unaccept(s)
	}
}

// unaccept takes a stream that was reset out of the queue of accept.
func (m *mux) unaccept(s *Stream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, a := range m.accepts {
		if a == s {
			m.accepts = append(m.accepts[:i], m.accepts[i+1:]...)
			return
		}
	}
}

// resetStream discards a conversation and tells the peer.
func (m *mux) resetStream(c *conversation, err *ResetError) {
	if c.dead {
		return
	}
	m.discard(c, err)
	m.sendControl(controlReset, c.id, err.Code, c)
}

// close ends all streams: calls fail with err, but what came before can still be read. Nothing is sent any more.
func (m *mux) close(err error) {
	if m.closed {
		return
	}
	m.closed = true
	m.mu.Lock()
	m.err = err
	noticed := m.noticed
	m.noticed = nil
	close(m.done)
	m.mu.Unlock()
	for _, s := range noticed {
		s.fail(err)
	}
	for _, c := range m.convs {
		if c.stream != nil {
			c.stream.fail(err)
		}
		m.release(c)
	}
}

func (m *mux) setNow(now time.Time) {
	if d := now.Sub(m.start); d > m.now {
		m.now = d
	}
}
