package stunclient

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"

	"github.com/pion/stun/v2"
)

const (
	maxUnknownTold  = 8          // attributes named in an error response; a request this odd is no accident
	fingerprintMask = 0x5354554e // https://www.rfc-editor.org/rfc/rfc8489.html#section-14.7
)

// Respond returns the answer to a Binding request that came from an address, and nil for everything else. It keeps
// nothing and may be called from any goroutine.
//
// The smallest request has 20 bytes and the answer must tell the address, so it can't be as small: it has 32 bytes for
// IPv4 and 44 for IPv6, and 8 more with FINGERPRINT, which it has if the request had. With the headers of IP and UDP
// the factor is at most 1.4, of no use to who forges source addresses.
func Respond(b []byte, from netip.AddrPort) []byte {
	if _, ok := RequestID(b); !ok {
		return nil
	}
	if !from.Addr().IsValid() || from.Port() == 0 {
		return nil
	}
	m, err := parse(b)
	if err != nil {
		return nil
	}
	answer := make([]byte, headerSize, 64)
	binary.BigEndian.PutUint32(answer[4:], magicCookie)
	copy(answer[8:], m.TransactionID[:])
	if unknown := unknownRequired(m, knownInRequest); len(unknown) > 0 {
		answer = appendUnknown(setType(answer, stun.BindingError), unknown)
	} else {
		answer = appendAddress(setType(answer, stun.BindingSuccess), from, mask(m.TransactionID))
	}
	if m.Contains(stun.AttrFingerprint) {
		answer = appendFingerprint(answer)
	}
	return setLength(answer)
}

// Request returns a Binding request without attributes, whose transaction ID the caller has chosen. It is for who does not wait for
// an answer: a peer that was told the ID knows by [RequestID] what has come.
func Request(id [stun.TransactionIDSize]byte) []byte {
	request := make([]byte, headerSize)
	binary.BigEndian.PutUint32(request[4:], magicCookie)
	copy(request[8:], id[:])
	return setType(request, stun.BindingRequest)
}

// RequestID returns the transaction ID of a Binding request, false for everything else.
func RequestID(b []byte) (id [stun.TransactionIDSize]byte, ok bool) {
	if !IsSTUN(b) || messageType(b) != stun.BindingRequest {
		return id, false
	}
	return idOf(b), true
}

// knownInRequest lists what may be ignored: a server that asks nobody for credentials need not look at them. The
// attributes of RFC 5780 are absent. Their client learns from the error that there is no second address here.
func knownInRequest(t stun.AttrType) bool {
	switch t {
	case stun.AttrUsername, stun.AttrMessageIntegrity, stun.AttrMessageIntegritySHA256, stun.AttrRealm, stun.AttrNonce,
		stun.AttrUserhash, stun.AttrPasswordAlgorithm, stun.AttrPriority, stun.AttrUseCandidate:
		return true
	}
	return false
}

// appendUnknown appends what a response to a request with unknown required attributes has to tell: error 420, and the
// attributes that were not understood.
// https://www.rfc-editor.org/rfc/rfc8489.html#section-6.3.1
func appendUnknown(dst []byte, unknown []stun.AttrType) []byte {
	const class, number = 420 / 100, 420 % 100
	dst = append(appendAttrHeader(dst, stun.AttrErrorCode, 4), 0, 0, class, number)
	unknown = unknown[:min(len(unknown), maxUnknownTold)]
	dst = appendAttrHeader(dst, stun.AttrUnknownAttributes, 2*len(unknown))
	for _, t := range unknown {
		dst = binary.BigEndian.AppendUint16(dst, t.Value())
	}
	if len(unknown)%2 != 0 {
		dst = append(dst, 0, 0)
	}
	return dst
}

// appendFingerprint appends the checksum of the message, whose length already counts the attribute.
func appendFingerprint(m []byte) []byte {
	binary.BigEndian.PutUint16(m[2:], uint16(len(m)-headerSize+attrHeader+4))
	sum := crc32.ChecksumIEEE(m) ^ fingerprintMask
	return binary.BigEndian.AppendUint32(appendAttrHeader(m, stun.AttrFingerprint, 4), sum)
}

func setType(m []byte, t stun.MessageType) []byte {
	binary.BigEndian.PutUint16(m, t.Value())
	return m
}

func setLength(m []byte) []byte {
	binary.BigEndian.PutUint16(m[2:], uint16(len(m)-headerSize))
	return m
}
