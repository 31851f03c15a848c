package kcptransport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// seeded returns a reader of bytes that depend on n alone.
func seeded(n byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{n}) }

func testIdentity(n byte) *Identity { return IdentityFromSeed([32]byte{n}) }

// testConfig is the configuration of node n; change adjusts it.
func testConfig(n byte, change ...func(*handshakeConfig)) handshakeConfig {
	c := handshakeConfig{identity: testIdentity(n), app: "test", rand: seeded(n), cipher: cipherChaCha}
	for _, f := range change {
		f(&c)
	}
	return c
}

func withSecret(b byte) func(*handshakeConfig) {
	return func(c *handshakeConfig) { c.secret = &[32]byte{b} }
}
func withApp(app string) func(*handshakeConfig) { return func(c *handshakeConfig) { c.app = app } }
func withCipher(s suite) func(*handshakeConfig) { return func(c *handshakeConfig) { c.cipher = s } }

func says(h Hello) helloFunc { return func(PeerID, *Hello) Hello { return h } }

func testHello(n byte) Hello {
	return Hello{
		LinkID:       [8]byte{n, 1, 2, 3, 4, 5, 6, 7},
		Capabilities: []string{"relay"},
		Candidates:   []Candidate{{netip.MustParseAddrPort("192.0.2.1:7337"), Host, CandidatePriority(Host, 1)}},
		Observed:     netip.MustParseAddrPort("[2001:db8::1]:9"),
	}
}

// pair is a handshake under way between node 1, with index 0xA1A1A1A1, and node 2, with index 0xB2B2B2B2.
type pair struct {
	t      *testing.T
	i      *initiator
	p      *pendingResponder
	answer []byte
}

const (
	indexI = 0xA1A1A1A1
	indexR = 0xB2B2B2B2
)

// newPair runs a handshake up to the answer. remote is zero for XX.
func newPair(t *testing.T, remote PeerID, ci, cr handshakeConfig) *pair {
	t.Helper()
	i, err := newInitiator(ci, remote, indexI, says(testHello(1)))
	if err != nil {
		t.Fatal(err)
	}
	answer, p, err := respond(cr, i.first(), indexR, says(testHello(2)))
	if err != nil {
		t.Fatal(err)
	}
	return &pair{t, i, p, answer}
}

// finish completes the handshake.
func (p *pair) finish() (ei, er *established) {
	p.t.Helper()
	reply, ei, err := p.i.handle(p.answer)
	if err != nil {
		p.t.Fatal(err)
	}
	if p.i.static != nil {
		if reply != nil {
			p.t.Fatal("IK has a third message")
		}
		return ei, p.p.established()
	}
	if p.p.established() != nil {
		p.t.Fatal("established before the third message")
	}
	if er, err = p.p.handle(reply); err != nil {
		p.t.Fatal(err)
	}
	if er != p.p.established() {
		p.t.Fatal("established differs from what handle returned")
	}
	return ei, er
}

// wantSession checks that the two ends belong together.
func wantSession(t *testing.T, ei, er *established) {
	t.Helper()
	if ei.peer != testIdentity(2).ID() || er.peer != testIdentity(1).ID() {
		t.Fatalf("peers are %v and %v", ei.peer, er.peer)
	}
	if ei.remoteIndex != indexR || er.remoteIndex != indexI || !ei.initiator || er.initiator {
		t.Fatal("wrong indices or roles")
	}
	wantHello(t, ei.hello, testHello(2))
	wantHello(t, er.hello, testHello(1))
	for n, from := range []*established{ei, er} {
		to := []*established{er, ei}[n]
		packet := from.keys.seal(nil, from.remoteIndex, 7, []byte("hello"))
		if _, got, err := to.keys.open(nil, packet); err != nil || string(got) != "hello" {
			t.Fatalf("direction %d: %q, %v", n, got, err)
		}
		if _, _, err := from.keys.open(nil, packet); err == nil {
			t.Fatal("a packet opens with the sender's own keys")
		}
	}
}

func wantHello(t *testing.T, got, want Hello) {
	t.Helper()
	if got.LinkID != want.LinkID || !slices.Equal(got.Capabilities, want.Capabilities) ||
		!slices.Equal(got.Candidates, want.Candidates) || got.Observed != want.Observed || !bytes.Equal(got.Hint, want.Hint) {
		t.Fatalf("hello is %+v, want %+v", got, want)
	}
}

// eachMode runs f for IK and XX, both ciphers, with and without a room secret.
func eachMode(t *testing.T, f func(t *testing.T, remote PeerID, ci, cr handshakeConfig)) {
	for _, mode := range []string{"IK", "XX"} {
		for _, s := range []suite{cipherAESGCM, cipherChaCha, cipherAESGCM | suiteSecret, cipherChaCha | suiteSecret} {
			name := mode + map[suite]string{cipherAESGCM: "/AESGCM", cipherChaCha: "/ChaCha"}[s.cipher()]
			changes := []func(*handshakeConfig){withCipher(s.cipher())}
			if s.secret() {
				name += "/secret"
				changes = append(changes, withSecret(9))
			}
			var remote PeerID
			if mode == "IK" {
				remote = testIdentity(2).ID()
			}
			t.Run(name, func(t *testing.T) { f(t, remote, testConfig(1, changes...), testConfig(2, changes...)) })
		}
	}
}

func TestHandshake(t *testing.T) {
	eachMode(t, func(t *testing.T, remote PeerID, ci, cr handshakeConfig) {
		p := newPair(t, remote, ci, cr)
		first := bytes.Clone(p.i.first())
		if len(first) != firstSize {
			t.Errorf("first message has %d bytes", len(first))
		}
		if len(p.answer) > len(first) {
			t.Errorf("answer of %d bytes", len(p.answer))
		}
		ei, er := p.finish()
		wantSession(t, ei, er)
		if !bytes.Equal(first, p.i.first()) {
			t.Error("first message changed")
		}
		if _, _, err := p.i.handle(p.answer); !errors.Is(err, errHandshakeDone) {
			t.Errorf("second answer: %v", err)
		}
	})
}

// An attacker who can inject but not suppress packets must not be able to stop a handshake.
func TestHandshakeSurvivesHostilePackets(t *testing.T) {
	eachMode(t, func(t *testing.T, remote PeerID, ci, cr handshakeConfig) {
		p := newPair(t, remote, ci, cr)
		wantIgnored := func(packet []byte, what string) {
			t.Helper()
			if _, _, err := p.i.handle(packet); err == nil {
				t.Fatalf("%s was accepted", what)
			}
		}
		for n := range p.answer {
			if n > 100 && n%97 != 0 { // every byte of the header and of the keys, and some of the rest
				continue
			}
			flipped := bytes.Clone(p.answer)
			flipped[n] ^= 1
			wantIgnored(flipped, "a changed answer")
			wantIgnored(p.answer[:n], "a cut answer")
		}
		lowOrder := bytes.Clone(p.answer)
		clear(lowOrder[answerHeaderSize : answerHeaderSize+32])
		wantIgnored(lowOrder, "an ephemeral key of low order")
		if _, _, err := p.i.handle(append(bytes.Clone(p.answer), make([]byte, firstSize)...)); !errors.Is(err, errHandshakePacket) {
			t.Fatalf("a long answer: %v", err)
		}
		wantIgnored(nil, "nothing")

		if !remote.IsZero() {
			ei, er := p.finish()
			wantSession(t, ei, er)
			return
		}
		reply, ei, err := p.i.handle(p.answer)
		if err != nil {
			t.Fatal(err)
		}
		for n := range reply {
			if n > 100 && n%97 != 0 {
				continue
			}
			flipped := bytes.Clone(reply)
			flipped[n] ^= 1
			if _, err := p.p.handle(flipped); err == nil {
				t.Fatalf("a third message with byte %d changed was accepted", n)
			} else if n < answerHeaderSize && !errors.Is(err, errHandshakePacket) {
				t.Fatalf("byte %d of the third message's header was read too late: %v", n, err)
			}
			if _, err := p.p.handle(reply[:n]); err == nil {
				t.Fatal("a cut third message was accepted")
			}
		}
		er, err := p.p.handle(reply)
		if err != nil {
			t.Fatal(err)
		}
		wantSession(t, ei, er)
	})
}

// Every bit of the first message is authenticated, except that in XX without a secret the initiator learns of a
// change only from the answer.
func TestHandshakeChangedFirstMessage(t *testing.T) {
	eachMode(t, func(t *testing.T, remote PeerID, ci, cr handshakeConfig) {
		i, err := newInitiator(ci, remote, indexI, says(testHello(1)))
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < firstSize; n++ {
			if n > 100 && n%97 != 0 {
				continue
			}
			changed := bytes.Clone(i.first())
			changed[n] ^= 0x02 // byte 6: turns each cipher into no cipher or into the other
			if n == 6 {
				changed[n] = byte(suite(changed[n]) ^ cipherAESGCM ^ cipherChaCha)
			}
			answer, _, err := respond(cr, changed, indexR, says(testHello(2)))
			if err != nil {
				continue
			}
			// The index is who the answer is for: put it back, as an attacker would.
			binary.BigEndian.PutUint32(answer[6:], indexI)
			if _, _, err := i.handle(answer); err == nil {
				t.Fatalf("byte %d was changed unnoticed", n)
			}
		}
	})
}

func TestPayload(t *testing.T) {
	header, hello := []byte("header"), []byte("hello")
	b := appendPayload(nil, header, hello, 100)
	if len(b) != 100 {
		t.Errorf("%d bytes, want 100", len(b))
	}
	if got, err := parsePayload(b, header); err != nil || !bytes.Equal(got, hello) {
		t.Errorf("%q, %v", got, err)
	}
	for n := range b {
		changed := bytes.Clone(b)
		changed[n] ^= 0x80
		got, err := parsePayload(changed, header)
		if inHello := n >= len(header)+2 && n < len(header)+2+len(hello); err == nil && !inHello {
			t.Errorf("byte %d was changed unnoticed: %q", n, got)
		}
	}
	for n := range len(header) + 2 + len(hello) {
		if _, err := parsePayload(b[:n], header); err == nil {
			t.Errorf("%d bytes were enough", n)
		}
	}
}

func TestHandshakeRefusals(t *testing.T) {
	node2 := testIdentity(2).ID()
	for _, test := range []struct {
		name   string
		remote PeerID
		ci, cr handshakeConfig
		want   RejectReason
	}{
		{"IK other app", node2, testConfig(1, withApp("a")), testConfig(2, withApp("b")), RejectApp},
		{"XX other app", PeerID{}, testConfig(1, withApp("a")), testConfig(2, withApp("b")), RejectApp},
		{"IK other secret", node2, testConfig(1, withSecret(1)), testConfig(2, withSecret(2)), RejectSecret},
		{"XX other secret", PeerID{}, testConfig(1, withSecret(1)), testConfig(2, withSecret(2)), RejectSecret},
		{"IK only we have a secret", node2, testConfig(1, withSecret(1)), testConfig(2), RejectSecret},
		{"XX only they have a secret", PeerID{}, testConfig(1), testConfig(2, withSecret(1)), RejectSecret},
		{"IK other peer", testIdentity(3).ID(), testConfig(1), testConfig(2), RejectPeer},
		{"IK other peer with secret", testIdentity(3).ID(), testConfig(1, withSecret(1)), testConfig(2, withSecret(1)), RejectPeer},
	} {
		t.Run(test.name, func(t *testing.T) {
			i, err := newInitiator(test.ci, test.remote, indexI, says(testHello(1)))
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = respond(test.cr, i.first(), indexR, says(testHello(2)))
			wantRefusal(t, i, err, test.want)
		})
	}
}

// wantRefusal checks the responder's error and what the initiator makes of the packet that tells it.
func wantRefusal(t *testing.T, i *initiator, err error, want RejectReason) {
	t.Helper()
	var local, remote *HandshakeError
	if !errors.As(err, &local) || local.Reason != want || local.Remote {
		t.Fatalf("respond: %v, want %v", err, want)
	}
	reject := appendReject(nil, i.first(), local.Reason)
	if len(reject) != rejectSize {
		t.Fatalf("reject of %d bytes", len(reject))
	}
	_, _, err = i.handle(reject)
	if !errors.As(err, &remote) || remote.Reason != want || !remote.Remote {
		t.Fatalf("initiator: %v, want %v", err, want)
	}
	if !errors.Is(err, &HandshakeError{Reason: want}) {
		t.Fatal("errors.Is does not find the reason")
	}
	reject[5] ^= 1
	if _, _, err = i.handle(reject); errors.As(err, &remote) {
		t.Fatal("a refusal for another handshake was believed")
	}
}

func TestHandshakeOtherVersion(t *testing.T) {
	i, err := newInitiator(testConfig(1), PeerID{}, indexI, says(testHello(1)))
	if err != nil {
		t.Fatal(err)
	}
	later := bytes.Clone(i.first())[:700] // a later version may have other sizes
	later[1] = 2
	_, _, err = respond(testConfig(2), later, indexR, says(testHello(2)))
	wantRefusal(t, i, err, RejectVersion)
}

func TestHandshakeRefusesItself(t *testing.T) {
	cfg := testConfig(1)
	if _, err := newInitiator(cfg, cfg.identity.ID(), indexI, says(testHello(1))); !errors.Is(err, errHandshakeSelf) {
		t.Errorf("IK: %v", err)
	}
	i, err := newInitiator(cfg, PeerID{}, indexI, says(testHello(1)))
	if err != nil {
		t.Fatal(err)
	}
	answer, _, err := respond(cfg, i.first(), indexR, says(testHello(1)))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := i.handle(answer); !errors.Is(err, errHandshakeSelf) {
		t.Errorf("XX: %v", err)
	}
}

// A static key that is no peer's must not get through, even though Diffie-Hellman works with it: a point of the
// twist, and our own key with a point of small order added, which shares every secret with it.
func TestHandshakeRefusesStrangeStaticKeys(t *testing.T) {
	for name, public := range map[string][32]byte{"twist": {2}, "mixed order": mixedOrderKey(t, testIdentity(1))} {
		for _, remote := range []PeerID{{}, testIdentity(2).ID()} {
			ci, cr := testConfig(1), testConfig(2)
			strange := *ci.identity
			strange.public = public
			ci.identity = &strange
			i, err := newInitiator(ci, remote, indexI, says(testHello(1)))
			if err != nil {
				t.Fatal(err)
			}
			answer, p, err := respond(cr, i.first(), indexR, says(testHello(2)))
			if err == nil && remote.IsZero() {
				reply, _, err2 := i.handle(answer)
				if err2 != nil {
					t.Fatal(err2)
				}
				_, err = p.handle(reply)
			}
			if err == nil {
				t.Errorf("%s, remote %v: accepted", name, remote)
			}
		}
	}
}

func TestNewInitiatorErrors(t *testing.T) {
	var high PeerID
	high[31] = 0x80
	tests := []struct {
		name   string
		cfg    handshakeConfig
		remote PeerID
		hello  Hello
		want   string
	}{
		{"long app", testConfig(1, withApp(strings.Repeat("a", 65))), PeerID{}, testHello(1), "application name"},
		{"sign bit", testConfig(1), high, testHello(1), "sign bit"},
		{"not a point", testConfig(1), PeerID{2}, testHello(1), "point of the curve"},
		{"small order", testConfig(1), PeerID{1}, testHello(1), "subgroup"},
		{"no randomness", testConfig(1, func(c *handshakeConfig) { c.rand = bytes.NewReader(nil) }), PeerID{}, testHello(1), "random"},
		{"capability", testConfig(1), testIdentity(2).ID(), Hello{Capabilities: []string{""}}, "capability"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := newInitiator(test.cfg, test.remote, indexI, says(test.hello))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "kcptransport: ") {
				t.Errorf("error %v, want one about %q", err, test.want)
			}
		})
	}
}

// The largest hello fits every message of every mode.
func TestHandshakeLargestHello(t *testing.T) {
	largest := testHello(1)
	largest.Candidates = nil
	for n := range maxCandidates {
		a := netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, byte(n)}), 65535)
		largest.Candidates = append(largest.Candidates, Candidate{a, ServerReflexive, CandidatePriority(Host, 65535)})
	}
	for len(largest.Capabilities) < maxCapabilities {
		largest.Capabilities = append(largest.Capabilities, strings.Repeat("c", maxCapabilityLen))
		if b, err := largest.encode(); err != nil {
			largest.Capabilities = largest.Capabilities[1:]
			break
		} else if len(b) > maxHello {
			t.Fatal("encode went beyond the limit")
		}
	}
	eachMode(t, func(t *testing.T, remote PeerID, ci, cr handshakeConfig) {
		i, err := newInitiator(ci, remote, indexI, says(largest))
		if err != nil {
			t.Fatal(err)
		}
		answer, p, err := respond(cr, i.first(), indexR, says(largest))
		if err != nil {
			t.Fatal(err)
		}
		if len(answer) > firstSize {
			t.Fatalf("answer of %d bytes", len(answer))
		}
		reply, ei, err := i.handle(answer)
		if err != nil {
			t.Fatal(err)
		}
		if reply != nil {
			if _, err := p.handle(reply); err != nil {
				t.Fatal(err)
			}
		}
		wantHello(t, ei.hello, largest)
		wantHello(t, p.established().hello, largest)
	})
}
