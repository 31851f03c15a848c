package kcptransport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// madeSegment makes a segment as it travels.
func madeSegment(conv uint32, cmd uint8, wnd uint16, ts, sn, una uint32, data string) []byte {
	b := appendSegmentHeader(nil, conv, cmd, wnd, ts, sn, una)
	binary.LittleEndian.PutUint32(b[20:], uint32(len(data)))
	return append(b, data...)
}

func TestParseSegment(t *testing.T) {
	good := madeSegment(7, kcpPush, 300, 1, 2, 3, "data")
	seg, rest, err := parseSegment(append(good, "rest"...))
	if err != nil || string(rest) != "rest" || string(seg.data) != "data" || !bytes.Equal(seg.raw, good) ||
		seg.conv != 7 || seg.cmd != kcpPush || seg.wnd != 300 || seg.ts != 1 || seg.sn != 2 || seg.una != 3 {
		t.Fatalf("%+v, rest %q, %v", seg, rest, err)
	}
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for name, c := range map[string]struct {
		segment []byte
		want    error
	}{
		"empty":                {nil, errSegmentShort},
		"cut header":           {good[:23], errSegmentShort},
		"cut data":             {good[:27], errSegmentShort},
		"length over 1,500":    {madeSegment(7, kcpPush, 0, 0, 0, 0, string(make([]byte, 1477))), errSegmentLong},
		"length of 4 GB":       {change(23, 0xff), errSegmentLong},
		"unknown command":      {change(4, 80), errSegmentForm},
		"another one":          {change(4, 85), errSegmentForm},
		"a fragment":           {change(5, 1), errSegmentForm},
		"PUSH of nothing":      {madeSegment(7, kcpPush, 0, 0, 0, 0, ""), errSegmentForm},
		"ACK with data":        {madeSegment(7, kcpAck, 0, 0, 0, 0, "x"), errSegmentForm},
		"window tell and data": {madeSegment(7, kcpTell, 0, 0, 0, 0, "x"), errSegmentForm},
	} {
		if _, _, err := parseSegment(c.segment); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := parseSegment(madeSegment(7, kcpPush, 0, 0, 0, 0, string(make([]byte, 1476)))); err != nil {
		t.Errorf("the longest segment: %v", err)
	}
}

func FuzzSegments(f *testing.F) {
	f.Add(madeSegment(2, kcpPush, 300, 1, 2, 3, "data"))
	f.Add(append(madeSegment(2, kcpAck, 300, 1, 2, 3, ""), madeSegment(2, kcpAsk, 300, 1, 2, 3, "")...))
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		for rest := b; len(rest) > 0; {
			seg, next, err := parseSegment(rest)
			if err != nil {
				return
			}
			if len(seg.raw) < kcpHeaderLen || len(seg.raw) > kcpMaxSegment || len(seg.raw)+len(next) != len(rest) {
				t.Fatalf("a segment of %d bytes from %d, %d left", len(seg.raw), len(rest), len(next))
			}
			again := madeSegment(seg.conv, seg.cmd, seg.wnd, seg.ts, seg.sn, seg.una, string(seg.data))
			if !bytes.Equal(again, seg.raw) {
				t.Fatal("the segment does not survive the round trip")
			}
			total += len(seg.raw)
			rest = next
		}
		if total != len(b) {
			t.Fatal("bytes are missing")
		}
	})
}
