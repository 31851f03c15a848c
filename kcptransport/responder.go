package kcptransport

import (
	"bytes"
	"fmt"

	"github.com/flynn/noise"
)

// pendingResponder is the side of a handshake that answered a first message. It belongs to one goroutine, takes about
// 2 KB, and nothing is proven about the other side until a data packet opens under its keys.
//
//	IK: respond ──IK2──▶ established        XX: respond ──XX2──▶ … ──XX3──▶ handle
type pendingResponder struct {
	cfg       handshakeConfig
	header    firstHeader
	index     uint32
	hello     []byte // ours
	first     []byte // XX1, to build the state anew
	ephemeral [32]byte
	state     *noise.HandshakeState // XX only; nil when it has to be built anew
	opened    int
	est       *established
}

// respond answers a first message with a packet that is not longer than it. localIndex is as in newInitiator, hello is
// asked what to tell the sender: in IK with the peer that the packet says it comes from, in XX with a zero PeerID and
// nil. The packet's bytes are not kept.
//
// The error is a *HandshakeError when the sender deserves to be told why, with appendReject; every other packet is
// dropped in silence.
func respond(cfg handshakeConfig, packet []byte, localIndex uint32, hello helloFunc) (answer []byte, pending *pendingResponder, err error) {
	header, err := checkFirst(cfg, packet)
	if err != nil {
		return nil, nil, err
	}
	p := &pendingResponder{cfg: cfg, header: header, index: localIndex}
	if p.ephemeral, err = cfg.newEphemeral(); err != nil {
		return nil, nil, err
	}
	if header.kind == typeIK1 {
		answer, p.est, err = p.answerIK(packet, hello)
	} else {
		if p.hello, err = hello(PeerID{}, nil).encode(); err != nil {
			return nil, nil, fmt.Errorf("kcptransport: handshake: %w", err)
		}
		p.first = bytes.Clone(packet)
		p.state, answer, err = p.answerXX()
	}
	if err != nil {
		return nil, nil, err
	}
	return answer, p, nil
}

// checkFirst checks all that can be told without arithmetic.
func checkFirst(cfg handshakeConfig, packet []byte) (firstHeader, error) {
	if packetType(packet) != kindFirst {
		return firstHeader{}, errHandshakePacket
	}
	h, reason, ok := rulesOf(cfg).judge(packet)
	switch {
	case ok:
		return h, nil
	case reason != 0:
		return h, &HandshakeError{Reason: reason, Version: h.version}
	}
	return h, errHandshakePacket
}

// firstRules are what the header of a first message has to agree with, so that the message is meant for this node.
type firstRules struct {
	tag    [4]byte // of the application
	secret bool    // whether the room has one
}

func rulesOf(cfg handshakeConfig) firstRules { return firstRules{appTag(cfg.app), cfg.secret != nil} }

// judge reads the header of a packet that packetType calls kindFirst, and reports whether it is meant for this node. If it is not,
// the reason is what its sender deserves to be told; 0: nothing.
func (r firstRules) judge(packet []byte) (h firstHeader, reason RejectReason, ok bool) {
	h = parseFirstHeader(packet)
	switch {
	case h.version != protocolVersion:
		return h, RejectVersion, false
	case len(packet) != firstSize || !h.suite.known():
		return h, 0, false
	case h.tag != r.tag:
		return h, RejectApp, false
	case h.suite.secret() != r.secret:
		return h, RejectSecret, false
	}
	return h, 0, true
}

// readFirst reads the first message into a new state.
func (p *pendingResponder) readFirst(packet []byte) (*noise.HandshakeState, []byte, error) {
	p.opened = 0
	state, err := p.cfg.noiseState(p.header, p.ephemeral, false, nil, &p.opened)
	if err != nil {
		return nil, nil, fmt.Errorf("kcptransport: handshake: %w", err)
	}
	payload, _, _, err := state.ReadMessage(nil, packet[firstHeaderSize:])
	if err != nil {
		return nil, nil, p.whyUnreadable()
	}
	return state, payload, nil
}

// whyUnreadable tells what the sender of an unreadable first message did wrong, by how far decryption came. In IK1
// the sender's key is encrypted to our key, and the payload behind it with the room's secret, too.
func (p *pendingResponder) whyUnreadable() error {
	switch {
	case p.header.kind == typeIK1 && p.opened == 0:
		return &HandshakeError{Reason: RejectPeer, Version: p.header.version}
	case p.header.suite.secret():
		return &HandshakeError{Reason: RejectSecret, Version: p.header.version}
	}
	return errHandshakeAuth
}

// answerHeader is the clear header of IK2 and XX2.
func (p *pendingResponder) answerHeader() answerHeader {
	kind := byte(typeXX2)
	if p.header.kind == typeIK1 {
		kind = typeIK2
	}
	return answerHeader{kind: kind, version: protocolVersion, sender: p.index, receiver: p.header.sender}
}

// payloadSize returns how large the answer's payload is at least. A full answer has the size of the first message: who reads
// it knows that the path carries such packets both ways, and so does who is then sent a data packet.
func (p *pendingResponder) payloadSize() int {
	switch {
	case !p.cfg.fullAnswer:
		return 0
	case p.header.kind == typeIK1:
		return firstSize - answerHeaderSize - 32 - aeadTagSize
	}
	return firstSize - answerHeaderSize - 32 - (32 + aeadTagSize) - aeadTagSize
}

// answerIK reads IK1 and writes IK2.
func (p *pendingResponder) answerIK(packet []byte, hello helloFunc) ([]byte, *established, error) {
	state, payload, err := p.readFirst(packet)
	if err != nil {
		return nil, nil, err
	}
	est := &established{remoteIndex: p.header.sender}
	if est.hello, err = parseHelloPayload(payload, nil); err != nil {
		return nil, nil, err
	}
	if est.peer, err = p.cfg.peerOf(state); err != nil {
		return nil, nil, err
	}
	if p.hello, err = hello(est.peer, &est.hello).encode(); err != nil {
		return nil, nil, fmt.Errorf("kcptransport: handshake: %w", err)
	}
	header := p.answerHeader().append(nil)
	answer, cs1, cs2, err := state.WriteMessage(header, appendPayload(nil, header, p.hello, p.payloadSize()))
	if err != nil {
		return nil, nil, errHandshakeAuth
	}
	if est.keys, err = sessionFrom(p.header.suite, cs1, cs2, false); err != nil {
		return nil, nil, fmt.Errorf("kcptransport: handshake: %w", err)
	}
	return answer, est, nil
}

// answerXX builds the state after XX2 from XX1. It gives the same each time.
func (p *pendingResponder) answerXX() (*noise.HandshakeState, []byte, error) {
	state, payload, err := p.readFirst(p.first)
	if err != nil {
		return nil, nil, err
	}
	if hello, err := parsePayload(payload, nil); err != nil || len(hello) != 0 {
		return nil, nil, errHandshakePacket
	}
	header := p.answerHeader().append(nil)
	answer, _, _, err := state.WriteMessage(header, appendPayload(nil, header, p.hello, p.payloadSize()))
	if err != nil {
		return nil, nil, errHandshakeAuth
	}
	return state, answer, nil
}

// established returns the session, or nil while XX3 is missing.
func (p *pendingResponder) established() *established { return p.est }

// handle takes a packet that came for this handshake's index: XX3. After an error the handshake goes on as if the
// packet had not come.
func (p *pendingResponder) handle(packet []byte) (est *established, err error) {
	if p.est != nil {
		return nil, errHandshakeDone
	}
	if _, err := checkAnswer(packet, typeXX3, p.index, &p.header.sender); err != nil {
		return nil, err
	}
	if p.state == nil {
		if p.state, _, err = p.answerXX(); err != nil {
			return nil, err
		}
	}
	est, err = p.finish(packet)
	p.state = nil // finished, or perhaps spoilt
	if err != nil {
		return nil, err
	}
	p.est, p.first = est, nil
	return est, nil
}

// finish reads XX3.
func (p *pendingResponder) finish(packet []byte) (*established, error) {
	payload, cs1, cs2, err := p.state.ReadMessage(nil, packet[answerHeaderSize:])
	if err != nil {
		return nil, errHandshakeAuth
	}
	est := &established{remoteIndex: p.header.sender}
	if est.peer, err = p.cfg.peerOf(p.state); err != nil {
		return nil, err
	}
	if est.hello, err = parseHelloPayload(payload, packet[:answerHeaderSize]); err != nil {
		return nil, err
	}
	if est.keys, err = sessionFrom(p.header.suite, cs1, cs2, false); err != nil {
		return nil, fmt.Errorf("kcptransport: handshake: %w", err)
	}
	return est, nil
}
