package kcptransport

import (
	"encoding/binary"
	"strings"
	"time"
)

// packetWriter makes the packets of one turn of a link.
type packetWriter struct {
	k       *linkLoop
	now     time.Time
	out     *outBatch
	session *session
}

// begin returns room for the frames of the next packet.
func (w *packetWriter) begin() []byte {
	if w.out.full() {
		w.out.flush(w.k.ep.cfg.Conn)
	}
	return w.out.space()[dataHeaderSize:dataHeaderSize]
}

// send seals the frames that were appended to what begin returned, for the given path. asks tells that they want an
// answer of some kind. It returns the packet, which is there until the next one is begun.
func (w *packetWriter) send(frames []byte, path Path, asks bool) []byte {
	b := w.session.seal(w.out.space(), frames)
	w.k.stats.PacketsSent++
	w.k.stats.BytesSent += uint64(len(b))
	if !path.IsValid() {
		if w.k.signal != nil {
			_ = w.k.signal.Send(b) // lost, as any packet may be
		}
		return b
	}
	w.push(b, path, asks)
	return b
}

// push sends a packet that was sealed in the batch's space.
func (w *packetWriter) push(b []byte, path Path, asks bool) {
	w.k.paths.sent(w.now, path, asks, w.put(b, path))
}

// put adds a packet that was made in the batch's space to the batch and returns its size.
func (w *packetWriter) put(b []byte, path Path) int {
	if path.Direct() {
		w.out.push(b, path.Addr)
		return len(b)
	}
	if c := w.k.circuit(path); c != nil {
		w.out.pushRelayed(b, c)
	}
	return relayPrefix + len(b)
}

// sendTwice is send by a path in doubt, and by another one as well: the peer takes what comes first.
func (w *packetWriter) sendTwice(frames []byte, path, other Path, asks bool) {
	b := w.send(frames, path, asks)
	w.push(append(w.out.space(), b...), other, asks) // the same packet, whatever is in front of it
}

// maxFrames is how many bytes of frames a packet holds.
func (w *packetWriter) maxFrames() int { return w.k.ep.cfg.maxFrames() }

// confirmSessions sends, for sessions in which the peer has not been heard, XX3 if there is one, in front of all else,
// and a probe under their keys unless all packets are: it is from a data packet that the peer knows the session is no
// replay. If the peer is heard under others, it may prefer one of them for good: both sides met by handshakes of their own.
func (w *packetWriter) confirmSessions() {
	for _, s := range w.k.sessions.list {
		if s.finishAt.IsZero() || w.now.Before(s.finishAt) {
			continue
		}
		if s != w.session && !w.session.heard.IsZero() && w.now.Sub(s.since) > confirmLimit {
			s.finish, s.finishAt = nil, time.Time{}
			continue
		}
		s.finishAt = w.now.Add(max(3*w.k.paths.rtt(), minProbeWait))
		path, ok := w.k.paths.current()
		if w.k.signal != nil && w.k.lost() {
			path, ok = Path{}, true
		}
		switch {
		case s.finish == nil || !ok:
		case path.IsValid():
			w.raw(s.finish, path)
		default:
			_ = w.k.signal.Send(s.finish) // lost, as any packet may be
		}
		if s != w.session && ok {
			o := w.k.paths.probe(w.now, path, 0)
			other := packetWriter{k: w.k, now: w.now, out: w.out, session: s}
			other.send(appendPadded(other.begin(), o.token), path, true)
		}
	}
}

// raw sends a packet that is not sealed here.
func (w *packetWriter) raw(b []byte, path Path) {
	if w.out.full() {
		w.out.flush(w.k.ep.cfg.Conn)
	}
	w.put(append(w.out.space(), b...), path)
}

// control sends the answers of this turn and the given probes, those of one path in one packet. What answers a packet of
// full size has full size, so that the way back is proven too; an answer is never larger than what it answers.
func (w *packetWriter) control(probes []outProbe) {
	answers := w.k.answers
	w.k.answers = w.k.answers[:0]
	for len(answers) > 0 || len(probes) > 0 {
		var path Path
		if len(answers) > 0 {
			path = answers[0].path
		} else {
			path = probes[0].path
		}
		frames, size, asks := w.begin(), 0, false
		for len(answers) > 0 && answers[0].path == path && len(frames)+answerFrameMax <= w.maxFrames() {
			frames = appendAnswer(frames, answers[0].token, answers[0].observed)
			if answers[0].size >= fullAnswer {
				size = max(size, min(answers[0].size-dataOverhead, w.maxFrames()))
			}
			answers = answers[1:]
		}
		for len(probes) > 0 && probes[0].path == path && len(frames)+answerFrameMax <= w.maxFrames() {
			frames = appendPadded(frames, probes[0].token)
			if asks = true; probes[0].padded {
				size = w.maxFrames()
			}
			probes = probes[1:]
		}
		if asks && w.k.paths.deaf(path) && len(frames) < w.maxFrames() {
			frames = append(frames, byte(frameDoubt))
		}
		if size > len(frames) {
			frames = appendPadding(frames, size-len(frames))
		}
		w.send(frames, path, asks)
	}
}

// bySignal sends the confirming probe by way of an introducer while nothing was heard that way.
func (w *packetWriter) bySignal() {
	k := w.k
	if k.signal == nil || k.signalAt.IsZero() || w.now.Before(k.signalAt) {
		return
	}
	o := k.paths.probe(w.now, Path{}, 0)
	w.send(appendPadded(w.begin(), o.token), Path{}, true)
	k.signalAt = w.now.Add(signalPause(k.signalRTT, k.signalProbes))
	if k.signalProbes++; k.signalProbes == maxSignalProbes {
		k.signalAt = time.Time{}
	}
}

// signalPause returns how long to wait for an answer by way of an introducer after n earlier confirming probes: two
// round trips at first, then twice as long each time (RFC 8489 section 6.2.1).
func signalPause(rtt time.Duration, n int) time.Duration {
	return min(max(2*rtt, minSignalRetry)<<n, maxSignalRetry)
}

// early sends one packet of stream data to where the peer has lately come up, beside the probe: if it has moved, its
// acknowledgement tells by the time the path is validated what got lost meanwhile.
func (w *packetWriter) early() {
	e := w.k.paths.newcomer()
	if e == nil {
		return
	}
	if e.early == earlyNone {
		e.early = earlyReady
		w.k.mux.repairNow(w.now)
	}
	frames, asks := w.streams(w.begin())
	if asks { // the pacer may hold it back for a moment
		e.early = earlyGone
	}
	if len(frames) > 0 {
		w.send(frames, e.path, asks)
	}
}

// data sends datagrams and stream data on the path in use, as much as may leave now.
func (w *packetWriter) data() {
	k := w.k
	path, ok := k.paths.current()
	spare := k.paths.spareInDoubt()
	if !ok || spare == nil && (k.paths.leaving() || k.paths.moving()) {
		return
	}
	keep := len(k.circuits) > 0 && spare == nil && k.resendAt.IsZero() && k.paths.spare() != nil
	if keep {
		if at, ok := k.mux.oldestFlight(); ok {
			k.recent.acked(at.Add(-k.paths.rtt())) // the peer may wait for an acknowledgement that was sent shortly before
		}
	}
	sent := 0
	for ; sent < maxTurnPackets; sent++ {
		frames := w.begin()
		before := len(frames)
		frames = w.datagrams(frames)
		asks := len(frames) > before
		owed := false
		if !asks {
			frames, owed = w.streams(frames)
			asks = owed
		}
		frames = w.marked(w.gone(frames))
		if len(frames) == before {
			return
		}
		if spare != nil {
			w.sendTwice(frames, path, spare.path, asks)
		} else {
			b := w.send(frames, path, asks)
			if keep {
				k.recent.add(w.now, b)
			}
		}
		if owed {
			k.paths.owes(w.now)
		}
	}
	k.link.inbox.poke() // there may be more
}

// datagrams appends as many waiting datagrams as fit.
func (w *packetWriter) datagrams(frames []byte) []byte {
	for {
		b, ok := w.k.link.datagrams.next(w.maxFrames() - len(frames) - sizedFrameHeader)
		if !ok {
			return frames
		}
		frames = appendDatagram(frames, b)
	}
}

// streams appends the next stream segments to an empty packet.
func (w *packetWriter) streams(frames []byte) (_ []byte, asks bool) {
	frames, at := openFrame(frames, frameKCP)
	start := len(frames)
	frames, ok := w.k.mux.poll(w.now, frames)
	if !ok {
		return frames[:at], false
	}
	return closeFrame(frames, at), carriesData(frames[start:])
}

// gone appends notices about unknown streams, as many as fit.
func (w *packetWriter) gone(frames []byte) []byte {
	for len(frames)+streamGoneSize <= w.maxFrames() {
		conv, ok := w.k.mux.pollGone()
		if !ok {
			break
		}
		frames = appendStreamGone(frames, conv)
	}
	return frames
}

const streamGoneSize = 1 + 4

// marked appends how many packets of the peer were marked, when there were more.
func (w *packetWriter) marked(frames []byte) []byte {
	if w.k.marked != w.k.told && len(frames)+1+4 <= w.maxFrames() {
		w.k.told = w.k.marked
		frames = appendMarked(frames, w.k.marked)
	}
	return frames
}

// tellClose tells the peer that the link ends, on the path in use, or on all that may work; false when there is none.
func (w *packetWriter) tellClose(code uint32, reason string, all bool) bool {
	path, ok := w.k.paths.current()
	if !ok {
		if w.k.signal != nil {
			w.closeOn(Path{}, code, reason)
		}
		return false
	}
	w.closeOn(path, code, reason)
	for _, e := range w.k.paths.paths {
		if all && e != w.k.paths.inUse && !e.validated.IsZero() {
			w.closeOn(e.path, code, reason)
		}
	}
	return true
}

func (w *packetWriter) closeOn(path Path, code uint32, reason string) {
	if w.session != nil {
		w.send(appendClose(w.begin(), code, reason), path, false)
	}
}

// carriesData reports whether KCP segments hold more than acknowledgements: data, or a question, so that an answer
// follows.
func carriesData(segments []byte) bool {
	return hasSegment(segments, func(s []byte) bool { return s[4] == kcpPush || s[4] == kcpAsk })
}

// confirms reports whether KCP segments acknowledge something that left since the path last changed: acknowledgements of what left
// before go on to come for a round trip, and tell nothing of the new one.
func (m *mux) confirms(segments []byte) bool {
	return hasSegment(segments, func(s []byte) bool {
		if s[4] != kcpAck {
			return false
		}
		t := m.log.get(binary.LittleEndian.Uint32(s[kcpOffTS:]))
		return t != nil && t.epoch == m.log.epoch
	})
}

// hasSegment reports whether there is a segment that is wanted.
func hasSegment(segments []byte, wanted func([]byte) bool) bool {
	for len(segments) >= kcpHeaderLen {
		if wanted(segments) {
			return true
		}
		n := kcpHeaderLen + int64(binary.LittleEndian.Uint32(segments[20:]))
		if n > int64(len(segments)) {
			return false
		}
		segments = segments[n:]
	}
	return false
}

// printable makes text that a peer sent harmless in a log.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F || r == 0xFFFD {
			return '?'
		}
		return r
	}, string(b))
}
