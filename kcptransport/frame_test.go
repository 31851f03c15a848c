package kcptransport

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// appendFrame encodes f; the tests' inverse of the parser.
func appendFrame(dst []byte, f frame) []byte {
	switch f.kind {
	case frameProbe:
		return appendProbe(dst, f.token)
	case frameAnswer:
		return appendAnswer(dst, f.token, f.observed)
	case frameKCP:
		dst, at := openFrame(dst, frameKCP)
		return closeFrame(append(dst, f.data...), at)
	case frameDatagram:
		return appendDatagram(dst, f.data)
	case frameClose:
		return appendClose(dst, f.code, string(f.data))
	case frameStreamGone:
		return appendStreamGone(dst, f.conv)
	case frameDoubt:
		return append(dst, byte(frameDoubt))
	case frameMarked:
		return appendMarked(dst, f.count)
	}
	panic("no such frame")
}

func allFrames(t interface{ Fatal(...any) }, plaintext []byte) []frame {
	p, err := parseFrames(plaintext)
	if err != nil {
		t.Fatal(err)
	}
	var all []frame
	for f, ok := p.next(); ok; f, ok = p.next() {
		all = append(all, f)
	}
	return all
}

func genAddr() *rapid.Generator[netip.AddrPort] {
	return rapid.Custom(func(t *rapid.T) netip.AddrPort {
		size := rapid.SampledFrom([]int{4, 16}).Draw(t, "size")
		ip, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "ip"))
		return netip.AddrPortFrom(ip.Unmap(), rapid.Uint16().Draw(t, "port"))
	})
}

func genFrame() *rapid.Generator[frame] {
	return rapid.Custom(func(t *rapid.T) frame {
		f := frame{kind: frameKind(rapid.IntRange(int(frameProbe), int(frameMarked)).Draw(t, "kind"))}
		data := func(limit int) []byte {
			return append([]byte{}, rapid.SliceOfN(rapid.Byte(), 0, limit).Draw(t, "data")...)
		}
		switch f.kind {
		case frameProbe:
			f.token = rapid.Uint64().Draw(t, "token")
		case frameAnswer:
			f.token = rapid.Uint64().Draw(t, "token")
			if rapid.Bool().Draw(t, "has an address") {
				f.observed = genAddr().Draw(t, "observed")
			}
		case frameKCP, frameDatagram:
			f.data = data(100)
		case frameClose:
			f.code, f.data = rapid.Uint32().Draw(t, "code"), data(maxCloseReason)
		case frameStreamGone:
			f.conv = rapid.Uint32().Draw(t, "conv")
		case frameMarked:
			f.count = rapid.Uint32().Draw(t, "count")
		}
		return f
	})
}

func TestFramesSurvive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		frames := rapid.SliceOfN(genFrame(), 1, 10).Draw(t, "frames")
		b := appendPadding(nil, rapid.IntRange(0, 3).Draw(t, "padding"))
		for _, f := range frames {
			b = appendPadding(appendFrame(b, f), rapid.IntRange(0, 3).Draw(t, "padding"))
		}
		if got := allFrames(t, b); !reflect.DeepEqual(got, frames) {
			t.Fatalf("%x\ngot  %+v\nwant %+v", b, got, frames)
		}
	})
}

func TestFrameErrors(t *testing.T) {
	whole := appendProbe(nil, 1)
	for _, test := range []struct {
		name string
		b    []byte
		want error
	}{
		{"nothing", nil, errFrameNone},
		{"unknown", append(whole, 9), errFrameUnknown},
		{"probe", whole[:8], errFrameShort},
		{"answer", appendAnswer(nil, 1, netip.AddrPort{})[:9], errFrameShort},
		{"answer's address", appendAnswer(nil, 1, netip.MustParseAddrPort("192.0.2.1:1"))[:15], errFrameShort},
		{"answer's address length", append(appendAnswer(nil, 1, netip.AddrPort{})[:9], 3, 1, 2, 3), errFrameAddr},
		{"datagram header", []byte{byte(frameDatagram), 0}, errFrameShort},
		{"datagram", appendDatagram(nil, []byte("abc"))[:5], errFrameShort},
		{"KCP that claims much", []byte{byte(frameKCP), 0xFF, 0xFF}, errFrameShort},
		{"close", appendClose(nil, 1, "abc")[:5], errFrameShort},
		{"close's reason", appendClose(nil, 1, "abc")[:8], errFrameShort},
		{"gone", appendStreamGone(nil, 1)[:4], errFrameShort},
		{"marked", appendMarked(nil, 1)[:4], errFrameShort},
	} {
		for _, prefix := range [][]byte{nil, {0, 0}, whole} {
			if test.b == nil && len(prefix) > 0 {
				continue
			}
			if _, err := parseFrames(append(bytes.Clone(prefix), test.b...)); !errors.Is(err, test.want) {
				t.Errorf("%s behind %x: %v, want %v", test.name, prefix, err, test.want)
			}
		}
	}
	if got := allFrames(t, make([]byte, 1000)); len(got) != 0 {
		t.Errorf("padding gave %v", got)
	}
}

func TestCloseReasonIsCut(t *testing.T) {
	for _, reason := range []string{strings.Repeat("é", 200), strings.Repeat("a", 300), strings.Repeat("\x80", 300)} {
		f := allFrames(t, appendClose(nil, 1, reason))[0]
		if len(f.data) > maxCloseReason || !strings.HasPrefix(reason, string(f.data)) {
			t.Errorf("reason became %q", f.data)
		}
	}
	if f := allFrames(t, appendClose(nil, 1, strings.Repeat("é", 200)))[0]; len(f.data) != 254 {
		t.Errorf("cut to %d bytes, not between two characters", len(f.data))
	}
}

// A frame's data ends where the frame ends: appending to it must not write over the next frame.
func TestFrameDataIsClipped(t *testing.T) {
	b := appendProbe(appendDatagram(nil, []byte("abc")), 1)
	f := allFrames(t, b)[0]
	_ = append(f.data, 0xFF)
	if got := allFrames(t, b); len(got) != 2 || got[1].kind != frameProbe {
		t.Errorf("frames are %+v", got)
	}
}

func TestFramesDoNotAllocate(t *testing.T) {
	addr := netip.MustParseAddrPort("[2001:db8::1]:1")
	buf, data := make([]byte, 0, 2000), make([]byte, 1000)
	if n := testing.AllocsPerRun(100, func() {
		b := appendAnswer(appendProbe(buf, 1), 2, addr)
		b = appendPadding(appendDatagram(b, data), 100)
		p, err := parseFrames(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, ok := p.next(); ok; _, ok = p.next() {
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(appendClose(appendDatagram(appendProbe(nil, 1), []byte("abc")), 7, "bye"))
	f.Add(appendAnswer(appendStreamGone([]byte{0, 0}, 5), 1, netip.MustParseAddrPort("192.0.2.1:1")))
	f.Add([]byte{byte(frameKCP), 0xFF, 0xFF, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseFrames(b)
		if err != nil {
			return
		}
		for f, ok := p.next(); ok; f, ok = p.next() {
			again, n, err := parseFrame(appendFrame(nil, f))
			if err != nil || n == 0 || !reflect.DeepEqual(again, f) {
				t.Fatalf("%+v came back as %+v, %v", f, again, err)
			}
		}
	})
}

func BenchmarkParseFrames(b *testing.B) {
	packet := appendDatagram(appendDatagram(appendProbe(nil, 1), make([]byte, 500)), make([]byte, 500))
	b.ReportAllocs()
	for b.Loop() {
		p, err := parseFrames(packet)
		if err != nil {
			b.Fatal(err)
		}
		for _, ok := p.next(); ok; _, ok = p.next() {
		}
	}
}
