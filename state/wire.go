package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/2xppg/xppg/kcptransport"
)

// StreamKind is the kind of the streams on which maps are replicated.
const StreamKind = "xppg/state"

const (
	maxFrame   = 256 << 10
	frameGoal  = 128 << 10 // entries are gathered into frames of about this size
	maxEntries = 1024      // in one frame
)

// helloFrame opens a stream.
type helloFrame struct {
	Map    string `cbor:"0,keyasint"`
	Pull   bool   `cbor:"1,keyasint,omitempty"` // send me what you have
	Push   bool   `cbor:"2,keyasint,omitempty"` // I send what I have, and want to know when you have it
	Live   bool   `cbor:"3,keyasint,omitempty"` // I send changes until the stream ends
	Hashes []byte `cbor:"4,keyasint,omitempty"` // of the buckets; with Pull or Push
}

// statusFrame answers a hello.
type statusFrame struct {
	Refused string `cbor:"0,keyasint,omitempty"`
	Differ  []byte `cbor:"1,keyasint,omitempty"` // one bit for each bucket
}

// entriesFrame carries entries; the last one has End.
type entriesFrame struct {
	Entries []wireEntry `cbor:"0,keyasint,omitempty"`
	End     bool        `cbor:"1,keyasint,omitempty"`
}

// A RefusedError tells that a peer does not take part in a map.
type RefusedError struct {
	Peer   kcptransport.PeerID
	Map    string
	Reason string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("state: peer %s refused map %q: %s", e.Peer.Short(), e.Map, e.Reason)
}

func writeFrame(w io.Writer, v any) error {
	b := mustMarshal(v)
	if len(b) > maxFrame {
		return fmt.Errorf("state: frame of %d bytes, at most %d are allowed", len(b), maxFrame)
	}
	_, err := w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b))), b...))
	return err
}

func readFrame(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > maxFrame {
		return fmt.Errorf("state: frame of %d bytes, at most %d are allowed", n, maxFrame)
	}
	var b bytes.Buffer // grows with what comes, not with what was announced
	if _, err := io.CopyN(&b, r, int64(n)); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if err := decMode.Unmarshal(b.Bytes(), v); err != nil {
		return fmt.Errorf("state: malformed frame: %w", err)
	}
	return nil
}

// writeEntries sends entries in frames, and with end that these were all.
func writeEntries(w io.Writer, entries []*Entry, end bool) error {
	var f entriesFrame
	size := 0
	for _, e := range entries {
		if n := len(e.Key) + len(e.Value) + 256; size > 0 && (size+n > frameGoal || len(f.Entries) == maxEntries) {
			if err := writeFrame(w, f); err != nil {
				return err
			}
			f, size = entriesFrame{}, 0
		}
		f.Entries = append(f.Entries, e.pack())
		size += len(e.Key) + len(e.Value) + 256
	}
	f.End = end
	if len(f.Entries) == 0 && !end {
		return nil
	}
	return writeFrame(w, f)
}

// readEntries reads one frame of entries and verifies them.
func readEntries(r io.Reader, mapName string) (entries []*Entry, end bool, err error) {
	var f entriesFrame
	if err := readFrame(r, &f); err != nil {
		return nil, false, err
	}
	if len(f.Entries) > maxEntries {
		return nil, false, fmt.Errorf("state: %d entries in one frame", len(f.Entries))
	}
	for _, w := range f.Entries {
		e, err := w.unpack()
		if err != nil {
			return nil, false, err
		}
		if err := e.verify(mapName); err != nil {
			return nil, false, err
		}
		entries = append(entries, e)
	}
	return entries, f.End, nil
}

// differ returns a bit for each bucket whose hashes are not the same.
func differ(ours, theirs []byte) ([]byte, error) {
	if len(theirs) != len(ours) {
		return nil, fmt.Errorf("state: %d bytes of hashes, not %d", len(theirs), len(ours))
	}
	bits := make([]byte, buckets/8)
	for i := range buckets {
		if string(ours[i*16:(i+1)*16]) != string(theirs[i*16:(i+1)*16]) {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	return bits, nil
}

// inBuckets returns whether a key is in a bucket whose bit is set.
func inBuckets(bits []byte) func(key string) bool {
	return func(key string) bool {
		i := bucketOf(key)
		return bits[i/8]&(1<<(i%8)) != 0
	}
}
