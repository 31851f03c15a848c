package stunclient

import (
	"encoding/binary"
	"errors"

	"github.com/pion/stun/v2"
)

const (
	headerSize    = 20
	attrHeader    = 4 // type and length of an attribute
	magicCookie   = 0x2112A442
	maxMessage    = 1500 // bytes, as in one Ethernet frame
	maxAttributes = 32
)

// transactionID ties an answer to its request.
type transactionID [stun.TransactionIDSize]byte

// IsSTUN tells STUN messages from whatever else arrives on the socket: by the two zero bits at the beginning, a length
// that is a multiple of 4 and the magic cookie.
// https://www.rfc-editor.org/rfc/rfc8489.html#section-5
func IsSTUN(b []byte) bool {
	return len(b) >= headerSize && b[0] < 4 && b[3]&3 == 0 && binary.BigEndian.Uint32(b[4:]) == magicCookie
}

// messageType is valid for what IsSTUN accepts.
func messageType(b []byte) (t stun.MessageType) {
	t.ReadValue(binary.BigEndian.Uint16(b))
	return t
}

func idOf(b []byte) transactionID { return transactionID(b[8:headerSize]) }

var (
	errLength      = errors.New("the length is not that of the packet")
	errAttributes  = errors.New("too many attributes")
	errFingerprint = errors.New("the fingerprint is wrong")
)

// parse reads all of b as one message, which then refers to b. The library trusts lengths that it is given, so they are
// checked here.
func parse(b []byte) (*stun.Message, error) {
	if !IsSTUN(b) || len(b) > maxMessage || int(binary.BigEndian.Uint16(b[2:]))+headerSize != len(b) {
		return nil, errLength
	}
	if countAttributes(b[headerSize:]) > maxAttributes {
		return nil, errAttributes
	}
	m := &stun.Message{Raw: b}
	if err := m.Decode(); err != nil {
		return nil, err
	}
	return m, checkFingerprint(m)
}

func countAttributes(b []byte) (n int) {
	for ; len(b) >= attrHeader; n++ {
		size := attrHeader + (int(binary.BigEndian.Uint16(b[2:]))+3)&^3
		b = b[min(size, len(b)):]
	}
	return n
}

// checkFingerprint refuses a message whose FINGERPRINT is wrong or not its last attribute.
// https://www.rfc-editor.org/rfc/rfc8489.html#section-14.7
func checkFingerprint(m *stun.Message) error {
	for i, a := range m.Attributes {
		if a.Type != stun.AttrFingerprint {
			continue
		}
		if i != len(m.Attributes)-1 || stun.Fingerprint.Check(m) != nil {
			return errFingerprint
		}
	}
	return nil
}

// unknownRequired lists the attributes of m that its receiver must understand and that known doesn't know.
func unknownRequired(m *stun.Message, known func(stun.AttrType) bool) (unknown []stun.AttrType) {
	for _, a := range m.Attributes {
		if a.Type.Required() && !known(a.Type) {
			unknown = append(unknown, a.Type)
		}
	}
	return unknown
}
