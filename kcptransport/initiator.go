package kcptransport

import (
	"fmt"

	"github.com/flynn/noise"
)

// initiator is the side of a handshake that sends the first message. It belongs to one goroutine.
//
//	IK: first ──IK1──▶            XX: first ──XX1──▶
//	          ◀──IK2── handle               ◀──XX2── handle ──XX3──▶
type initiator struct {
	cfg       handshakeConfig
	remote    PeerID // zero: XX
	static    []byte // the remote's X25519 key, nil: XX
	header    firstHeader
	payload   []byte // of the first message
	hello     helloFunc
	ephemeral [32]byte
	packet    []byte
	state     *noise.HandshakeState // nil when it has to be built anew
	opened    int
	done      bool
}

// newInitiator begins a handshake with remote, or with whoever answers when remote is zero. localIndex must be random
// and not in use: it is what answers are found by. In IK the hello travels in the first message, where anybody who
// records it can replay it. The hello is asked for when the other side is known: here in IK, after XX2 in XX.
func newInitiator(cfg handshakeConfig, remote PeerID, localIndex uint32, hello helloFunc) (*initiator, error) {
	if err := checkApp(cfg.app); err != nil {
		return nil, err
	}
	if remote == cfg.identity.ID() {
		return nil, errHandshakeSelf
	}
	i := &initiator{cfg: cfg, remote: remote, hello: hello}
	i.header = firstHeader{kind: typeXX1, version: protocolVersion, sender: localIndex, suite: cfg.cipher, tag: appTag(cfg.app)}
	if i.header.suite == 0 {
		i.header.suite = preferredCipher()
	}
	overhead := firstHeaderSize + 32 // the ephemeral key
	if cfg.secret != nil {
		i.header.suite |= suiteSecret
		overhead += aeadTagSize
	}
	var err error
	if remote.IsZero() {
		i.payload = appendPayload(nil, nil, nil, firstSize-overhead)
	} else {
		u, err := remote.montgomery()
		if err != nil {
			return nil, fmt.Errorf("kcptransport: handshake: peer ID %s: %w", remote, err)
		}
		i.header.kind, i.static = typeIK1, u[:]
		own, err := hello(remote, nil).encode()
		if err != nil {
			return nil, fmt.Errorf("kcptransport: handshake: %w", err)
		}
		i.payload = appendPayload(nil, nil, own, firstSize-firstHeaderSize-32-(32+aeadTagSize)-aeadTagSize)
	}
	if i.ephemeral, err = cfg.newEphemeral(); err != nil {
		return nil, err
	}
	if i.state, i.packet, err = i.begin(); err != nil {
		return nil, fmt.Errorf("kcptransport: handshake: %w", err)
	}
	return i, nil
}

// begin builds the state after the first message. It gives the same each time.
func (i *initiator) begin() (*noise.HandshakeState, []byte, error) {
	state, err := i.cfg.noiseState(i.header, i.ephemeral, true, i.static, &i.opened)
	if err != nil {
		return nil, nil, err
	}
	packet, _, _, err := state.WriteMessage(i.header.append(make([]byte, 0, firstSize)), i.payload)
	return state, packet, err
}

// first returns the first message, of 1,200 bytes. Retransmissions are the same bytes; the caller must not change them.
func (i *initiator) first() []byte { return i.packet }

// handle takes a packet that came for this handshake's index. A nil error means that the handshake is complete; then
// reply, unless nil, must be sent (XX3), together with the first data packets, and again until a data packet arrives.
// After any error the handshake goes on as if the packet had not come, because anyone may have sent it: also after a
// *HandshakeError, which is what the other node gives as its reason to refuse.
func (i *initiator) handle(packet []byte) (reply []byte, est *established, err error) {
	if i.done {
		return nil, nil, errHandshakeDone
	}
	if packetType(packet) == kindReject {
		if index, refusal := parseReject(packet); index == i.header.sender {
			return nil, nil, refusal
		}
		return nil, nil, errHandshakePacket
	}
	kind := byte(typeIK2)
	if i.static == nil {
		kind = typeXX2
	}
	header, err := checkAnswer(packet, kind, i.header.sender, nil)
	if err != nil {
		return nil, nil, err
	}
	if i.state == nil {
		if i.state, _, err = i.begin(); err != nil {
			return nil, nil, fmt.Errorf("kcptransport: handshake: %w", err)
		}
	}
	reply, est, err = i.finish(header, packet)
	if err != nil {
		i.state = nil
		return nil, nil, err
	}
	i.state, i.done = nil, true
	return reply, est, nil
}

// finish reads the answer and, in XX, writes the third message.
func (i *initiator) finish(header answerHeader, packet []byte) (reply []byte, est *established, err error) {
	payload, cs1, cs2, err := i.state.ReadMessage(nil, packet[answerHeaderSize:])
	if err != nil {
		return nil, nil, errHandshakeAuth
	}
	est = &established{peer: i.remote, remoteIndex: header.sender, initiator: true}
	if est.hello, err = parseHelloPayload(payload, packet[:answerHeaderSize]); err != nil {
		return nil, nil, err
	}
	if i.static == nil {
		if est.peer, err = i.cfg.peerOf(i.state); err != nil {
			return nil, nil, err
		}
		own, err := i.hello(est.peer, &est.hello).encode()
		if err != nil {
			return nil, nil, fmt.Errorf("kcptransport: handshake: %w", err)
		}
		h := answerHeader{kind: typeXX3, version: protocolVersion, sender: i.header.sender, receiver: header.sender}
		reply = h.append(nil)
		reply, cs1, cs2, err = i.state.WriteMessage(reply, appendPayload(nil, reply, own, 0))
		if err != nil {
			return nil, nil, errHandshakeAuth
		}
	}
	if est.keys, err = sessionFrom(i.header.suite, cs1, cs2, true); err != nil {
		return nil, nil, fmt.Errorf("kcptransport: handshake: %w", err)
	}
	return reply, est, nil
}
