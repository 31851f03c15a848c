package relaymesh

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/2xppg/xppg/kcptransport"
)

func TestGreetingOnTheWire(t *testing.T) {
	got := appendGreeting(nil, frameRequest, kcptransport.PeerID{1, 2, 3})
	want := append([]byte{0, 34, 1, 1, 1, 2, 3}, make([]byte, 29)...)
	if !bytes.Equal(got, want) {
		t.Errorf("request is % x, want % x", got, want)
	}
}

func TestReadFrame(t *testing.T) {
	long := append([]byte{0xff, 0xff}, make([]byte, 1<<16)...)
	for _, c := range []struct {
		name  string
		bytes []byte
		want  error
	}{
		{"nothing", nil, io.EOF},
		{"half a length", []byte{0}, io.ErrUnexpectedEOF},
		{"no body", []byte{0, 3}, io.ErrUnexpectedEOF},
		{"part of a body", []byte{0, 3, 5, 1}, io.ErrUnexpectedEOF},
		{"empty", []byte{0, 0}, errFrameEmpty},
		{"too long", long, errFrameLong},
		{"whole", []byte{0, 3, 5, 1, 2}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := iotest.OneByteReader(bytes.NewReader(c.bytes))
			frame, err := readFrame(r, make([]byte, maxFrameBytes))
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if err == nil && !bytes.Equal(frame, c.bytes) {
				t.Errorf("frame % x, want % x", frame, c.bytes)
			}
		})
	}
}

func TestParseGreeting(t *testing.T) {
	good := appendGreeting(nil, frameOffer, kcptransport.PeerID{7})
	later := appendFrame(nil, frameOffer, append(bytes.Clone(good[3:]), 1, 2, 3)...)
	for _, frame := range [][]byte{good, later} {
		if peer, err := parseGreeting(frame, frameOffer); err != nil || peer != (kcptransport.PeerID{7}) {
			t.Errorf("% x: peer %v, error %v", frame, peer, err)
		}
	}
	otherVersion := bytes.Clone(good)
	otherVersion[3] = 2
	for name, frame := range map[string][]byte{
		"another type":    appendGreeting(nil, frameRequest, kcptransport.PeerID{7}),
		"another version": otherVersion,
		"no version":      {0, 1, byte(frameOffer)},
		"short":           appendFrame(nil, frameOffer, good[3:20]...),
		"nobody":          appendGreeting(nil, frameOffer, kcptransport.PeerID{}),
	} {
		if _, err := parseGreeting(frame, frameOffer); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(appendGreeting(nil, frameRequest, kcptransport.PeerID{1}))
	f.Add(appendFrame(appendFrame(nil, frameAccept), framePacket, 1, 2, 3))
	f.Add([]byte{0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		buf := make([]byte, maxFrameBytes)
		var again []byte
		for {
			frame, err := readFrame(r, buf)
			if err != nil {
				break
			}
			_, _ = parseGreeting(frame, frameOffer)
			typ, body := splitFrame(frame)
			again = appendFrame(again, typ, body...)
		}
		if !bytes.HasPrefix(b, again) {
			t.Errorf("frames of % x are % x", b, again)
		}
	})
}
