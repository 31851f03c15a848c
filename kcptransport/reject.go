package kcptransport

import (
	"encoding/binary"
	"fmt"
)

// RejectReason tells why a first handshake packet was refused. Its values are on the wire.
type RejectReason uint8

// The reasons to refuse a handshake.
const (
	RejectVersion RejectReason = 1 // the protocol version differs
	RejectApp     RejectReason = 2 // the node belongs to another application
	RejectPeer    RejectReason = 3 // the node is not the peer that was dialled
	RejectSecret  RejectReason = 4 // the room's passphrase differs, or only one side has one
	RejectBusy    RejectReason = 5 // the node takes no new links now
)

// String returns a phrase that completes "the node".
func (r RejectReason) String() string {
	switch r {
	case RejectVersion:
		return "speaks another version of the protocol"
	case RejectApp:
		return "belongs to another application"
	case RejectPeer:
		return "is another peer than the one dialled"
	case RejectSecret:
		return "has another passphrase"
	case RejectBusy:
		return "takes no new links now"
	}
	return fmt.Sprintf("refused for reason %d", uint8(r))
}

// HandshakeError says that two nodes cannot have a link as they are configured.
type HandshakeError struct {
	Reason  RejectReason
	Version uint8 // the version the other node speaks
	// Remote is true when the other node said so. Such a refusal is not authenticated: anyone who saw the handshake
	// could have sent it.
	Remote bool
}

// Error implements error.
func (e *HandshakeError) Error() string {
	advice := ""
	switch e.Reason {
	case RejectVersion:
		advice = fmt.Sprintf(" (it speaks %d, this one %d: update the older one)", e.Version, protocolVersion)
	case RejectApp:
		advice = " (use the same application name on both sides)"
	case RejectPeer:
		advice = " (its address or its key has changed)"
	case RejectSecret:
		advice = " (use the same passphrase on both sides)"
	case RejectBusy:
		advice = " (try again later)"
	}
	return "kcptransport: handshake: the other node " + e.Reason.String() + advice
}

// Is makes errors.Is compare the reason alone.
func (e *HandshakeError) Is(target error) bool {
	other, ok := target.(*HandshakeError)
	return ok && other.Reason == e.Reason
}

// appendReject appends the refusal of a first handshake packet, which is never longer than that packet.
func appendReject(dst, first []byte, reason RejectReason) []byte {
	dst = append(dst, typeReject, protocolVersion)
	dst = append(dst, first[2:6]...) // the sender's index: the same place in every version
	return append(dst, byte(reason))
}

// parseReject reads a packet that packetType calls kindReject.
func parseReject(b []byte) (index uint32, refusal *HandshakeError) {
	return binary.BigEndian.Uint32(b[2:]), &HandshakeError{Reason: RejectReason(b[6]), Version: b[1], Remote: true}
}
