package kcptransport

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

func TestHelloSurvives(t *testing.T) {
	hinting := testHello(2)
	hinting.Hint = bytes.Repeat([]byte{7}, maxHint)
	for name, h := range map[string]Hello{"full": testHello(1), "bare": {}, "with a hint": hinting} {
		b, err := h.encode()
		if err != nil {
			t.Fatal(name, err)
		}
		got, err := decodeHello(b)
		if err != nil {
			t.Fatal(name, err)
		}
		wantHello(t, got, h)
	}
}

func TestHelloEncodeLeavesOut(t *testing.T) {
	h := Hello{Candidates: []Candidate{{Type: Host}}} // without address
	for n := range 20 {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), 1)
		h.Candidates = append(h.Candidates, Candidate{addr, Host, uint32(n)})
	}
	b, err := h.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeHello(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Candidates) != maxCandidates || got.Candidates[0] != h.Candidates[1] {
		t.Errorf("candidates are %v", got.Candidates)
	}
}

// encodeAny makes the CBOR of a hello that encode would refuse to make.
func encodeAny(t testing.TB, changes map[int]any) []byte {
	t.Helper()
	m := map[int]any{1: make([]byte, 8)}
	for k, v := range changes {
		m[k] = v
	}
	b, err := cbor.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDecodeHelloTolerates(t *testing.T) {
	addr := appendAddr(nil, netip.MustParseAddrPort("192.0.2.1:1"))
	h, err := decodeHello(encodeAny(t, map[int]any{
		3:  []any{[]any{addr, 1, 5}, []any{addr, 99, 5}, []any{[]byte{1}, 1, 5}, []any{make([]byte, 6), 1, 5}},
		4:  []byte{1, 2, 3},
		5:  make([]byte, maxHint+1),
		9:  "of a later version",
		10: map[string]any{"a": []int{1, 2, 3}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Candidates) != 1 || h.Observed.IsValid() || h.Hint != nil {
		t.Errorf("%+v", h)
	}
}

func TestDecodeHelloRefuses(t *testing.T) {
	addr := appendAddr(nil, netip.MustParseAddrPort("192.0.2.1:1"))
	many := func(n int, v any) (list []any) {
		for range n {
			list = append(list, v)
		}
		return list
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, b := range map[string][]byte{
		"nothing":               nil,
		"not a map":             {0x01},
		"no link ID":            {0xa0},
		"short link ID":         encodeAny(t, map[int]any{1: make([]byte, 7)}),
		"17 candidates":         encodeAny(t, map[int]any{3: many(17, []any{addr, 1, 5})}),
		"short candidate":       encodeAny(t, map[int]any{3: []any{[]any{addr, 1}}}),
		"huge priority":         encodeAny(t, map[int]any{3: []any{[]any{addr, 1, uint64(1) << 32}}}),
		"33 capabilities":       encodeAny(t, map[int]any{2: many(33, "a")}),
		"long capability":       encodeAny(t, map[int]any{2: []string{strings.Repeat("a", 33)}}),
		"empty capability":      encodeAny(t, map[int]any{2: []string{""}}),
		"too long":              encodeAny(t, map[int]any{9: make([]byte, maxHello)}),
		"deep":                  encodeAny(t, map[int]any{9: []any{[]any{[]any{[]any{[]any{}}}}}}),
		"bytes behind":          append(encodeAny(t, nil), 0),
		"key twice":             unhex("a2" + "0148" + "0000000000000000" + "0148" + "0000000000000001"),
		"indefinite length":     unhex("bf" + "0148" + "0000000000000000" + "ff"),
		"tag":                   unhex("c1" + "a1" + "0148" + "0000000000000000"),
		"a claim of 4 GB":       unhex("a1" + "015affffffff"),
		"a claim of much array": unhex("a1" + "039affffffff"),
		"bad UTF-8":             unhex("a2" + "0148" + "0000000000000000" + "028161ff"),
	} {
		if h, err := decodeHello(b); err == nil {
			t.Errorf("%s: decoded to %+v", name, h)
		}
	}
}

func FuzzHello(f *testing.F) {
	full, err := testHello(1).encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add(encodeAny(f, map[int]any{9: []any{1, "a"}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHello(b)
		if err != nil {
			return
		}
		if len(h.Candidates) > maxCandidates || len(h.Capabilities) > maxCapabilities {
			t.Fatalf("beyond the limits: %+v", h)
		}
		again, err := h.encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeHello(again)
		if err != nil {
			t.Fatal(err)
		}
		wantHello(t, back, h)
	})
}

// The payload of a handshake message is what a peer with a valid key can choose freely.
func FuzzPayload(f *testing.F) {
	hello, err := testHello(1).encode()
	if err != nil {
		f.Fatal(err)
	}
	header := []byte("0123456789")
	f.Add(appendPayload(nil, header, hello, 0))
	f.Add(appendPayload(nil, header, hello, 600))
	f.Add(header)
	f.Fuzz(func(t *testing.T, b []byte) {
		raw, err := parsePayload(b, header)
		if err == nil && !bytes.Equal(appendPayload(nil, header, raw, len(b)), b) {
			t.Error("two payloads for one content")
		}
		_, _ = parseHelloPayload(b, header)
	})
}
