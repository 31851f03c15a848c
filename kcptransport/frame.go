package kcptransport

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"unicode/utf8"
)

// frameKind is the first byte of a frame.
type frameKind uint8

const (
	framePadding    frameKind = 0 // one byte; ignored
	frameProbe      frameKind = 1 // token (8): asks for an answer on the path it came by
	frameAnswer     frameKind = 2 // token (8), length (1), address: answers a probe and says where it came from
	frameKCP        frameKind = 3 // length (2), KCP segments
	frameDatagram   frameKind = 4 // length (2), a datagram of the application
	frameClose      frameKind = 5 // code (4), length (1), reason: the link ends
	frameStreamGone frameKind = 6 // conversation (4): the sender knows no such stream
	frameDoubt      frameKind = 7 // nothing: the sender has heard nothing on the path it uses, although it asked
	frameMarked     frameKind = 8 // count (4): packets that relays on the way have marked since the link began
)

// Sizes in bytes.
const (
	sizedFrameHeader = 3 // of frameKCP and frameDatagram: kind, length (2)
	probeFrameSize   = 1 + 8
	answerFrameMax   = 1 + 8 + 1 + addr6Size
	maxCloseReason   = 255
)

// Errors that drop a packet.
var (
	errFrameUnknown = errors.New("kcptransport: parsing a packet: unknown frame")
	errFrameShort   = errors.New("kcptransport: parsing a packet: a frame is cut off")
	errFrameAddr    = errors.New("kcptransport: parsing a packet: an answer carries no valid address")
	errFrameNone    = errors.New("kcptransport: parsing a packet: it has no frame")
)

// appendPadding appends n bytes of padding. It may stand anywhere between frames.
func appendPadding(dst []byte, n int) []byte {
	return append(dst, make([]byte, n)...) // the compiler makes no slice of its own here
}

// appendProbe appends a request to send token back by the same path.
func appendProbe(dst []byte, token uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, byte(frameProbe)), token)
}

// appendPadded appends a probe and padding, so that together they are no smaller than the answer.
func appendPadded(dst []byte, token uint64) []byte {
	return appendPadding(appendProbe(dst, token), answerFrameMax-probeFrameSize)
}

// appendAnswer appends the answer to a probe. observed is the probe's source address, invalid when it came by Signal.
func appendAnswer(dst []byte, token uint64, observed netip.AddrPort) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, byte(frameAnswer)), token)
	at := len(dst)
	dst = appendAddr(append(dst, 0), observed)
	dst[at] = byte(len(dst) - at - 1)
	return dst
}

// openFrame appends the header of a frameKCP or frameDatagram whose content the caller appends next. It returns the
// position to hand to closeFrame.
func openFrame(dst []byte, kind frameKind) ([]byte, int) {
	return append(dst, byte(kind), 0, 0), len(dst)
}

// closeFrame fills in the length of the frame that was opened at position at and ends with dst. The content must be
// at most 65,535 bytes.
func closeFrame(dst []byte, at int) []byte {
	binary.BigEndian.PutUint16(dst[at+1:], uint16(len(dst)-at-sizedFrameHeader))
	return dst
}

// appendDatagram appends a datagram of at most 65,535 bytes.
func appendDatagram(dst, b []byte) []byte {
	dst, at := openFrame(dst, frameDatagram)
	return closeFrame(append(dst, b...), at)
}

// appendClose appends the end of the link. The reason is cut to 255 bytes.
func appendClose(dst []byte, code uint32, reason string) []byte {
	if len(reason) > maxCloseReason {
		cut := maxCloseReason
		for cut > 0 && !utf8.RuneStart(reason[cut]) {
			cut--
		}
		reason = reason[:cut]
	}
	dst = binary.BigEndian.AppendUint32(append(dst, byte(frameClose)), code)
	return append(append(dst, byte(len(reason))), reason...)
}

// appendStreamGone appends the notice that there is no stream with this conversation number.
func appendStreamGone(dst []byte, conv uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, byte(frameStreamGone)), conv)
}

// appendMarked appends how many packets came with the mark of a relay that has too much to carry.
func appendMarked(dst []byte, count uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, byte(frameMarked)), count)
}

// frame is one frame of a packet. Only the fields of its kind are set.
type frame struct {
	kind     frameKind
	token    uint64         // probe, answer
	observed netip.AddrPort // answer; invalid when the other side had no address to tell
	code     uint32         // close
	conv     uint32         // stream gone
	count    uint32         // marked
	data     []byte         // KCP segments, datagram, or close's reason (any bytes); part of the packet's buffer
}

// frameParser steps through the frames of one packet without allocating. Make it with parseFrames.
type frameParser struct{ rest []byte }

// parseFrames checks a whole packet, so that a packet with an error anywhere has no effect at all. It keeps a
// reference to plaintext, and so do the frames.
func parseFrames(plaintext []byte) (frameParser, error) {
	count := 0
	for rest := plaintext; len(rest) > 0; count++ {
		_, n, err := parseFrame(rest)
		if err != nil {
			return frameParser{}, err
		}
		rest = rest[n:]
	}
	if count == 0 {
		return frameParser{}, errFrameNone
	}
	return frameParser{plaintext}, nil
}

// next returns the next frame that is not padding, or false at the end.
func (p *frameParser) next() (frame, bool) {
	for len(p.rest) > 0 {
		f, n, err := parseFrame(p.rest)
		if err != nil { // cannot happen: parseFrames saw the same bytes
			p.rest = nil
			break
		}
		p.rest = p.rest[n:]
		if f.kind != framePadding {
			return f, true
		}
	}
	return frame{}, false
}

// parseFrame reads the frame at the start of b, which is not empty, and returns how many bytes it takes. A run of
// padding counts as one frame.
func parseFrame(b []byte) (f frame, n int, err error) {
	f.kind = frameKind(b[0])
	switch f.kind {
	case framePadding:
		for n < len(b) && b[n] == byte(framePadding) {
			n++
		}
		return f, n, nil
	case frameProbe:
		if len(b) < probeFrameSize {
			return f, 0, errFrameShort
		}
		f.token = binary.BigEndian.Uint64(b[1:])
		return f, probeFrameSize, nil
	case frameAnswer:
		return parseAnswer(b)
	case frameKCP, frameDatagram:
		if len(b) < sizedFrameHeader {
			return f, 0, errFrameShort
		}
		f.data, n, err = tail(b, sizedFrameHeader, int(binary.BigEndian.Uint16(b[1:])))
		return f, n, err
	case frameClose:
		if len(b) < 1+4+1 {
			return f, 0, errFrameShort
		}
		f.code = binary.BigEndian.Uint32(b[1:])
		f.data, n, err = tail(b, 1+4+1, int(b[5]))
		return f, n, err
	case frameStreamGone:
		if len(b) < 1+4 {
			return f, 0, errFrameShort
		}
		f.conv = binary.BigEndian.Uint32(b[1:])
		return f, 1 + 4, nil
	case frameDoubt:
		return f, 1, nil
	case frameMarked:
		if len(b) < 1+4 {
			return f, 0, errFrameShort
		}
		f.count = binary.BigEndian.Uint32(b[1:])
		return f, 1 + 4, nil
	}
	return f, 0, errFrameUnknown
}

func parseAnswer(b []byte) (f frame, n int, err error) {
	if len(b) < 1+8+1 {
		return f, 0, errFrameShort
	}
	f.kind = frameAnswer
	f.token = binary.BigEndian.Uint64(b[1:])
	addr, n, err := tail(b, 1+8+1, int(b[9]))
	if err != nil || len(addr) == 0 {
		return f, n, err
	}
	var ok bool
	if f.observed, ok = parseAddr(addr); !ok {
		return f, 0, errFrameAddr
	}
	return f, n, nil
}

// tail returns the size bytes behind a frame's header, and the length of header and tail together.
func tail(b []byte, header, size int) (data []byte, n int, err error) {
	if len(b)-header < size {
		return nil, 0, errFrameShort
	}
	return b[header : header+size : header+size], header + size, nil
}
