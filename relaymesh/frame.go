package relaymesh

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/2xppg/xppg/kcptransport"
)

const (
	version       = 1
	frameHeader   = 2
	maxFrame      = 1500                           // of type and body
	maxFrameBytes = frameHeader + maxFrame         // on the stream
	greetingLen   = 2 + len(kcptransport.PeerID{}) // type, version, peer

	// MaxPacket is the largest packet a [Channel] carries, in bytes.
	MaxPacket = maxFrame - 1
)

type frameType byte

const (
	frameRequest frameType = 1
	frameOffer   frameType = 2
	frameAccept  frameType = 3
	frameRefuse  frameType = 4
	framePacket  frameType = 5
)

var (
	errFrameEmpty = errors.New("a frame without a type")
	errFrameLong  = fmt.Errorf("a frame of more than %d bytes", maxFrame)
)

// appendFrame appends a whole frame to dst. The body is at most MaxPacket bytes.
func appendFrame(dst []byte, t frameType, body ...byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(1+len(body)))
	dst = append(dst, byte(t))
	return append(dst, body...)
}

// readFrame reads one whole frame into buf, which has at least maxFrameBytes, and returns the part of it that the
// frame fills, header included. io.EOF means that the stream ended between two frames.
func readFrame(r io.Reader, buf []byte) ([]byte, error) {
	if _, err := io.ReadFull(r, buf[:frameHeader]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(buf))
	switch {
	case n == 0:
		return nil, errFrameEmpty
	case n > maxFrame:
		return nil, errFrameLong
	}
	frame := buf[:frameHeader+n]
	if _, err := io.ReadFull(r, frame[frameHeader:]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return frame, nil
}

// splitFrame returns the type and the body of a frame that readFrame returned.
func splitFrame(frame []byte) (frameType, []byte) {
	return frameType(frame[frameHeader]), frame[frameHeader+1:]
}

// appendGreeting appends the first frame of a stream: a request or an offer.
func appendGreeting(dst []byte, t frameType, peer kcptransport.PeerID) []byte {
	return appendFrame(dst, t, append([]byte{version}, peer[:]...)...)
}

// parseGreeting returns the peer that the first frame of a stream names. A later version may append to it.
func parseGreeting(frame []byte, want frameType) (peer kcptransport.PeerID, err error) {
	t, body := splitFrame(frame)
	switch {
	case t != want:
		return peer, fmt.Errorf("the stream starts with a frame of type %d instead of %d", t, want)
	case len(body) == 0 || body[0] != version:
		return peer, errVersion
	case 1+len(body) < greetingLen:
		return peer, fmt.Errorf("the first frame has %d bytes instead of %d", 1+len(body), greetingLen)
	}
	copy(peer[:], body[1:])
	if peer.IsZero() {
		return peer, errors.New("the first frame names nobody")
	}
	return peer, nil
}

var errVersion = errors.New("it speaks another version of this protocol")
