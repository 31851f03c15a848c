package kcptransport

import (
	"encoding/binary"
	"errors"
)

// A KCP segment as it travels (all fields little-endian):
//
//	 0               4   5   6       8              12              16              20              24
//	+---------------+---+---+-------+---------------+---------------+---------------+---------------+------
//	| conv          |cmd|frg| wnd   | ts            | sn            | una           | len           | data
//	+---------------+---+---+-------+---------------+---------------+---------------+---------------+------
//
// ts of a PUSH is opaque to its receiver, which returns it in the ACK. Here it numbers the transmissions of a link, so
// that an ACK names exactly one of them, also after a retransmission.
const (
	kcpHeaderLen  = 24
	kcpMaxSegment = 1500 // what the buffers of the kcp package hold; a longer segment makes it panic

	kcpPush = 81 // data
	kcpAck  = 82 // acknowledges sn and, as every segment does, all before una
	kcpAsk  = 83 // asks for the window
	kcpTell = 84 // tells the window
)

// Offsets of the fields that are rewritten on the way.
const (
	kcpOffWnd = 6
	kcpOffTS  = 8
	kcpOffSN  = 12
	kcpOffUna = 16
)

var (
	errSegmentShort = errors.New("kcptransport: parsing a KCP segment: it is cut off")
	errSegmentLong  = errors.New("kcptransport: parsing a KCP segment: it is too long")
	errSegmentForm  = errors.New("kcptransport: parsing a KCP segment: its command, fragment or length is not one we use")
	errSegmentRange = errors.New("kcptransport: KCP segment acknowledges or numbers what cannot be")
)

// kcpSegment is one parsed segment. Its slices alias the packet.
type kcpSegment struct {
	conv        uint32
	cmd         uint8
	wnd         uint16
	ts, sn, una uint32
	data        []byte
	raw         []byte // header and data
}

// parseSegment reads the first segment of b, which comes from the network, and returns what follows it. What it accepts
// is safe to give to the kcp package as far as the form goes; numbers are checked by the conversation.
func parseSegment(b []byte) (seg kcpSegment, rest []byte, err error) {
	if len(b) < kcpHeaderLen {
		return seg, nil, errSegmentShort
	}
	n := binary.LittleEndian.Uint32(b[20:])
	if n > kcpMaxSegment-kcpHeaderLen {
		return seg, nil, errSegmentLong
	}
	if uint32(len(b)-kcpHeaderLen) < n {
		return seg, nil, errSegmentShort
	}
	end := kcpHeaderLen + int(n)
	seg = kcpSegment{
		conv: binary.LittleEndian.Uint32(b),
		cmd:  b[4],
		wnd:  binary.LittleEndian.Uint16(b[kcpOffWnd:]),
		ts:   binary.LittleEndian.Uint32(b[kcpOffTS:]),
		sn:   binary.LittleEndian.Uint32(b[kcpOffSN:]),
		una:  binary.LittleEndian.Uint32(b[kcpOffUna:]),
		data: b[kcpHeaderLen:end:end],
		raw:  b[:end:end],
	}
	frg := b[5]
	switch {
	case frg != 0, seg.cmd < kcpPush, seg.cmd > kcpTell:
		return seg, nil, errSegmentForm
	case (seg.cmd == kcpPush) != (n > 0): // a PUSH of length 0 would stall the reader; nothing else has data
		return seg, nil, errSegmentForm
	}
	return seg, b[end:], nil
}

// appendSegmentHeader appends the header of a segment without data.
func appendSegmentHeader(dst []byte, conv uint32, cmd uint8, wnd uint16, ts, sn, una uint32) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, conv)
	dst = append(dst, cmd, 0)
	dst = binary.LittleEndian.AppendUint16(dst, wnd)
	dst = binary.LittleEndian.AppendUint32(dst, ts)
	dst = binary.LittleEndian.AppendUint32(dst, sn)
	dst = binary.LittleEndian.AppendUint32(dst, una)
	return binary.LittleEndian.AppendUint32(dst, 0)
}

// before reports whether serial number a comes before b (RFC 1982 arithmetic, valid within 2^31).
func before(a, b uint32) bool { return int32(a-b) < 0 }
