package kcptransport

import (
	"encoding/binary"
	"fmt"
	"io"
	"testing"
	"time"
)

// checkMux checks what must hold for a mux between turns, whatever the peer sent.
func checkMux(t testing.TB, m *mux) {
	t.Helper()
	wrong := func(format string, args ...any) {
		t.Helper()
		t.Fatalf(format+"\n%s", append(args, dump(m))...)
	}
	if n := len(m.convs); n > 2*m.cfg.maxStreams+1 {
		wrong("%d conversations", n)
	}
	if n := len(m.control); n > 4*m.cfg.maxStreams+1 {
		wrong("%d control messages wait", n)
	}
	if len(m.gones) > maxGone || len(m.accepts) > m.cfg.maxStreams {
		wrong("%d notices and %d streams wait", len(m.gones), len(m.accepts))
	}
	if m.windows > windowBudget || m.peerOpen < 0 || m.opened < 0 || m.peerOpen > m.cfg.maxStreams {
		wrong("accounts: windows %d, streams %d and %d", m.windows, m.opened, m.peerOpen)
	}
	flying := 0
	for num := m.log.oldest; before(num, m.log.next); num++ {
		if tx := m.log.at(num); tx.num == num && tx.state == txFlying {
			flying += int(tx.size)
		}
	}
	if flying != m.log.inflight {
		wrong("%d bytes fly, %d are counted", flying, m.log.inflight)
	}
	handed, windows := 0, uint32(0)
	for _, c := range m.convs {
		s, r := &c.send, &c.recv
		handed += s.handedBytes
		windows += r.window - recvWindowMin
		open := 0
		for sn := s.una; !s.stopped && sn != s.emitted; sn++ {
			if !s.at(sn).acked {
				open++
			}
		}
		switch {
		case open != s.outstanding:
			wrong("conversation %d: %d segments are outstanding, %d are counted", c.id, open, s.outstanding)
		case before(s.emitted, s.una), before(s.handed, s.emitted), before(s.una, s.fed), before(s.fed+4*kcpReserve+recvWindowMax, s.una):
			wrong("conversation %d: numbers are out of order", c.id)
		case before(r.next, r.consumed), before(r.consumed+r.window, r.next), r.window > recvWindowMax:
			wrong("conversation %d: the receiving window is wrong", c.id)
		case len(r.acks) > maxAcks+2*ackRepeats || len(r.repeats) > 4*ackRepeats:
			wrong("conversation %d: %d acknowledgements wait, %d are repeated", c.id, len(r.acks), len(r.repeats))
		}
	}
	if handed != m.handedBytes || windows != m.windows {
		wrong("accounts: handed %d of %d, windows %d of %d", m.handedBytes, handed, m.windows, windows)
	}
}

// lonelyMux is a mux whose peer is the test.
type lonelyMux struct {
	*mux
	t   testing.TB
	now time.Time
}

func newLonelyMux(t testing.TB, streams int) *lonelyMux {
	now := time.Now()
	m := newMux(muxConfig{even: true, maxPayload: 1204, maxStreams: streams, now: now, wake: func() {}, local: testAddr(1), remote: testAddr(2)})
	return &lonelyMux{mux: m, t: t, now: now}
}

// turn gives the mux packets and returns the segments it sends.
func (l *lonelyMux) turn(packets ...[]byte) (sent []kcpSegment) {
	for _, p := range packets {
		l.input(l.now, p)
	}
	l.endBatch(l.now)
	l.advance(l.now)
	for {
		packet, ok := l.poll(l.now, nil)
		if !ok {
			break
		}
		for len(packet) > 0 {
			seg, rest, err := parseSegment(packet)
			if err != nil {
				l.t.Fatal(err)
			}
			sent = append(sent, seg)
			packet = rest
		}
	}
	checkMux(l.t, l.mux)
	return sent
}

func describe(segments []kcpSegment) (s string) {
	for _, seg := range segments {
		s += fmt.Sprintf("%d:%d sn %d una %d wnd %d %q\n", seg.conv, seg.cmd, seg.sn, seg.una, seg.wnd, seg.data)
	}
	return s
}

// What a hostile peer may send costs no memory, and is counted.
func TestMuxHostile(t *testing.T) {
	open := "\x01kind"
	for name, c := range map[string]struct {
		segment []byte
		hostile bool
	}{
		"data of a stream of ours that was never opened": {madeSegment(2, kcpPush, 64, 0, 0, 0, open), true},
		"data far into a new stream":                     {madeSegment(1, kcpPush, 64, 0, recvWindowMin, 0, open), true},
		"new stream that acknowledges data":              {madeSegment(1, kcpPush, 64, 0, 0, 1, open), true},
		"new stream far ahead of the others":             {madeSegment(1+2*convSpan, kcpPush, 64, 0, 0, 0, open), true},
		"answer to nothing":                              {madeSegment(1, kcpAck, 64, 0, 0, 0, ""), false},
		"question for nothing":                           {madeSegment(1, kcpAsk, 64, 0, 0, 0, ""), false},
		"malformed":                                      {madeSegment(1, 99, 64, 0, 0, 0, open), true},
	} {
		l := newLonelyMux(t, 10)
		sent := l.turn(c.segment)
		if len(l.convs) != 0 || len(sent) != 0 || (l.counts.Hostile == 1) != c.hostile {
			t.Errorf("%s: %d conversations, counted %d, sent %s", name, len(l.convs), l.counts.Hostile, describe(sent))
		}
	}
}

// What is out of range in a stream that exists changes nothing.
func TestMuxHostileNumbers(t *testing.T) {
	l := newLonelyMux(t, 10)
	s, _ := l.open("mine")
	s.Write([]byte("hello"))
	if sent := l.turn(); len(sent) != 2 || sent[1].sn != 1 {
		t.Fatal(describe(sent))
	}
	for _, segment := range [][]byte{
		madeSegment(2, kcpTell, 64, 0, 0, 3, ""),                   // acknowledges what was never sent
		madeSegment(2, kcpTell, 64, 0, 0, 1<<31, ""),               // the same
		madeSegment(2, kcpAck, 64, 0, 2, 0, ""),                    // by name
		madeSegment(2, kcpPush, 64, 0, 3*recvWindowMax, 0, "\x03"), // far beyond the window
		madeSegment(2, kcpPush, 64, 0, ^uint32(maxStale), 0, "\x03"),
	} {
		before := l.counts.Hostile
		l.turn(segment)
		if l.counts.Hostile != before+1 {
			t.Errorf("%x was not counted", segment)
		}
	}
	c := l.convs[2]
	if c.send.una != 0 || c.send.outstanding != 2 || c.recv.next != 0 {
		t.Error(dump(l.mux))
	}
	l.turn(madeSegment(2, kcpPush, 64, 9, recvWindowMax, 0, "\x03")) // just beyond: told again what the window is
	if l.counts.Overrun != 1 || c.recv.next != 0 {
		t.Error(dump(l.mux))
	}
}

// A peer that breaks the order of messages gets its stream reset.
func TestMuxHostileMessages(t *testing.T) {
	for name, messages := range map[string][]string{
		"data before the opening":  {"\x02data"},
		"end before the opening":   {"\x03"},
		"opened twice":             {"\x01k", "\x01k"},
		"empty data":               {"\x01k", "\x02"},
		"data after the end":       {"\x01k", "\x03", "\x02x"},
		"ended twice":              {"\x01k", "\x03", "\x03"},
		"end with data":            {"\x01k", "\x03x"},
		"unknown message":          {"\x01k", "\x09x"},
		"kind that is too long":    {"\x01" + string(make([]byte, maxKind+1))},
		"message of zero as a tag": {"\x00"},
		"no kind":                  {"\x01"},
	} {
		l := newLonelyMux(t, 10)
		var sent []kcpSegment
		for sn, m := range messages {
			sent = append(sent, l.turn(madeSegment(1, kcpPush, 64, 0, uint32(sn), 0, m))...)
		}
		want := string([]byte{controlReset, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0x02})
		reset := false
		for _, seg := range sent {
			reset = reset || seg.conv == 0 && string(seg.data) == want
		}
		if !reset || l.convs[1] != nil {
			t.Errorf("%s: no reset in\n%s", name, describe(sent))
		}
	}
}

// The peer opens, resets and opens without end, and acknowledges nothing.
func TestMuxHostileChurn(t *testing.T) {
	l := newLonelyMux(t, 10)
	reset := uint32(0)
	for k := range uint32(20000) {
		conv := 2*k + 1
		code := binary.BigEndian.AppendUint32([]byte{controlReset}, conv)
		code = binary.BigEndian.AppendUint32(code, 5)
		l.turn(
			madeSegment(conv, kcpPush, 64, k, 0, 0, "\x01kind"),
			madeSegment(conv, kcpPush, 64, k, 1, 0, "\x09nonsense"),
			madeSegment(conv+200, kcpPush, 64, k, 0, 0, "\x01kind"),
			madeSegment(0, kcpPush, 64, k, reset, 0, string(code)),
		)
		reset = l.convs[0].recv.next
		l.now = l.now.Add(time.Millisecond)
	}
}

// FuzzMuxInput lets a peer that holds the keys send what it likes, in any order with what the user does.
func FuzzMuxInput(f *testing.F) {
	f.Add([]byte("0123456789abcdefghijklmnopqrstuvwxyz"))
	f.Add(append([]byte{0, 40}, madeSegment(1, kcpPush, 64, 0, 0, 0, "\x01kind")...))
	f.Add([]byte{1, 1, 81, 0, 0, 5, 1, 107, 2, 1, 3, 0, 6, 9, 7, 1, 5, 5, 5, 1, 0, 81, 0, 0, 9, 1, 0, 0, 0, 2, 0, 0, 0, 9})
	for seed := range byte(8) {
		script, _ := io.ReadAll(pattern(seed, 500))
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 4000 {
			return
		}
		next := func() byte {
			if len(script) == 0 {
				return 0
			}
			b := script[0]
			script = script[1:]
			return b
		}
		take := func(n int) []byte {
			b := make([]byte, n)
			copy(b, script)
			script = script[min(n, len(script)):]
			return b
		}
		l := newLonelyMux(t, 4)
		streams := make([]*Stream, 0, 8)
		for len(script) > 0 {
			switch op := next(); op % 10 {
			case 0: // anything
				l.input(l.now, take(int(next())))
			case 1, 2: // a segment that is nearly right
				conv := uint32(next() % 12)
				cmd := kcpPush + next()%4
				sn, una := uint32(int8(next())), uint32(int8(next()))
				ts := l.log.next - uint32(next()%16)
				if c := l.convs[conv]; c != nil {
					una += c.send.una
					if sn += c.recv.next; cmd == kcpAck {
						sn += c.send.una - c.recv.next
					}
				}
				data := ""
				if cmd == kcpPush {
					data = string(take(1 + int(next()%40)))
				}
				l.input(l.now, madeSegment(conv, cmd, uint16(next())<<(next()%9), ts, sn, una, data))
			case 3:
				l.endBatch(l.now)
			case 4:
				l.now = l.now.Add(time.Duration(next()) * 5 * time.Millisecond)
				l.advance(l.now)
				l.next()
			case 5:
				for packet, ok := l.poll(l.now, nil); ok; packet, ok = l.poll(l.now, nil) {
					if len(packet) > l.cfg.maxPayload {
						t.Fatalf("a packet of %d bytes", len(packet))
					}
				}
				l.pollGone()
			case 6:
				if s, err := l.open("kind"); err == nil {
					streams = append(streams, s)
				}
			case 7:
				l.mu.Lock()
				n := len(l.accepts)
				l.mu.Unlock()
				if n > 0 {
					s, err := l.accept(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					streams = append(streams, s)
				}
			case 8:
				if len(streams) == 0 {
					break
				}
				s := streams[int(next())%len(streams)]
				s.SetDeadline(time.Unix(1, 0))
				s.SetWriteDeadline(time.Time{})
				switch next() % 6 {
				case 0:
					s.Read(make([]byte, 100))
				case 1:
					if n, _ := s.queuedOut(); n < sendBuffer/2 {
						s.Write(make([]byte, int(next())*100))
					}
				case 2:
					s.CloseWrite()
				case 3:
					s.Close()
				case 4:
					s.Reset(uint32(next()))
				case 5:
					s.SetReadDeadline(time.Time{})
					if s.in.len() > 0 {
						s.Read(make([]byte, 1+int(next())))
					}
				}
			case 9:
				switch next() % 4 {
				case 0:
					l.gone(uint32(next() % 12))
				case 1:
					l.blocked(true)
				case 2:
					l.blocked(false)
				case 3:
					l.pathChanged(l.now, false)
				}
			}
			checkMux(t, l.mux)
		}
		l.stats()
		l.pending()
		l.close(ErrClosed)
		checkMux(t, l.mux)
	})
}
