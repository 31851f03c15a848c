package stunclient

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pion/stun/v2"
)

func request(setters ...stun.Setter) []byte {
	return stun.MustBuild(append([]stun.Setter{stun.TransactionID, stun.BindingRequest}, setters...)...).Raw
}

// mustDecode reads an answer with the library, so that two implementations have to agree.
func mustDecode(t *testing.T, b []byte) *stun.Message {
	t.Helper()
	m := new(stun.Message)
	if err := stun.Decode(b, m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRespond(t *testing.T) {
	for _, tt := range []struct {
		from, want string
		size       int
		setters    []stun.Setter
	}{
		{"203.0.113.7:40000", "203.0.113.7:40000", 32, nil},
		{"[::ffff:203.0.113.7]:40000", "203.0.113.7:40000", 32, nil},
		{"[2001:db8::7]:1", "[2001:db8::7]:1", 44, nil},
		{"[fe80::7%eth0]:65535", "[fe80::7]:65535", 44, nil},
		{"203.0.113.7:40000", "203.0.113.7:40000", 40, []stun.Setter{stun.Fingerprint}},
		{"[2001:db8::7]:1", "[2001:db8::7]:1", 52, []stun.Setter{stun.NewSoftware("x"), stun.Fingerprint}},
		{"203.0.113.7:40000", "203.0.113.7:40000", 32, []stun.Setter{stun.NewUsername("me"), stun.NewRealm("r"), stun.NewNonce("n")}},
	} {
		r := request(tt.setters...)
		b := Respond(r, addr(tt.from))
		m := mustDecode(t, b)
		var got stun.XORMappedAddress
		if err := got.GetFrom(m); err != nil || got.String() != tt.want {
			t.Errorf("%s is told %v, %v", tt.from, got, err)
		}
		if m.Type != stun.BindingSuccess || idOf(b) != idOf(r) || len(b) != tt.size || int(m.Length) != tt.size-headerSize {
			t.Errorf("%s: a %v of %d bytes, want %d", tt.from, m.Type, len(b), tt.size)
		}
		if len(tt.setters) > 0 && bytes.Contains(r, []byte{0x80, 0x28, 0, 4}) != (stun.Fingerprint.Check(m) == nil) {
			t.Errorf("%s: the fingerprint is %v", tt.from, stun.Fingerprint.Check(m))
		}
	}
}

func TestRespondRefusesUnknownAttributes(t *testing.T) {
	var odd []stun.Setter
	for i := range maxAttributes {
		odd = append(odd, raw(stun.AttrType(0x7000+i), 0))
	}
	for _, tt := range []struct {
		setters []stun.Setter
		want    []byte // value of UNKNOWN-ATTRIBUTES
	}{
		{[]stun.Setter{raw(stun.AttrChangeRequest, 4)}, []byte{0, 3}},
		{[]stun.Setter{raw(stun.AttrPadding, 64), raw(0x8099, 4), raw(stun.AttrResponsePort, 4)}, []byte{0, 0x26, 0, 0x27}},
		{odd, []byte{0x70, 0, 0x70, 1, 0x70, 2, 0x70, 3, 0x70, 4, 0x70, 5, 0x70, 6, 0x70, 7}},
	} {
		r := request(tt.setters...)
		b := Respond(r, mapped)
		m := mustDecode(t, b)
		var code stun.ErrorCodeAttribute
		err := code.GetFrom(m)
		unknown, _ := m.Get(stun.AttrUnknownAttributes)
		if m.Type != stun.BindingError || err != nil || code.Code != 420 || !bytes.Equal(unknown, tt.want) {
			t.Errorf("answered %v %v: %x, %v", m.Type, code.Code, unknown, err)
		}
		if m.Contains(stun.AttrXORMappedAddress) || len(b) > len(r)+16 {
			t.Errorf("%d bytes for a request of %d", len(b), len(r))
		}
	}
}

func TestRespondKeepsSilent(t *testing.T) {
	good := request()
	wrong := func(change func(b []byte) []byte) []byte { return change(bytes.Clone(good)) }
	for name, b := range map[string][]byte{
		"nothing":        nil,
		"text":           []byte("GET / HTTP/1.1\r\n\r\n"),
		"data packet":    append([]byte{0xC8}, good[1:]...),
		"cut":            good[:19],
		"longer":         append(bytes.Clone(good), 0, 0, 0, 0),
		"wrong cookie":   wrong(func(b []byte) []byte { b[7]++; return b }),
		"claimed length": wrong(func(b []byte) []byte { b[2], b[3] = 0xff, 0xfc; return b }),
		"odd length":     wrong(func(b []byte) []byte { b[3] = 1; return append(b, 0) }),
		"attribute too long": wrong(func(b []byte) []byte {
			b[3] = 4
			return append(b, 0x80, 0x22, 0xff, 0xff)
		}),
		"indication":        stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodBinding, stun.ClassIndication)).Raw,
		"answer":            Respond(good, mapped),
		"allocate":          stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest)).Raw,
		"wrong fingerprint": request(raw(stun.AttrFingerprint, 4)),
		"huge":              request(raw(0x8022, 1500)),
		"many attributes":   request(slices.Repeat([]stun.Setter{raw(0x8022, 0)}, maxAttributes+1)...),
	} {
		if got := Respond(b, mapped); got != nil {
			t.Errorf("%s is answered with %x", name, got)
		}
	}
	for _, from := range []netip.AddrPort{{}, addr("192.0.2.1:0")} {
		if got := Respond(good, from); got != nil {
			t.Errorf("a request from %v is answered with %x", from, got)
		}
	}
}

// https://www.rfc-editor.org/rfc/rfc5769.html#section-2
func TestVectors(t *testing.T) {
	const (
		v4 = `0101003c 2112a442 b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220 00200008 0001a147e112a643
			00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004 c07d4c96`
		v6 = `01010048 2112a442 b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220
			00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9
			00080014 a382954e4be67bf11784c97c8292c275bfe3ed41 80280004 c8fb0b4c`
		req = `00010058 2112a442 b7e7a701bc34d686fa87dfae 80220010 5354554e207465737420636c69656e74 00240004 6e0001ff
			80290008 932ff9b151263b36 00060009 6576746a3a68367659202020
			00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2 80280004 e57a3bcf`
	)
	for text, want := range map[string]string{v4: "192.0.2.1:32853", v6: "[2001:db8:1234:5678:11:2233:4455:6677]:32853"} {
		r, err := parseResponse(fromHex(t, text))
		if err != nil || r.mapped.String() != want {
			t.Errorf("got %+v, %v; want %s", r, err, want)
		}
	}
	if r, err := parseResponse(Respond(fromHex(t, req), mapped)); err != nil || r.mapped != mapped {
		t.Errorf("the sample request is answered with %+v, %v", r, err)
	}
}

func fromHex(t *testing.T, s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRespondAllocations(t *testing.T) {
	r := request()
	if n := testing.AllocsPerRun(100, func() { Respond(r, mapped) }); n > 3 {
		t.Errorf("%v allocations for an answer", n)
	}
}

func FuzzRespond(f *testing.F) {
	f.Add(request(), false)
	f.Add(request(stun.NewSoftware("x"), stun.Fingerprint), true)
	f.Add(request(raw(stun.AttrChangeRequest, 4)), true)
	f.Add(good(request()), false)
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		from, growth := mapped, 12
		if v6 {
			from, growth = addr("[2001:db8::7]:9"), 24
		}
		before := bytes.Clone(b)
		answer := Respond(b, from)
		if !bytes.Equal(b, before) {
			t.Fatal("the request was changed")
		}
		if answer == nil {
			return
		}
		if len(answer) > len(b)+max(growth, 16) {
			t.Fatalf("%d bytes are answered with %d", len(b), len(answer))
		}
		r, err := parseResponse(answer)
		if err != nil || idOf(answer) != idOf(b) || (!r.failed && r.mapped != from) {
			t.Fatalf("answered with %x: %+v, %v", answer, r, err)
		}
		if Respond(answer, from) != nil {
			t.Fatal("an answer is answered")
		}
	})
}

func BenchmarkRespond(b *testing.B) {
	r := request()
	b.ReportAllocs()
	for b.Loop() {
		Respond(r, mapped)
	}
}

// A request with a chosen ID is one that servers answer, and is known by its ID; its answer is no request.
func TestRequestID(t *testing.T) {
	id := [12]byte{1, 2, 3, 11: 4}
	b := Request(id)
	if got, ok := RequestID(b); !ok || got != id || len(b) != headerSize {
		t.Errorf("the ID of %x is %x, %v", b, got, ok)
	}
	answer := Respond(b, netip.MustParseAddrPort("192.0.2.1:1"))
	if _, ok := RequestID(answer); ok || idOf(answer) != transactionID(id) {
		t.Errorf("the answer is %x", answer)
	}
	for _, b := range [][]byte{nil, b[:headerSize-1], make([]byte, headerSize)} {
		if _, ok := RequestID(b); ok {
			t.Errorf("%x has an ID", b)
		}
	}
}
