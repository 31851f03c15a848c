package chunks

import (
	"encoding/base32"
	"fmt"
	"strings"

	"lukechampine.com/blake3"
)

// Root names what is shared: it is the BLAKE3 hash of the encoded Manifest, and so of every byte, name and mode below
// it. Whoever knows a Root may fetch what it names from any Server that holds it and lets them open a stream, so a Root
// is also the key to the content. It is comparable and may be a map key.
type Root [32]byte

const rootLen = 52 // characters of a Root as text: 256 bits at 5 bits each

var rootEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// String returns the 52 characters of lower case base32 (RFC 4648 section 6, no padding) that ParseRoot reads.
func (r Root) String() string { return rootEncoding.EncodeToString(r[:]) }

// Short returns the first 8 characters of String, enough to tell downloads apart on a screen.
func (r Root) Short() string { return rootEncoding.EncodeToString(r[:5]) }

// IsZero reports whether r names nothing.
func (r Root) IsZero() bool { return r == Root{} }

// ParseRoot reads the text form of a Root, in lower or upper case.
func ParseRoot(s string) (Root, error) {
	var r Root
	lower := strings.ToLower(s)
	if len(lower) != rootLen {
		return Root{}, fmt.Errorf("chunks: reading a root of %d characters: it should have %d", len(s), rootLen)
	}
	if _, err := rootEncoding.Decode(r[:], []byte(lower)); err != nil {
		return Root{}, fmt.Errorf("chunks: reading root %q: it is not base32: %w", s, err)
	}
	if r.String() != lower { // the last character carries 4 bits that must be zero
		return Root{}, fmt.Errorf("chunks: reading root %q: its last character cannot end a root", s)
	}
	if r.IsZero() {
		return Root{}, fmt.Errorf("chunks: reading root %q: it is all zero, which names nothing", s)
	}
	return r, nil
}

// MarshalText implements encoding.TextMarshaler; it never fails.
func (r Root) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; it reads what ParseRoot reads.
func (r *Root) UnmarshalText(text []byte) error {
	parsed, err := ParseRoot(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}

func rootOf(manifest []byte) Root { return blake3.Sum256(manifest) }
