package kcptransport

import "encoding/binary"

// Messages of conversation 0: type, conversation (4), code (4). Others are ignored, so that later versions may add some.
const (
	controlReset = 1 // both directions of the conversation end, data under way is lost
	controlStop  = 2 // the sender of this reads no more; its own direction is not concerned

	controlLen = 9
)

// controlItem is a control message that waits to be handed over.
type controlItem struct {
	kind       uint8
	conv, code uint32
	release    *conversation // counts against a limit until the message is handed over
}

// sendControl queues a control message; release, if any, stops counting as an open stream when it leaves, which bounds
// the queue.
func (m *mux) sendControl(kind uint8, conv, code uint32, release *conversation) {
	m.control = append(m.control, controlItem{kind, conv, code, release})
	if kind == controlReset {
		m.resets[m.resetAt%maxGone] = conv
		m.resetAt++
	}
	if m.convs[0] == nil {
		m.convs[0] = newConversation(m, 0)
	}
	m.makeReady(m.convs[0])
}

// nextControl writes the next control message into buf and returns its length, 0 = there is none.
func (m *mux) nextControl(buf []byte) int {
	if len(m.control) == 0 {
		return 0
	}
	item := m.control[0]
	m.control = m.control[1:]
	if len(m.control) == 0 {
		m.control = nil
	}
	m.uncount(item.release)
	buf[0] = item.kind
	binary.BigEndian.PutUint32(buf[1:], item.conv)
	binary.BigEndian.PutUint32(buf[5:], item.code)
	return controlLen
}

// onControl handles a control message of the peer.
func (m *mux) onControl(b []byte) {
	if len(b) != controlLen {
		if len(b) > 0 && (b[0] == controlReset || b[0] == controlStop) {
			m.counts.Hostile++
		}
		return
	}
	conv, err := binary.BigEndian.Uint32(b[1:]), &ResetError{Code: binary.BigEndian.Uint32(b[5:]), Remote: true}
	c := m.convs[conv]
	switch {
	case conv == 0:
		m.counts.Hostile++
	case b[0] == controlReset && c != nil:
		m.discard(c, err)
		m.uncount(c)
	case b[0] == controlReset && !m.ours(conv): // it may have overtaken the opening of its stream
		if k := convIndex(conv); m.peerSeen.fits(k) {
			m.peerSeen.add(k)
		}
	case b[0] == controlStop && c != nil:
		c.stop(err)
		m.finishLater(c)
	}
}
