package kcptransport

import (
	"maps"
	"net"
	"slices"
	"sync"
	"time"
)

// windowBudget is in segments of 1,500 bytes: what all streams of a link may have in window beyond the least of each.
const windowBudget = 12 << 10

// muxConfig says what a mux needs to know. It is not changed after newMux.
type muxConfig struct {
	local, remote net.Addr
	peer          PeerID
	even          bool // this side opens the streams with even numbers
	maxPayload    int  // bytes of KCP segments in a packet, 128 to 1,500
	maxStreams    int  // open at once, of each side; 0 = 256
	wake          func()
	now           time.Time
	control       controller  // nil = the default one
	memory        *memoryPool // nil = one of its own
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
	cfg    muxConfig
	memory memoryAccount
	start  time.Time
	now    time.Duration // since start

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
	later    []*conversation // passed over while a level is filled
	acking   []*conversation // segments without data to send
	flushing []*conversation
	touched  []*conversation // something came for them in this batch
	active   []*conversation // timers run
	resting  []*conversation // the other half of active, while it is looked at
	losing   []*conversation // transmissions were found lost
	marks    []ackMark

	levels      [priorityLevels]sendLevel // the most urgent first
	urgent      segQueue                  // little of streams that send little, ahead of all levels
	sparse      sparseBudget
	handedBytes int // given to KCP and not yet let go
	log         txLog
	trip        rttEstimator
	ctrl        controller
	pace        pacer
	reorder     int           // grows when something taken for lost arrives
	reorderAt   time.Duration // when that last changed
	lossAt      time.Duration // when to look for losses again, 0 = never
	lastAck     time.Duration
	lastProbe   time.Duration
	probes      int // since the last acknowledgement

	stirred          time.Duration // when data last moved
	restAt           time.Duration // when to see whether memory can be given back; 0 = it was
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

func newMux(cfg muxConfig) *mux {
	if cfg.maxStreams == 0 {
		cfg.maxStreams = 256
	}
	cfg.maxPayload = min(max(cfg.maxPayload, 128), kcpMaxSegment) // the kcp package panics on longer ones
	m := &mux{
		cfg: cfg, start: cfg.now, convs: make(map[uint32]*conversation),
		acceptC: make(chan struct{}, 1), done: make(chan struct{}), ctrl: cfg.control, pace: pacer{credit: pacingMin},
	}
	if m.ctrl == nil {
		m.ctrl = newBBR(cfg.maxPayload)
	}
	m.log.oldest, m.log.next = 1, 1
	if m.memory.pool = cfg.memory; m.memory.pool == nil {
		m.memory.pool = &memoryPool{limit: defaultMaxMemory}
	}
	return m
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
		c.account()
	}
	clear(m.touched)
	m.touched = m.touched[:0]
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
	for _, id := range slices.Sorted(maps.Keys(m.convs)) { // in order, so that a simulation repeats
		c := m.convs[id]
		if c.stream != nil {
			c.stream.fail(err)
		}
		m.release(c)
	}
	m.memory.close()
}

// messageBuffer returns room for one message.
func (m *mux) messageBuffer() []byte {
	if m.message == nil {
		m.message = make([]byte, kcpMaxSegment)
	}
	return m.message
}

func (m *mux) setNow(now time.Time) {
	if d := now.Sub(m.start); d > m.now {
		m.now = d
	}
}
