package kcptransport

import (
	"bytes"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
)

// PeerID names a peer: it is the peer's 32-byte Ed25519 public key (RFC 8032), restricted to keys whose sign bit (the
// highest bit of the last byte) is zero, so that a PeerID and its X25519 form determine each other; see docs/wire.md.
// It is comparable and may be a map key. The zero PeerID names nobody.
type PeerID [32]byte

// peerIDLen is the length of a PeerID as text: 256 bits at 5 bits a character.
const peerIDLen = 52

// peerIDEncoding is base32 of RFC 4648 section 6 in lower case, without padding.
var peerIDEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

var (
	errPeerIDZero = errors.New("it is all zero, which names nobody")
	errPeerIDSign = errors.New("its sign bit is set")
)

// String returns the 52 characters of lower case base32 that ParsePeerID reads.
func (id PeerID) String() string { return peerIDEncoding.EncodeToString(id[:]) }

// Short returns the first 8 characters of String, enough to tell peers apart in a log and too few to trust.
func (id PeerID) Short() string { return peerIDEncoding.EncodeToString(id[:5]) }

// IsZero reports whether id names nobody.
func (id PeerID) IsZero() bool { return id == PeerID{} }

// Compare orders PeerIDs by their bytes: -1 when id is lower than other, 0 when they are equal, +1 when it is higher.
func (id PeerID) Compare(other PeerID) int { return bytes.Compare(id[:], other[:]) }

// ParsePeerID reads the text form of a PeerID, in lower or upper case. It checks the form only: whether the 32 bytes
// are a usable key shows when the peer is dialled.
func ParsePeerID(s string) (PeerID, error) {
	id, err := parsePeerID(s)
	if err != nil {
		return PeerID{}, fmt.Errorf("kcptransport: parsing peer ID %q: %w", abbreviate(s, peerIDLen), err)
	}
	return id, nil
}

func parsePeerID(s string) (id PeerID, err error) {
	if len(s) != peerIDLen {
		return PeerID{}, fmt.Errorf("it has %d characters instead of %d", len(s), peerIDLen)
	}
	lower := strings.ToLower(s)
	if len(lower) != peerIDLen {
		return PeerID{}, errors.New("it is not base32")
	}
	if _, err := peerIDEncoding.Decode(id[:], []byte(lower)); err != nil {
		return PeerID{}, fmt.Errorf("it is not base32: %w", err)
	}
	if id.String() != lower { // 4 bits of the last character carry nothing and must be zero: one PeerID, one text
		return PeerID{}, errors.New("its last character is not one that can end a peer ID")
	}
	return id, id.check()
}

// check refuses the values that are never a PeerID. It is cheap: no curve arithmetic.
func (id PeerID) check() error {
	switch {
	case id.IsZero():
		return errPeerIDZero
	case id[31]&0x80 != 0:
		return errPeerIDSign
	}
	return nil
}

// MarshalText implements encoding.TextMarshaler; it never fails.
func (id PeerID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; it reads what ParsePeerID reads.
func (id *PeerID) UnmarshalText(text []byte) error {
	parsed, err := ParsePeerID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// abbreviate keeps hostile or mistaken input from filling an error message.
func abbreviate(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "…"
}
