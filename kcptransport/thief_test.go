package kcptransport

import (
	"bytes"
	"testing"

	"github.com/flynn/noise"
)

// thiefDH is the arithmetic of someone who has stolen the key of one node and claims to be another one towards it: where
// the claimed key would be needed, the stolen one serves if it can.
type thiefDH struct {
	noise.DHFunc
	stolen  *Identity
	claimed *Identity // of which only the public key is used
}

var thiefKey = bytes.Repeat([]byte{0xEE}, 32) // stands for the private key that the thief has not got

func (d thiefDH) DH(private, public []byte) ([]byte, error) {
	if bytes.Equal(private, thiefKey) {
		return d.DHFunc.DH(d.stolen.static[:], d.claimed.public[:])
	}
	return d.DHFunc.DH(private, public)
}

// blindCipher goes on when a message is not authentic.
type blindCipher struct{ noise.CipherFunc }

func (c blindCipher) Cipher(k [32]byte) noise.Cipher { return blindAEAD{c.CipherFunc.Cipher(k)} }

type blindAEAD struct{ noise.Cipher }

func (c blindAEAD) Decrypt(out []byte, n uint64, ad, ciphertext []byte) ([]byte, error) {
	if b, err := c.Cipher.Decrypt(out, n, ad, ciphertext); err == nil {
		return b, nil
	}
	return append(out, make([]byte, len(ciphertext)-aeadTagSize)...), nil
}

// thief begins a handshake with node 2, whose key is stolen, in the name of node 1, whose key is not.
func thief(t *testing.T, kind byte) (*noise.HandshakeState, firstHeader) {
	stolen, claimed := testIdentity(2), testIdentity(1)
	header := firstHeader{kind: kind, version: protocolVersion, sender: indexI, suite: cipherChaCha, tag: appTag("test")}
	config := noise.Config{
		CipherSuite:   noise.NewCipherSuite(thiefDH{noise.DH25519, stolen, claimed}, blindCipher{noise.CipherChaChaPoly}, noise.HashSHA256),
		Random:        seeded(6),
		Pattern:       noise.HandshakeXX,
		Initiator:     true,
		Prologue:      prologue(header.append(nil), "test"),
		StaticKeypair: noise.DHKey{Private: thiefKey, Public: claimed.public[:]},
	}
	if kind == typeIK1 {
		config.Pattern, config.PeerStatic = noise.HandshakeIK, stolen.public[:]
	}
	state, err := noise.NewHandshakeState(config)
	if err != nil {
		t.Fatal(err)
	}
	return state, header
}

// Who steals a node's key can send it a first message in anybody's name, which it answers; but no data packet of the
// thief opens, so there is no link.
func TestStolenKeyMakesNoLinkIK(t *testing.T) {
	state, header := thief(t, typeIK1)
	hello, err := testHello(1).encode()
	if err != nil {
		t.Fatal(err)
	}
	first, _, _, err := state.WriteMessage(header.append(nil), appendPayload(nil, nil, hello, firstSize-firstHeaderSize-32-(32+aeadTagSize)-aeadTagSize))
	if err != nil {
		t.Fatal(err)
	}
	answer, pending, err := respond(testConfig(2), first, indexR, says(testHello(2)))
	if err != nil || pending.established().peer != testIdentity(1).ID() {
		t.Fatalf("the first message should be taken for that of node 1: %v", err)
	}
	_, cs1, cs2, err := state.ReadMessage(nil, answer[answerHeaderSize:])
	if err != nil {
		t.Fatal(err)
	}
	keys, err := sessionFrom(cipherChaCha, cs1, cs2, true)
	if err != nil {
		t.Fatal(err)
	}
	packet := keys.seal(nil, indexR, 0, appendProbe(nil, 1))
	if _, _, err := pending.established().keys.open(nil, packet); err == nil {
		t.Error("a data packet of the thief opens")
	}
}

// The same without the first message's names: the thief does not get past the third message.
func TestStolenKeyMakesNoLinkXX(t *testing.T) {
	state, header := thief(t, typeXX1)
	first, _, _, err := state.WriteMessage(header.append(nil), appendPayload(nil, nil, nil, firstSize-firstHeaderSize-32))
	if err != nil {
		t.Fatal(err)
	}
	answer, pending, err := respond(testConfig(2), first, indexR, says(testHello(2)))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := state.ReadMessage(nil, answer[answerHeaderSize:]); err != nil {
		t.Fatal(err)
	}
	hello, err := testHello(1).encode()
	if err != nil {
		t.Fatal(err)
	}
	third := answerHeader{kind: typeXX3, version: protocolVersion, sender: indexI, receiver: indexR}.append(nil)
	packet, _, _, err := state.WriteMessage(third, appendPayload(nil, third, hello, 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pending.handle(packet); err == nil || pending.established() != nil {
		t.Error("the thief's third message was accepted")
	}
}
