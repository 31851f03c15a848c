package kcptransport

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

// hexBytes is written as hexadecimal.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }
func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// vectors is what another implementation can be checked against; docs/wire.md explains the fields.
type vectors struct {
	Comment     string
	Identities  []identityVector
	RoomSecrets []roomSecretVector
	Handshakes  []handshakeVector
	Frames      []frameVector
	Cookies     []cookieVector
}

type cookieVector struct {
	Secret           hexBytes
	Address          string
	First            hexBytes // the header of the first message that is asked for a proof
	Cookie           hexBytes
	Answer           hexBytes // the COOKIE packet
	CookiedBeginning hexBytes // what stands in front of the first message in the COOKIED packet
}

type identityVector struct {
	Seed, EffectiveSeed, PublicKey hexBytes
	PeerID                         string
	X25519Private, X25519Public    hexBytes
}

type roomSecretVector struct {
	App, Passphrase string
	Secret          hexBytes
}

type handshakeVector struct {
	Name                                         string
	App                                          string
	Secret                                       hexBytes `json:",omitempty"`
	InitiatorSeed, ResponderSeed                 hexBytes
	InitiatorEphemeral, ResponderEphemeral       hexBytes
	InitiatorIndex, ResponderIndex               uint32
	InitiatorHello, ResponderHello               hexBytes
	Prologue                                     hexBytes
	Messages                                     []hexBytes
	InitiatorData, ResponderData                 hexBytes // the frames below, sealed with the packet numbers below
	DataFrames                                   hexBytes
	InitiatorPacketNumber, ResponderPacketNumber uint64
}

type frameVector struct {
	Name  string
	Bytes hexBytes
}

// makeVectors computes the vectors with this implementation.
func makeVectors(t *testing.T) vectors {
	v := vectors{Comment: "Test vectors of the xppg wire protocol, version 1. See docs/wire.md. Bytes are hexadecimal."}
	for n := range byte(4) {
		v.Identities = append(v.Identities, makeIdentityVector([32]byte{n}))
	}
	secret := RoomSecret("xppg", "correct horse battery staple")
	v.RoomSecrets = []roomSecretVector{{"xppg", "correct horse battery staple", secret[:]}}
	eachMode(t, func(t *testing.T, remote PeerID, ci, cr handshakeConfig) {
		if ci.secret != nil {
			ci.secret, cr.secret = &secret, &secret
		}
		v.Handshakes = append(v.Handshakes, makeHandshakeVector(t, remote, ci, cr))
	})
	for _, from := range []netip.AddrPort{nodeAddrPort(1), netip.MustParseAddrPort("[2001:db8::1]:9")} {
		v.Cookies = append(v.Cookies, makeCookieVector(from))
	}
	for _, f := range vectorFrames {
		v.Frames = append(v.Frames, frameVector{f.name, appendFrame(nil, f.frame)})
	}
	return v
}

var vectorFrames = []struct {
	name  string
	frame frame
}{
	{"probe, token 0x0102030405060708", frame{kind: frameProbe, token: 0x0102030405060708}},
	{"answer to it, no address", frame{kind: frameAnswer, token: 0x0102030405060708}},
	{"answer to token 1 from 192.0.2.1:7337", frame{kind: frameAnswer, token: 1, observed: testHello(1).Candidates[0].Addr}},
	{"answer to token 1 from [2001:db8::1]:9", frame{kind: frameAnswer, token: 1, observed: testHello(1).Observed}},
	{"datagram: hello", frame{kind: frameDatagram, data: []byte("hello")}},
	{"close, code 7, reason bye", frame{kind: frameClose, code: 7, data: []byte("bye")}},
	{"stream gone, conversation 6", frame{kind: frameStreamGone, conv: 6}},
	{"doubt", frame{kind: frameDoubt}},
	{"marked, 258 packets", frame{kind: frameMarked, count: 258}},
}

func makeIdentityVector(seed [32]byte) identityVector {
	i := IdentityFromSeed(seed)
	effective := i.Seed()
	return identityVector{
		Seed: seed[:], EffectiveSeed: effective[:], PublicKey: i.id[:], PeerID: i.ID().String(),
		X25519Private: i.static[:], X25519Public: i.public[:],
	}
}

func makeCookieVector(from netip.AddrPort) cookieVector {
	secret := [32]byte{1, 2, 3}
	header := firstHeader{kind: typeIK1, version: protocolVersion, sender: indexI, suite: cipherAESGCM, tag: appTag("xppg")}
	first, c := header.append(nil), cookieFor(&secret, from)
	return cookieVector{
		Secret: secret[:], Address: from.String(), First: first, Cookie: c[:],
		Answer: appendCookie(nil, first, c), CookiedBeginning: appendCookied(nil, nil, c),
	}
}

func encoded(t *testing.T, h Hello) []byte {
	t.Helper()
	b, err := h.encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func makeHandshakeVector(t *testing.T, remote PeerID, ci, cr handshakeConfig) handshakeVector {
	p := newPair(t, remote, ci, cr)
	seedI, seedR := ci.identity.Seed(), cr.identity.Seed()
	v := handshakeVector{
		Name: strings.TrimPrefix(t.Name(), "TestVectors/"), App: ci.app, InitiatorSeed: seedI[:], ResponderSeed: seedR[:],
		InitiatorEphemeral: p.i.ephemeral[:], ResponderEphemeral: p.p.ephemeral[:],
		InitiatorIndex: indexI, ResponderIndex: indexR, InitiatorHello: encoded(t, testHello(1)), ResponderHello: encoded(t, testHello(2)),
		Prologue: prologue(p.i.header.append(nil), ci.app), Messages: []hexBytes{p.i.first(), p.answer},
		DataFrames: appendDatagram(nil, []byte("hello")), InitiatorPacketNumber: 0, ResponderPacketNumber: 1<<32 | 5,
	}
	if ci.secret != nil {
		v.Secret = ci.secret[:]
	}
	reply, ei, err := p.i.handle(p.answer)
	if err != nil {
		t.Fatal(err)
	}
	if reply != nil {
		v.Messages = append(v.Messages, reply)
		if _, err := p.p.handle(reply); err != nil {
			t.Fatal(err)
		}
	}
	er := p.p.established()
	v.InitiatorData = ei.keys.seal(nil, ei.remoteIndex, v.InitiatorPacketNumber, v.DataFrames)
	v.ResponderData = er.keys.seal(nil, er.remoteIndex, v.ResponderPacketNumber, v.DataFrames)
	return v
}

// A change of these bytes is a change of the protocol: raise protocolVersion, then run go test -update.
func TestVectors(t *testing.T) {
	path := filepath.Join("testdata", "vectors.json")
	v := makeVectors(t)
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the bytes on the wire differ from %s", path)
	}
}
