package kcptransport

import (
	"bytes"
	"testing"
)

func TestPacketType(t *testing.T) {
	stun := make([]byte, 20)
	copy(stun, []byte{0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42})
	notSTUN := bytes.Clone(stun)
	notSTUN[7]++
	sized := func(kind byte, n int) []byte { return append([]byte{kind}, make([]byte, n-1)...) }
	for _, test := range []struct {
		name string
		b    []byte
		want packetKind
	}{
		{"nothing", nil, kindUnknown},
		{"STUN", stun, kindSTUN}, {"no cookie", notSTUN, kindUnknown}, {"short STUN", stun[:19], kindUnknown},
		{"IK1", sized(typeIK1, 11), kindFirst}, {"XX1", sized(typeXX1, 1200), kindFirst}, {"short IK1", sized(typeIK1, 10), kindUnknown},
		{"IK2", sized(typeIK2, 10), kindAnswer}, {"XX2", sized(typeXX2, 10), kindAnswer}, {"XX3", sized(typeXX3, 10), kindFinish},
		{"reject", sized(typeReject, 7), kindReject}, {"short reject", sized(typeReject, 6), kindUnknown},
		{"data", sized(typeData, 25), kindData}, {"short data", sized(typeData, 24), kindUnknown},
		{"relayed", sized(typeRelayed, 6), kindRelayed}, {"DTLS", sized(20, 30), kindUnknown}, {"other", sized(0xFF, 30), kindUnknown},
	} {
		if got := packetType(test.b); got != test.want {
			t.Errorf("%s: kind %d, want %d", test.name, got, test.want)
		}
	}
}

func TestReceiverIndex(t *testing.T) {
	const index = 0x01020304
	at := func(kind byte, offset, size int) []byte {
		b := make([]byte, size)
		b[0] = kind
		copy(b[offset:], []byte{1, 2, 3, 4})
		return b
	}
	for _, b := range [][]byte{at(typeData, 1, 25), at(typeReject, 2, 7), at(typeIK2, 6, 10), at(typeXX2, 6, 10), at(typeXX3, 6, 10)} {
		if got, ok := receiverIndex(b); !ok || got != index {
			t.Errorf("type %#x: %#x, %v", b[0], got, ok)
		}
	}
	for _, b := range [][]byte{at(typeIK1, 2, 1200), at(typeXX1, 2, 1200), at(typeRelayed, 1, 5), nil} {
		if _, ok := receiverIndex(b); ok {
			t.Errorf("%x has a receiver index", b)
		}
	}
}

func FuzzPacketHeader(f *testing.F) {
	f.Add([]byte{typeIK1, 1, 0, 0, 0, 1, 1, 2, 2, 2, 2})
	f.Add([]byte{typeXX3, 1, 0, 0, 0, 1, 0, 0, 0, 2})
	f.Add([]byte{typeReject, 1, 0, 0, 0, 1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		kind := packetType(b)
		receiverIndex(b)
		switch kind {
		case kindFirst:
			if !bytes.HasPrefix(b, parseFirstHeader(b).append(nil)) {
				t.Error("first header does not survive")
			}
			if refusal := appendReject(nil, b, RejectBusy); len(refusal) > len(b) || packetType(refusal) != kindReject {
				t.Errorf("refusal %x", refusal)
			}
		case kindAnswer, kindFinish:
			if !bytes.HasPrefix(b, parseAnswerHeader(b).append(nil)) {
				t.Error("answer header does not survive")
			}
		case kindReject:
			if _, refusal := parseReject(b); refusal.Error() == "" {
				t.Error("a refusal without words")
			}
		}
	})
}
