package kcptransport

import (
	"errors"
	"fmt"
	"net/netip"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// Limits of a Hello.
const (
	maxHello         = 1000 // bytes of CBOR
	maxCandidates    = 16
	maxCapabilities  = 32
	maxCapabilityLen = 32 // bytes
	maxHint          = 64 // bytes
)

// Hello is what both sides of a link tell each other inside the handshake. The initiator's Hello of an IK handshake
// can be replayed by whoever recorded it, and means nothing until a data packet of the same session has arrived.
type Hello struct {
	LinkID       [8]byte        // random, one for each Link object: tells a new key from a new peer
	Capabilities []string       // at most 32 of 1 to 32 bytes; unknown ones are ignored
	Candidates   []Candidate    // at most 16 are sent; received ones are all usable
	Observed     netip.AddrPort // where the sender saw the receiver; invalid when it does not know
	Hint         []byte         // what the sender knows of its network, at most 64 bytes; a longer one is left out
}

// wireHello is the CBOR form of a Hello: a map with integer keys. Keys of later versions are ignored.
type wireHello struct {
	LinkID       []byte          `cbor:"1,keyasint"`
	Capabilities []string        `cbor:"2,keyasint,omitempty"`
	Candidates   []wireCandidate `cbor:"3,keyasint,omitempty"`
	Observed     []byte          `cbor:"4,keyasint,omitempty"`
	Hint         []byte          `cbor:"5,keyasint,omitempty"`
}

type wireCandidate struct {
	_        struct{} `cbor:",toarray"`
	Addr     []byte
	Type     uint8
	Priority uint32
}

var helloEncoder = func() cbor.EncMode {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic("kcptransport: the encoding options are constant: " + err.Error())
	}
	return mode
}()

var helloDecoder = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  4,
		MaxArrayElements: maxCapabilities,
		MaxMapPairs:      32,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		UTF8:             cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		panic("kcptransport: the decoding options are constant: " + err.Error())
	}
	return mode
}()

var errHello = errors.New("invalid hello")

// encode returns the CBOR form. Candidates that cannot be used, and those behind the first 16, are left out.
func (h Hello) encode() ([]byte, error) {
	if err := checkCapabilities(h.Capabilities); err != nil {
		return nil, err
	}
	w := wireHello{LinkID: h.LinkID[:], Capabilities: h.Capabilities, Observed: appendAddr(nil, h.Observed)}
	if len(h.Hint) <= maxHint {
		w.Hint = h.Hint
	}
	for _, c := range h.Candidates {
		if len(w.Candidates) == maxCandidates {
			break
		}
		if c.Usable() {
			w.Candidates = append(w.Candidates, wireCandidate{Addr: appendAddr(nil, c.Addr), Type: uint8(c.Type), Priority: c.Priority})
		}
	}
	b, err := helloEncoder.Marshal(w)
	if err != nil {
		return nil, err
	}
	if len(b) > maxHello {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", errHello, len(b), maxHello)
	}
	return b, nil
}

// decodeHello reads what encode writes. A candidate that cannot be used or is of an unknown type is skipped.
func decodeHello(b []byte) (Hello, error) {
	if len(b) > maxHello {
		return Hello{}, fmt.Errorf("%w: %d bytes, the limit is %d", errHello, len(b), maxHello)
	}
	var w wireHello
	if err := helloDecoder.Unmarshal(b, &w); err != nil {
		return Hello{}, fmt.Errorf("%w: %w", errHello, err)
	}
	if len(w.LinkID) != 8 {
		return Hello{}, fmt.Errorf("%w: link ID of %d bytes instead of 8", errHello, len(w.LinkID))
	}
	if err := checkCapabilities(w.Capabilities); err != nil {
		return Hello{}, err
	}
	if len(w.Candidates) > maxCandidates {
		return Hello{}, fmt.Errorf("%w: %d candidates, the limit is %d", errHello, len(w.Candidates), maxCandidates)
	}
	h := Hello{LinkID: [8]byte(w.LinkID), Capabilities: w.Capabilities}
	for _, wc := range w.Candidates {
		addr, ok := parseAddr(wc.Addr)
		c := Candidate{Addr: addr, Type: CandidateType(wc.Type), Priority: wc.Priority}
		if ok && c.Usable() && Host <= c.Type && c.Type <= Relayed {
			h.Candidates = append(h.Candidates, c)
		}
	}
	h.Observed, _ = parseAddr(w.Observed)
	if len(w.Hint) <= maxHint {
		h.Hint = w.Hint
	}
	return h, nil
}

func checkCapabilities(list []string) error {
	if len(list) > maxCapabilities {
		return fmt.Errorf("%w: %d capabilities, the limit is %d", errHello, len(list), maxCapabilities)
	}
	for _, c := range list {
		if len(c) == 0 || len(c) > maxCapabilityLen || !utf8.ValidString(c) {
			return fmt.Errorf("%w: capability %q, expected 1 to %d bytes of UTF-8", errHello, abbreviate(c, maxCapabilityLen), maxCapabilityLen)
		}
	}
	return nil
}
