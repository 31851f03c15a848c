package kcptransport

import "encoding/binary"

// protocolVersion is the version of everything behind the first two bytes of a handshake packet.
const protocolVersion = 1

// First bytes of packets. RFC 7983 leaves 192 to 255 free next to STUN, DTLS, TURN channels and RTP.
const (
	typeIK1     = 0xC0
	typeIK2     = 0xC1
	typeXX1     = 0xC2
	typeXX2     = 0xC3
	typeXX3     = 0xC4
	typeCookie  = 0xC5
	typeReject  = 0xC6
	typeCookied = 0xC7
	typeData    = 0xC8
	typeRelayed = 0xD0

	typeRelayedMarked = 0xD1 // the same, and a relay on the way has more to carry than it can
)

// Sizes in bytes.
const (
	firstSize        = 1200 // of a first handshake packet, exactly: what a path must carry (RFC 9000 section 14.1)
	firstHeaderSize  = 11   // type, version, sender index (4), suite, application tag (4)
	answerHeaderSize = 10   // type, version, sender index (4), receiver index (4)
	rejectSize       = 7    // type, version, receiver index (4), reason
	dataHeaderSize   = 9    // type, receiver index (4), packet number (4)
	aeadTagSize      = 16
	dataOverhead     = dataHeaderSize + aeadTagSize // of a data packet around its frames
)

// stunMagic is the magic cookie of RFC 8489 section 5, at offset 4 of every STUN packet.
const (
	stunMagic      = 0x2112A442
	stunHeaderSize = 20
)

// packetKind says who has to handle a packet.
type packetKind uint8

const (
	kindUnknown packetKind = iota // nobody: drop it
	kindSTUN                      // a STUN message
	kindFirst                     // IK1 or XX1, for respond
	kindAnswer                    // IK2 or XX2, for the initiator whose index receiverIndex returns
	kindFinish                    // XX3, for the pendingResponder of that index
	kindReject                    // a refusal, for the initiator of that index
	kindCookie                    // a request for a proof of address, for the initiator of that index
	kindCookied                   // IK1 or XX1 behind such a proof
	kindData                      // a data packet, for the session of that index
	kindRelayed                   // a packet behind a circuit prefix
)

// packetType tells packets apart by their first bytes. Packets too short for their header are kindUnknown, so a
// caller may read the header's fields of any other kind.
func packetType(b []byte) packetKind {
	if len(b) == 0 {
		return kindUnknown
	}
	kind, size := kindUnknown, 0
	switch b[0] {
	case 0, 1, 2, 3:
		if len(b) >= stunHeaderSize && binary.BigEndian.Uint32(b[4:]) == stunMagic {
			return kindSTUN
		}
		return kindUnknown
	case typeIK1, typeXX1:
		kind, size = kindFirst, firstHeaderSize
	case typeIK2, typeXX2:
		kind, size = kindAnswer, answerHeaderSize
	case typeXX3:
		kind, size = kindFinish, answerHeaderSize
	case typeReject:
		kind, size = kindReject, rejectSize
	case typeCookie:
		kind, size = kindCookie, cookiePacketSize
	case typeCookied:
		kind, size = kindCookied, cookiedHeaderSize+firstHeaderSize
	case typeData:
		kind, size = kindData, dataOverhead
	case typeRelayed, typeRelayedMarked:
		kind, size = kindRelayed, relayPrefix+1
	}
	if len(b) < size {
		return kindUnknown
	}
	return kind
}

// receiverIndex returns the index by which the receiver knows whom the packet is for. First messages, STUN and
// relayed packets have none.
func receiverIndex(b []byte) (uint32, bool) {
	switch packetType(b) {
	case kindData:
		return binary.BigEndian.Uint32(b[1:]), true
	case kindReject, kindCookie:
		return binary.BigEndian.Uint32(b[2:]), true
	case kindAnswer, kindFinish:
		return binary.BigEndian.Uint32(b[6:]), true
	}
	return 0, false
}

// firstHeader is the clear part of a first handshake packet. All of it is bound into the prologue.
type firstHeader struct {
	kind    byte // typeIK1 or typeXX1
	version uint8
	sender  uint32
	suite   suite
	tag     [4]byte
}

func (h firstHeader) append(dst []byte) []byte {
	dst = append(dst, h.kind, h.version)
	dst = binary.BigEndian.AppendUint32(dst, h.sender)
	dst = append(dst, byte(h.suite))
	return append(dst, h.tag[:]...)
}

// parseFirstHeader reads the header of a packet that packetType calls kindFirst.
func parseFirstHeader(b []byte) firstHeader {
	return firstHeader{
		kind:    b[0],
		version: b[1],
		sender:  binary.BigEndian.Uint32(b[2:]),
		suite:   suite(b[6]),
		tag:     [4]byte(b[7:]),
	}
}

// answerHeader is the clear part of IK2, XX2 and XX3. The payload behind it repeats it, so it cannot be changed.
type answerHeader struct {
	kind             byte
	version          uint8
	sender, receiver uint32
}

func (h answerHeader) append(dst []byte) []byte {
	dst = append(dst, h.kind, h.version)
	dst = binary.BigEndian.AppendUint32(dst, h.sender)
	return binary.BigEndian.AppendUint32(dst, h.receiver)
}

// parseAnswerHeader reads the header of a packet that packetType calls kindAnswer or kindFinish.
func parseAnswerHeader(b []byte) answerHeader {
	return answerHeader{
		kind:     b[0],
		version:  b[1],
		sender:   binary.BigEndian.Uint32(b[2:]),
		receiver: binary.BigEndian.Uint32(b[6:]),
	}
}
