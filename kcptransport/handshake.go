package kcptransport

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/flynn/noise"
)

// maxAppName bounds the application's name, in bytes.
const maxAppName = 64

// handshakeConfig is what all handshakes of an endpoint share. It is not changed after use.
type handshakeConfig struct {
	identity *Identity
	app      string    // at most maxAppName bytes, see checkApp
	secret   *[32]byte // of the room, nil when it has none
	rand     io.Reader // nil means crypto/rand
	cipher   suite     // what an initiator names; zero means the faster one here

	fullAnswer bool // of a responder: the answer has the size of the first message
}

// established is the outcome of a handshake. The responder must not act on it before a data packet opens under its
// keys: until then the first message may be a replay.
type established struct {
	keys        *sessionKeys
	peer        PeerID // proven to hold its key
	remoteIndex uint32 // what data packets to the peer begin with
	hello       Hello  // the peer's
	initiator   bool   // this side began
}

// helloFunc makes the hello for a peer, as soon as a handshake knows which; theirs is nil where it is not known yet.
type helloFunc func(peer PeerID, theirs *Hello) Hello

// Errors of packets that a handshake ignores.
var (
	errHandshakePacket = errors.New("kcptransport: handshake: the packet is malformed or not for this handshake")
	errHandshakeAuth   = errors.New("kcptransport: handshake: the packet is not authentic")
	errHandshakeDone   = errors.New("kcptransport: handshake: it is over already")
	errHandshakeSelf   = errors.New("kcptransport: handshake: the other node is this node itself")
)

// checkApp refuses names that the handshake cannot carry.
func checkApp(app string) error {
	if len(app) > maxAppName {
		return fmt.Errorf("kcptransport: application name of %d bytes: the limit is %d", len(app), maxAppName)
	}
	return nil
}

const appTagDomain = "xppg application tag 1\x00"

// appTag is the hash by which a node tells that a first message is of another application.
func appTag(app string) [4]byte {
	h := sha256.Sum256([]byte(appTagDomain + app))
	return [4]byte(h[:])
}

// prologue binds the clear header of the first message and the application into the handshake.
func prologue(header []byte, app string) []byte {
	b := append([]byte("xppg"), header...)
	b = append(b, byte(len(app)))
	return append(b, app...)
}

// newEphemeral reads the random bytes of an ephemeral key. A handshake keeps them to begin again from the same state
// when a hostile packet has spoilt the Noise state.
func (c handshakeConfig) newEphemeral() (seed [32]byte, err error) {
	random := c.rand
	if random == nil {
		random = rand.Reader
	}
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return seed, fmt.Errorf("kcptransport: handshake: reading random bytes: %w", err)
	}
	return seed, nil
}

// noiseState prepares the Noise state of one side. first is the first packet's header, peer the responder's static key
// when the initiator knows it.
func (c handshakeConfig) noiseState(first firstHeader, ephemeral [32]byte, initiator bool, peer []byte, opened *int) (*noise.HandshakeState, error) {
	config := noise.Config{
		CipherSuite:   first.suite.noise(opened),
		Random:        bytes.NewReader(ephemeral[:]),
		Pattern:       noise.HandshakeXX,
		Initiator:     initiator,
		Prologue:      prologue(first.append(nil), c.app),
		StaticKeypair: noise.DHKey{Private: c.identity.static[:], Public: c.identity.public[:]},
		PeerStatic:    peer,
	}
	if first.kind == typeIK1 {
		config.Pattern = noise.HandshakeIK
	}
	if first.suite.secret() {
		config.PresharedKey, config.PresharedKeyPlacement = c.secret[:], 1
	}
	return noise.NewHandshakeState(config)
}

// peerOf returns who holds the static key that a Noise state has authenticated.
func (c handshakeConfig) peerOf(state *noise.HandshakeState) (PeerID, error) {
	static := state.PeerStatic()
	if len(static) != 32 {
		return PeerID{}, errHandshakeAuth
	}
	peer, err := peerIDFromMontgomery([32]byte(static))
	if err != nil {
		return PeerID{}, fmt.Errorf("kcptransport: handshake: the static key is not a peer's: %w", err)
	}
	if peer == c.identity.ID() {
		return PeerID{}, errHandshakeSelf
	}
	return peer, nil
}

// sessionFrom takes the transport keys out of a finished Noise state: cs1 is the initiator's sending key.
func sessionFrom(s suite, cs1, cs2 *noise.CipherState, initiator bool) (*sessionKeys, error) {
	if !initiator {
		cs1, cs2 = cs2, cs1
	}
	return newSessionKeys(s, cs1.UnsafeKey(), cs2.UnsafeKey())
}

// appendPayload appends what a handshake message encrypts: the clear header in front of it when that is not in the
// prologue, the length of the hello (2), the hello, and zeros up to size bytes.
func appendPayload(dst, header, hello []byte, size int) []byte {
	dst = append(dst, header...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(hello)))
	dst = append(dst, hello...)
	if n := size - len(dst); n > 0 {
		dst = append(dst, make([]byte, n)...)
	}
	return dst
}

// parsePayload undoes appendPayload. It refuses padding that is not zero.
func parsePayload(b, header []byte) (hello []byte, err error) {
	b, ok := bytes.CutPrefix(b, header)
	if !ok || len(b) < 2 {
		return nil, errHandshakePacket
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; n > len(b) {
		return nil, errHandshakePacket
	}
	for _, x := range b[n:] {
		if x != 0 {
			return nil, errHandshakePacket
		}
	}
	return b[:n], nil
}

// parseHelloPayload reads a payload that carries a hello.
func parseHelloPayload(b, header []byte) (Hello, error) {
	raw, err := parsePayload(b, header)
	if err != nil {
		return Hello{}, err
	}
	h, err := decodeHello(raw)
	if err != nil {
		return Hello{}, fmt.Errorf("kcptransport: handshake: %w", err)
	}
	return h, nil
}

// checkAnswer reads the header of IK2, XX2 or XX3 and checks that it is for the handshake with these indices;
// sender is nil where it is not known yet.
func checkAnswer(packet []byte, kind byte, receiver uint32, sender *uint32) (answerHeader, error) {
	k := packetType(packet)
	if k != kindAnswer && k != kindFinish || len(packet) > firstSize {
		return answerHeader{}, errHandshakePacket
	}
	h := parseAnswerHeader(packet)
	if h.kind != kind || h.version != protocolVersion || h.receiver != receiver || sender != nil && h.sender != *sender {
		return answerHeader{}, errHandshakePacket
	}
	return h, nil
}
