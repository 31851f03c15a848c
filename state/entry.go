package state

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
	"lukechampine.com/blake3"

	"github.com/2xppg/xppg/kcptransport"
)

// Limits of what is stored.
const (
	MaxKey      = 512      // bytes of a key
	MaxValue    = 64 << 10 // bytes of a value as CBOR
	maxSiblings = 8
	signDomain  = "xppg state v1\x00"
)

// An Entry is one write.
type Entry struct {
	Key     string
	Value   cbor.RawMessage // nil when Deleted
	Deleted bool
	Version Version
	Base    Version // the highest version of the key that the author had seen; zero for none
	Sig     []byte  // by Version.Author
}

// wireEntry is an entry as it is signed, sent and stored.
type wireEntry struct {
	Key     string          `cbor:"0,keyasint"`
	Value   cbor.RawMessage `cbor:"1,keyasint,omitempty"`
	Deleted bool            `cbor:"2,keyasint,omitempty"`
	Version wireVersion     `cbor:"3,keyasint"`
	Base    *wireVersion    `cbor:"4,keyasint,omitempty"`
	Sig     []byte          `cbor:"5,keyasint,omitempty"`
}

type wireVersion struct {
	_       struct{} `cbor:",toarray"`
	Wall    uint64
	Counter uint32
	Author  []byte
}

// Values may be nested less deeply than frames, which carry them.
var (
	decMode   = newDecMode(32)
	valueMode = newDecMode(24)
)

func newDecMode(levels int) cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden,
		MaxNestedLevels: levels, MaxArrayElements: 65536, MaxMapPairs: 65536,
	}.DecMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return m
}

// checkValue says whether every node will take a value.
func checkValue(raw cbor.RawMessage) error {
	if len(raw) > MaxValue {
		return fmt.Errorf("%d bytes, at most %d are allowed", len(raw), MaxValue)
	}
	return valueMode.Wellformed(raw)
}

var encMode = func() cbor.EncMode {
	m, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return m
}()

// mustMarshal encodes one of this package's own structs, which cannot fail.
func mustMarshal(v any) []byte {
	b, err := encMode.Marshal(v)
	if err != nil {
		panic("state: encoding a wire struct: " + err.Error())
	}
	return b
}

func packVersion(v Version) wireVersion {
	return wireVersion{Wall: v.Wall, Counter: v.Counter, Author: v.Author[:]}
}

func (w wireVersion) unpack() (v Version, err error) {
	if len(w.Author) != len(v.Author) {
		return v, fmt.Errorf("state: an author's key of %d bytes", len(w.Author))
	}
	v.Wall, v.Counter = w.Wall, w.Counter
	copy(v.Author[:], w.Author)
	return v, nil
}

func (e *Entry) pack() wireEntry {
	w := wireEntry{Key: e.Key, Value: e.Value, Deleted: e.Deleted, Version: packVersion(e.Version), Sig: e.Sig}
	if !e.Base.IsZero() {
		b := packVersion(e.Base)
		w.Base = &b
	}
	return w
}

// unpack checks the form of an entry, not its signature.
func (w wireEntry) unpack() (*Entry, error) {
	e := &Entry{Key: w.Key, Value: w.Value, Deleted: w.Deleted, Sig: w.Sig}
	var err error
	if e.Version, err = w.Version.unpack(); err != nil {
		return nil, err
	}
	if w.Base != nil {
		if e.Base, err = w.Base.unpack(); err != nil {
			return nil, err
		}
	}
	if err := CheckKey(e.Key); err != nil {
		return nil, err
	}
	if !e.Deleted {
		if err := checkValue(e.Value); err != nil {
			return nil, fmt.Errorf("state: value of key %q: %w", e.Key, err)
		}
	}
	switch {
	case e.Deleted && len(e.Value) > 0:
		return nil, errors.New("state: an entry is either a value or a deletion")
	case e.Base.Compare(e.Version) >= 0:
		return nil, errors.New("state: an entry is not after its base")
	}
	return e, nil
}

// CheckKey returns why a key of a map is refused, if it is.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey || !utf8.ValidString(key) {
		return fmt.Errorf("state: a key has 1 to %d bytes of UTF-8, this one has %d", MaxKey, len(key))
	}
	return nil
}

// signedBytes is what the author signs.
func (e *Entry) signedBytes(mapName string) []byte {
	b := append([]byte(signDomain+mapName), 0)
	return append(b, e.content()...)
}

func (e *Entry) verify(mapName string) error {
	if !kcptransport.Verify(e.Version.Author, e.signedBytes(mapName), e.Sig) {
		return fmt.Errorf("state: key %q: the signature is not that of %s", e.Key, e.Version.Author.Short())
	}
	return nil
}

// checkDrift refuses entries from too far in the future.
func (e *Entry) checkDrift(now time.Time, limit time.Duration) error {
	if e.Version.Wall > millis(now.Add(limit)) {
		return fmt.Errorf("state: key %q: written by %s more than %s ahead of our clock (check the clocks)", e.Key, e.Version.Author.Short(), limit)
	}
	return nil
}

// prevails decides between two entries that an author signed with one version,
// which honest authors do not do, so that all nodes keep the same one: the one
// with the later base, so that no base is forgotten, else by content.
func (e *Entry) prevails(o *Entry) bool {
	if c := e.Base.Compare(o.Base); c != 0 {
		return c > 0
	}
	return bytes.Compare(e.content(), o.content()) > 0
}

// content is all of the entry but its signature.
func (e *Entry) content() []byte {
	w := e.pack()
	w.Sig = nil
	return mustMarshal(w)
}

// siblings are the writes of a key that none supersedes, newest first.
type siblings []*Entry

// add returns the siblings after e was seen, too, and whether that is a change.
func (s siblings) add(e *Entry) (siblings, bool) {
	base := e.Base
	for _, o := range s {
		if o.Version == e.Version {
			if !e.prevails(o) {
				return s, false
			}
			s = slices.DeleteFunc(slices.Clone(s), func(x *Entry) bool { return x == o })
			next, _ := s.add(e)
			return next, true
		}
		if o.Base.Compare(base) > 0 {
			base = o.Base
		}
	}
	if e.Version.Compare(base) <= 0 {
		return s, false
	}
	out := make(siblings, 0, len(s)+1)
	added := false
	for _, o := range s {
		if !added && e.Version.Compare(o.Version) > 0 {
			out, added = append(out, e), true
		}
		if o.Version.Compare(base) > 0 {
			out = append(out, o)
		}
	}
	if !added {
		out = append(out, e)
	}
	if len(out) > maxSiblings {
		if out[maxSiblings] == e {
			return s, false
		}
		out = out[:maxSiblings]
	}
	return out, true
}

// live returns the entries to read from, oldest first; none when the key is deleted.
func (s siblings) live() []*Entry {
	if len(s) == 0 || s[0].Deleted {
		return nil
	}
	var out []*Entry
	for i := len(s) - 1; i >= 0; i-- {
		if !s[i].Deleted {
			out = append(out, s[i])
		}
	}
	return out
}

// hash stands for the siblings of a key in the hash of a bucket.
func (s siblings) hash() (h [16]byte) {
	if len(s) == 0 {
		return h
	}
	hasher := blake3.New(len(h), nil)
	for _, e := range s {
		_, _ = hasher.Write(e.content()) // never fails
	}
	hasher.Sum(h[:0])
	return h
}

func bucketOf(key string) int {
	sum := blake3.Sum256([]byte(key))
	return int(sum[0])
}
