package relaymesh

import (
	"context"
	"fmt"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// Introduce asks the peer behind introducer for a channel to target. It returns as soon as the request is sent, so
// that packets can follow at once: a refusal, or that the target accepted, shows in [Channel.Recv]. ctx bounds the
// opening of the stream only. The caller closes the channel.
func Introduce(ctx context.Context, introducer Opener, target kcptransport.PeerID) (*Channel, error) {
	stream, err := introducer.OpenStream(ctx, KindIntroduce)
	if err != nil {
		return nil, fmt.Errorf("relaymesh: asking for an introduction to %s: %w", target.Short(), err)
	}
	now := time.Now()
	c := &Channel{peer: target, stream: stream, asked: now}
	if err := c.start(now, frameRequest); err != nil {
		stream.Close()
		return nil, err
	}
	return c, nil
}

// start bounds the channel in time and writes its first frame, which names the other peer.
func (c *Channel) start(now time.Time, t frameType) error {
	if err := c.stream.SetDeadline(now.Add(channelDuration)); err != nil {
		return fmt.Errorf("relaymesh: opening a channel to %s: %w", c.peer.Short(), err)
	}
	if t == frameAccept {
		return c.write(t)
	}
	return c.write(t, append([]byte{version}, c.peer[:]...)...)
}

// Accept takes a stream of kind [KindIntroduced] that an introducer opened to us. It returns the channel and the peer
// at its other end, which is the introducer's claim until a handshake proves it. It waits for the first bytes of the
// stream for 5 seconds at most. The caller closes the channel; after an error the stream is closed.
func Accept(stream Stream) (*Channel, kcptransport.PeerID, error) {
	c, err := accept(stream)
	if err != nil {
		stream.Close()
		return nil, kcptransport.PeerID{}, fmt.Errorf("relaymesh: being introduced: %w", err)
	}
	return c, c.peer, nil
}

func accept(stream Stream) (*Channel, error) {
	now := time.Now()
	if err := stream.SetDeadline(now.Add(acceptTimeout)); err != nil {
		return nil, err
	}
	c := &Channel{stream: stream}
	frame, err := readFrame(stream, c.in[:])
	if err != nil {
		return nil, err
	}
	if c.peer, err = parseGreeting(frame, frameOffer); err != nil {
		return nil, err
	}
	c.received = len(frame)
	return c, c.start(now, frameAccept)
}
