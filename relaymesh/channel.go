package relaymesh

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// What one side takes of a channel, whoever is at its other end.
const (
	channelBytes    = 16 << 10               // in each direction, headers included
	channelDuration = 30 * time.Second       // from its beginning
	shortPatience   = 500 * time.Millisecond // for that of a request that is refused whatever it is
	acceptTimeout   = 5 * time.Second        // for the first frame
)

// ErrChannelFull is returned when a channel has carried all it may in a direction: 16 KiB.
var ErrChannelFull = errors.New("relaymesh: the channel has carried its 16 KiB")

// Channel carries packets of up to [MaxPacket] bytes between two peers by way of an introducer: in order and whole, at
// most 16 KiB in each direction and for at most 30 seconds. It is a [kcptransport.Signal].
//
// Send and the methods without I/O may be called from several goroutines; Recv from one at a time.
type Channel struct {
	peer   kcptransport.PeerID
	stream Stream
	asked  time.Time // when the request was sent; zero on the side that was asked

	rtt atomic.Int64

	sendMu sync.Mutex
	sent   int
	out    []byte // the frame being written

	received int
	in       [maxFrameBytes]byte
}

var _ kcptransport.Signal = (*Channel)(nil)

// Peer returns who is at the other end, as far as the introducer can be believed.
func (c *Channel) Peer() kcptransport.PeerID { return c.peer }

// RTT returns how long the request took to the other side and its answer back: a round trip over the introducer,
// including the opening of its stream. It is 0 on the side that was asked, and before Recv has seen the answer.
func (c *Channel) RTT() time.Duration { return time.Duration(c.rtt.Load()) }

// Send sends a packet. It does not keep it. It does not wait either, as long as the stream below buffers 16 KiB, as
// that of kcptransport does.
func (c *Channel) Send(packet []byte) error {
	if len(packet) > MaxPacket {
		return fmt.Errorf("relaymesh: sending a packet of %d bytes to %s: at most %d are possible", len(packet), c.peer.Short(), MaxPacket)
	}
	return c.write(framePacket, packet...)
}

func (c *Channel) write(t frameType, body ...byte) error {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	c.out = appendFrame(c.out[:0], t, body...)
	if c.sent+len(c.out) > channelBytes {
		return ErrChannelFull
	}
	c.sent += len(c.out)
	if _, err := c.stream.Write(c.out); err != nil {
		return fmt.Errorf("relaymesh: sending to %s by way of an introducer: %w", c.peer.Short(), err)
	}
	return nil
}

// Recv waits for the next packet, which the caller may keep. The error is io.EOF when the other side has
// closed the channel, a [*RefusedError] when there is none, and a timeout at the end of the channel's time.
func (c *Channel) Recv() ([]byte, error) {
	for {
		frame, err := readFrame(c.stream, c.in[:])
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		if err != nil {
			return nil, fmt.Errorf("relaymesh: waiting for %s by way of an introducer: %w", c.peer.Short(), err)
		}
		if c.received += len(frame); c.received > channelBytes {
			return nil, ErrChannelFull
		}
		switch t, body := splitFrame(frame); t {
		case framePacket:
			return bytes.Clone(body), nil
		case frameRefuse:
			return nil, c.refused(body)
		case frameAccept:
			c.accepted(time.Now())
		}
	}
}

func (c *Channel) refused(body []byte) error {
	e := &RefusedError{Target: c.peer}
	if len(body) > 0 {
		e.Code = RefuseCode(body[0])
	}
	return e
}

func (c *Channel) accepted(now time.Time) {
	if !c.asked.IsZero() {
		c.rtt.CompareAndSwap(0, int64(now.Sub(c.asked)))
	}
}

// Close ends the channel for both sides and makes a waiting Recv return. What was sent before still arrives.
func (c *Channel) Close() error { return c.stream.Close() }
