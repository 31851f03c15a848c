package chunks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// What a request asks for.
const (
	opManifest = 1
	opHave     = 2
	opChunk    = 3
)

// How a request went.
const (
	statusOK       = 0
	statusUnknown  = 1 // no content of that root here
	statusMissing  = 2 // that chunk is not here (yet)
	statusChanged  = 3 // the file changed since it was shared
	statusFailed   = 4 // reading failed
	statusBad      = 5 // the request makes no sense here
	maxStatusText  = 256
	maxRequest     = 128  // bytes of an encoded request
	maxResponse    = 4096 // bytes of an encoded response, without its body
	frameHeader    = 4
	maxProof       = 24 * 32
	maxGroupsBytes = maxChunk / groupSize * 32
)

// request and response are the CBOR maps of the wire, drawn in the package comment.
type request struct {
	Op    uint8  `cbor:"1,keyasint"`
	ID    uint32 `cbor:"2,keyasint"`
	Root  []byte `cbor:"3,keyasint"`
	Chunk uint32 `cbor:"4,keyasint,omitempty"`
	Since uint32 `cbor:"5,keyasint,omitempty"`
}

type response struct {
	ID     uint32 `cbor:"1,keyasint"`
	Status uint8  `cbor:"2,keyasint"`
	Error  string `cbor:"3,keyasint,omitempty"`
	Body   uint32 `cbor:"4,keyasint,omitempty"` // bytes that follow the frame
	Proof  []byte `cbor:"5,keyasint,omitempty"`
	Groups []byte `cbor:"6,keyasint,omitempty"`
	All    bool   `cbor:"7,keyasint,omitempty"`
	List   bool   `cbor:"8,keyasint,omitempty"`
	Seq    uint32 `cbor:"9,keyasint,omitempty"`
}

// errWire is wrapped by errors about bytes that do not follow the protocol.
var errWire = errors.New("the peer does not follow the protocol")

// appendFrame appends a length-prefixed CBOR value.
func appendFrame(dst []byte, v any) []byte {
	b, err := encMode.Marshal(v)
	if err != nil {
		panic(err) // plain structs always encode
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(b)))
	return append(dst, b...)
}

// readFrame reads a length-prefixed CBOR value into v, using buf for its bytes; len(buf) is the limit.
// It returns io.EOF only between frames.
func readFrame(r io.Reader, buf []byte, v any) error {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > uint32(len(buf)) {
		return fmt.Errorf("%w: a frame of %d bytes, the limit is %d", errWire, n, len(buf))
	}
	if _, err := io.ReadFull(r, buf[:n]); err != nil {
		return cut(err)
	}
	if err := decMode.Unmarshal(buf[:n], v); err != nil {
		return fmt.Errorf("%w: %w", errWire, err)
	}
	return nil
}

// cut makes the end of the stream inside something an error of its own.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readBody reads n bytes in steps, so that memory follows what arrived and not what was claimed. step is called after
// each.
func readBody(r io.Reader, n int, step func(n int)) ([]byte, error) {
	const unit = 16 << 10
	var body []byte
	for len(body) < n {
		k := min(unit, n-len(body))
		at := len(body)
		body = append(body, make([]byte, k)...)
		if _, err := io.ReadFull(r, body[at:]); err != nil {
			return nil, cut(err)
		}
		step(k)
	}
	return body, nil
}

func statusText(status uint8) string {
	switch status {
	case statusOK:
		return "ok"
	case statusUnknown:
		return "it does not share this"
	case statusMissing:
		return "it does not have this chunk"
	case statusChanged:
		return "its file changed after it was shared"
	case statusFailed:
		return "it could not read its file"
	case statusBad:
		return "it did not understand the request"
	}
	return fmt.Sprintf("status %d", status)
}

// statusError is a refusal that the peer sent.
type statusError struct {
	status uint8
	text   string
}

func (e *statusError) Error() string {
	if e.text == "" {
		return statusText(e.status)
	}
	return fmt.Sprintf("%s: %q", statusText(e.status), clip(e.text, 80))
}
