package kcptransport

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// maxGone bounds the answers to segments of finished streams that wait to be sent.
const maxGone = 64

var errTooManyStreams = errors.New("kcptransport: opening a stream: too many are open (close some)")

// convIndex counts the conversations of one side from 0: even numbers 2, 4, …, odd ones 1, 3, …
func convIndex(conv uint32) uint32 { return (conv - 1) / 2 }

func (m *mux) ours(conv uint32) bool { return conv%2 == 0 == m.cfg.even }

// open makes a stream of the given kind, 1 to 64 bytes, known to the peer with its first data or soon.
func (m *mux) open(kind string) (*Stream, error) {
	if kind == "" || len(kind) > maxKind {
		return nil, fmt.Errorf("kcptransport: opening a stream: its kind has %d bytes instead of 1 to %d", len(kind), maxKind)
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
	case seg.conv != 0 && (m.peerOpen >= m.cfg.maxStreams || !m.memory.fits(machineMemory)):
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
	c.account()
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

// lookAtNoticed looks at the streams whose methods were called.
func (m *mux) lookAtNoticed() {
	m.mu.Lock()
	m.noticed, m.noticedIn = m.noticedIn[:0], m.noticed
	m.mu.Unlock()
	for _, s := range m.noticedIn {
		m.lookAt(s)
	}
	clear(m.noticedIn)
}

func (m *mux) lookAt(s *Stream) {
	c := m.convs[s.id]
	if c == nil {
		if c = m.born(s); c == nil {
			return
		}
	}
	wants := s.take()
	if c.stream == s {
		c.setLevel(wants.priority.level())
	}
	switch {
	case c.stream != s:
		return
	case wants.reset:
		m.unaccept(s)
		m.release(c)
		m.sendControl(controlReset, c.id, wants.resetCode, c)
		return
	case wants.closed && !c.recv.closed:
		c.recv.closed = true
		c.unaCheck, c.lingerAt = c.send.una, m.now+lingerPeriod
		m.activate(c)
	}
	c.drain()
	m.makeReady(c)
	m.finish(c)
}

// born makes the conversation of a stream that open gave out. Of a finished stream it makes none.
func (m *mux) born(s *Stream) *conversation {
	if !m.ours(s.id) || before(convIndex(s.id), m.bornNext) {
		return nil
	}
	m.bornNext = convIndex(s.id) + 1
	c := newConversation(m, s.id)
	c.stream = s
	c.recv.opened = true
	m.convs[s.id] = c
	return c
}
