package api

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
)

// MaxMessage is the largest payload of one message, in bytes of CBOR. Larger
// things are files: see [Playground.Share].
const MaxMessage = 1 << 20

// maxFrame bounds a frame on a message stream: a payload and its envelope.
const maxFrame = MaxMessage + 4096

// Types of an envelope.
const (
	typeMessage   = 1 // to this peer; acknowledged by Seq
	typeRequest   = 2 // like a message, and a reply is awaited
	typeBroadcast = 3 // to everyone; signed by Origin
	typeAck       = 4 // Seq was taken in
	typeReply     = 5 // answer to the request Seq
)

// An envelope is one frame on a stream of kind "xppg/msg". The opener sends
// messages, requests and broadcasts, the other side acknowledgements and
// replies.
type envelope struct {
	Type    uint8           `cbor:"0,keyasint"`
	Seq     uint64          `cbor:"1,keyasint,omitempty"` // counts the opener's frames on this stream
	Kind    string          `cbor:"2,keyasint,omitempty"`
	Payload cbor.RawMessage `cbor:"3,keyasint,omitempty"`
	Err     string          `cbor:"4,keyasint,omitempty"` // a reply that failed
	Origin  []byte          `cbor:"5,keyasint,omitempty"` // broadcast: its author
	Boot    uint64          `cbor:"6,keyasint,omitempty"` // broadcast: start of the author's playground
	Number  uint64          `cbor:"7,keyasint,omitempty"` // broadcast: counts the author's broadcasts since Boot, from 1
	Sig     []byte          `cbor:"8,keyasint,omitempty"` // broadcast: by Origin over all of the above it set
}

const (
	maxKind  = 64  // bytes of a message kind
	maxError = 512 // bytes of an error text in a reply
)

func (e *envelope) valid() error {
	switch {
	case e.Type < typeMessage || e.Type > typeReply:
		return fmt.Errorf("api: envelope of unknown type %d", e.Type)
	case len(e.Kind) > maxKind || len(e.Payload) > MaxMessage || len(e.Err) > maxError:
		return fmt.Errorf("api: oversized envelope")
	case e.Type <= typeBroadcast && e.Kind == "":
		return fmt.Errorf("api: message without a kind")
	case e.Type == typeBroadcast && (len(e.Origin) != 32 || len(e.Sig) != 64 || e.Number == 0):
		return fmt.Errorf("api: malformed broadcast")
	}
	return nil
}

// writeFrame writes a length (4 bytes, big-endian) and v as CBOR in one Write.
func writeFrame(w io.Writer, v any) error {
	body, err := encMode.Marshal(v)
	if err != nil {
		return fmt.Errorf("api: encode frame: %w", err)
	}
	buf := make([]byte, 4, 4+len(body))
	binary.BigEndian.PutUint32(buf, uint32(len(body)))
	_, err = w.Write(append(buf, body...))
	return err
}

// readFrame reads what writeFrame wrote, refusing more than limit bytes before
// anything is allocated for them, and growing only with what really arrives.
func readFrame(r io.Reader, limit int, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := int64(binary.BigEndian.Uint32(head[:]))
	if n == 0 || n > int64(limit) {
		return fmt.Errorf("api: frame of %d bytes, at most %d are allowed", n, limit)
	}
	body, err := readBody(r, int(n))
	if err != nil {
		return err
	}
	if err := decMode.Unmarshal(body, v); err != nil {
		return fmt.Errorf("api: malformed frame: %w", err)
	}
	return nil
}

// readBody reads n bytes, allocating in steps so that a claimed length costs
// the receiver nothing.
func readBody(r io.Reader, n int) ([]byte, error) {
	const step = 64 << 10
	body := make([]byte, 0, min(n, step))
	for len(body) < n {
		have := len(body)
		grow := min(n-have, max(step, have))
		body = append(body, make([]byte, grow)...)
		if _, err := io.ReadFull(r, body[have:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return body, nil
}
