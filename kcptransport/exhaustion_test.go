package kcptransport

import (
	"testing"
	"testing/synctest"
	"time"
)

// handLoop is a link whose turns the test takes itself, and whose peer it is.
type handLoop struct {
	*testing.T
	*linkLoop
	conn *wireConn
	peer *sessionKeys // of the newest session
}

func newHandLoop(t *testing.T) *handLoop {
	conn := newWireConn()
	e, err := Listen(Config{Conn: conn, Identity: testIdentity(2), App: "test", Rand: seeded(2), DeadAfter: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	l, loop, err := newLink(e, testIdentity(1).ID(), linkID{1, 1}, remoteID{}, seeded(3), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	e.table.links[l.peer] = l
	t.Cleanup(func() { e.table.removeLink(l) })
	h := &handLoop{T: t, linkLoop: loop, conn: conn}
	h.newKeys(1)
	return h
}

// newKeys gives the loop a session that it has begun, and that the peer has confirmed.
func (h *handLoop) newKeys(index uint32) {
	h.Helper()
	send, receive := [32]byte{byte(index)}, [32]byte{byte(index), 1}
	ours, err := newSessionKeys(cipherAESGCM, send, receive)
	if err != nil {
		h.Fatal(err)
	}
	if h.peer, err = newSessionKeys(cipherAESGCM, receive, send); err != nil {
		h.Fatal(err)
	}
	est := &established{keys: ours, peer: h.link.peer, remoteIndex: index, initiator: true}
	h.take(sessionMessage{est: est, localIndex: index, from: nodeAddrPort(1), rtt: time.Millisecond})
	p := newInPacket()
	p.from, p.n = nodeAddrPort(1), copy(p.buf[:], h.peer.seal(nil, index, 0, appendProbe(nil, 1)))
	h.take(nil, p)
	h.conn.take() // some of it under the old keys
}

// take takes one turn, with a message or packets.
func (h *handLoop) take(m linkMessage, packets ...*inPacket) {
	var list packetList
	for _, p := range packets {
		list.push(p)
	}
	var messages []linkMessage
	if m != nil {
		messages = append(messages, m)
	}
	h.turn(time.Now(), &list, messages)
}

// sent returns how many data packets left that the peer can open, and how many first messages.
func (h *handLoop) sent() (data, firsts int) {
	h.Helper()
	for _, p := range h.conn.take() {
		switch packetType(p.b) {
		case kindFirst:
			firsts++
		case kindData:
			if _, _, err := h.peer.open(nil, p.b); err != nil {
				h.Errorf("the peer cannot open a packet: %v", err)
			}
			data++
		}
	}
	return data, firsts
}

// A key that has sealed 2^28 packets is to be renewed, and goes on until it is. When the peer takes no new keys the link ends.
func TestExhaustedKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandLoop(t)
		s, err := h.link.OpenStream(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		write := func() {
			if _, err := s.Write([]byte("a message")); err != nil {
				t.Fatal(err)
			}
			h.take(nil)
		}
		write()
		if data, firsts := h.sent(); data == 0 || firsts != 0 {
			t.Fatalf("%d packets, %d first messages", data, firsts)
		}
		h.sessions.best().next = rekeyAfterPackets - 1
		write()
		write()
		if data, firsts := h.sent(); data == 0 || firsts != 1 {
			t.Fatalf("near the limit: %d packets, %d first messages, want one", data, firsts)
		}
		time.Sleep(2 * guessTime)
		write()
		if data, _ := h.sent(); data == 0 {
			t.Fatal("nothing is sent while keys are renewed")
		}

		h.newKeys(2) // the peer answers
		if next := h.sessions.best().next; next > 100 {
			t.Fatalf("the old keys are still in use: packet %d", next)
		}
		write()
		if data, _ := h.sent(); data == 0 {
			t.Fatal("nothing is sent under the new keys")
		}

		time.Sleep(sessionRetirement)
		h.take(nil)
		h.conn.take()
		if n := len(h.sessions.list); n != 1 {
			t.Fatalf("%d sessions", n)
		}
		h.sessions.best().next = maxSessionPackets - 1
		write()
		if data, _ := h.sent(); data != 1 || h.ended != nil {
			t.Fatalf("%d packets at the last number, %v", data, h.ended)
		}
		write()
		if data, _ := h.sent(); data != 0 || h.ended == nil {
			t.Fatalf("%d packets beyond the last number, %v", data, h.ended)
		}
	})
}

// A session that is used up gives way to one that the peer was not heard under yet.
func TestExhaustedSessionGivesWay(t *testing.T) {
	used := &session{localIndex: 1, since: testStart, heard: testStart, next: maxSessionPackets}
	fresh := &session{localIndex: 2, since: testStart.Add(time.Hour)}
	for _, list := range [][]*session{{used, fresh}, {fresh, used}} {
		if l := (sessions{list: list}); l.best() != fresh {
			t.Error("chose a session that is used up")
		}
	}
}
