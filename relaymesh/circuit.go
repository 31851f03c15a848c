package relaymesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// The kinds of streams on which circuits are set up, and which live as long as they do.
const (
	KindCircuit = "xppg/circuit" // opened to a relay, by who wants the circuit or the relay before
	KindRelayed = "xppg/relayed" // opened by the last relay to the target
)

const setupTimeout = 10 * time.Second // of a circuit, all hops together

// Circuit is one end of a circuit through relays. It lasts until one of its hops ends. Its methods may be called from any
// goroutine.
type Circuit struct {
	Peer   kcptransport.PeerID   // at the other end; on the side that was asked, the relays' claim until a handshake proves it
	Label  uint32                // what the relay next to us wants on our packets
	Via    []kcptransport.PeerID // the relays, ours first
	Limits Limits                // the narrowest of the relays
	RTT    time.Duration         // to the peer and back, measured while it was set up; 0 on the side that was asked

	stream Stream
	once   sync.Once
	moving chan struct{}
	moves  sync.Once
}

// Moving is closed when a relay on the way is about to end, or lets the circuit last or carry little more: while Wait goes on the circuit works for some seconds more,
// in which another one can be set up.
func (c *Circuit) Moving() <-chan struct{} { return c.moving }

// Close ends the circuit for everybody on the way.
func (c *Circuit) Close() { c.once.Do(func() { c.stream.Close() }) }

// Wait returns when the circuit has ended, and closes it: with a [*RefusedError] when a relay told why, with nil when somebody
// closed it.
func (c *Circuit) Wait() error {
	defer c.Close()
	err := waitEnd(c.stream, c.Peer, func() { c.moves.Do(func() { close(c.moving) }) })
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// waitEnd reads a stream to its end, calls move when a relay asks for that, and skips what a later version may say on it.
func waitEnd(s Stream, target kcptransport.PeerID, move func()) error {
	var buf [maxFrameBytes]byte
	for total := 0; total < channelBytes; {
		frame, err := readFrame(s, buf[:])
		if err != nil {
			return err
		}
		total += len(frame)
		switch t, body := splitFrame(frame); {
		case t == frameRefuse && len(body) > 0:
			return &RefusedError{Asked: AskedCircuit, Target: target, Code: RefuseCode(body[0])}
		case t == frameMove:
			move()
		}
	}
	return ErrChannelFull
}

// OpenCircuit asks the relay behind opener for a circuit to target, through the relays of route after it, at most three.
// label is what that relay is to put on packets for us: see [kcptransport.Endpoint.NewCircuit]. It waits for the answer until ctx ends,
// 10 seconds at most. A relay that refuses is told by a [*RefusedError].
func OpenCircuit(ctx context.Context, relay Opener, target kcptransport.PeerID, label uint32, route ...kcptransport.PeerID) (*Circuit, error) {
	c, err := openCircuit(ctx, relay, target, label, route)
	if err != nil {
		return nil, AskedCircuit.failed(target, err)
	}
	return c, nil
}

func openCircuit(ctx context.Context, relay Opener, target kcptransport.PeerID, label uint32, route []kcptransport.PeerID) (*Circuit, error) {
	if len(route) >= MaxHops {
		return nil, fmt.Errorf("a route of %d relays, at most %d are possible", 1+len(route), MaxHops)
	}
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	var start time.Time
	var g granted
	s, err := askOn(ctx, relay, KindCircuit, func(s Stream) error {
		start = time.Now()
		_, err := s.Write(ask{target: target, label: label, route: route}.frame())
		if err == nil {
			g, err = readGranted(s, target)
		}
		if err == nil && (len(g.relays) != 1+len(route) || !slices.Equal(g.relays[1:], route)) {
			err = errOtherRoute
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := s.SetDeadline(time.Time{}); err != nil {
		s.Close()
		return nil, err
	}
	return &Circuit{Peer: target, Label: g.label, Via: g.relays, Limits: g.limits, RTT: time.Since(start), stream: s, moving: make(chan struct{})}, nil
}

// errOtherRoute is the error when a relay claims to have gone by others than it was asked to: its word would keep those from
// being chosen for a second circuit.
var errOtherRoute = errors.New("the circuit goes by other relays than was asked for")

// askOn opens a stream of a kind to a relay and lets ask write and read there until ctx ends. After an error the stream is closed.
func askOn(ctx context.Context, relay Opener, kind string, ask func(Stream) error) (Stream, error) {
	s, err := relay.OpenStream(ctx, kind)
	if err != nil {
		return nil, err
	}
	stop := interruptOn(ctx, s)
	err = ask(s)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// readGranted reads the answer to an ask or an offer.
func readGranted(s Stream, target kcptransport.PeerID) (granted, error) {
	body, err := readAnswer(s, AskedCircuit, target, frameGranted)
	if err != nil {
		return granted{}, err
	}
	return parseGranted(body)
}

// readAnswer reads a frame and returns the body of one of the type that is wanted. A refusal is a [*RefusedError].
func readAnswer(s Stream, what Asked, target kcptransport.PeerID, want frameType) (body []byte, err error) {
	frame, err := readFrame(s, make([]byte, maxFrameBytes))
	if err != nil {
		return nil, err
	}
	switch t, body := splitFrame(frame); {
	case t == want:
		return body, nil
	case t == frameRefuse && len(body) > 0:
		return nil, &RefusedError{Asked: what, Target: target, Code: RefuseCode(body[0])}
	}
	return nil, errors.New("the answer is none")
}

// Offer is a circuit that a relay offers: somebody wants to reach us.
type Offer struct {
	Circuit // without effect until Accept
}

// ReadOffer reads what a stream of kind [KindRelayed] offers. After an error the stream is closed. The caller calls Accept or
// Refuse.
func ReadOffer(s Stream) (*Offer, error) {
	o, err := func() (offer, error) {
		if err := s.SetDeadline(time.Now().Add(acceptTimeout)); err != nil {
			return offer{}, err
		}
		frame, err := readFrame(s, make([]byte, maxFrameBytes))
		if err != nil {
			return offer{}, err
		}
		return parseOffer(frame)
	}()
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("relaymesh: being offered a circuit: %w", err)
	}
	slices.Reverse(o.relays)
	return &Offer{Circuit{Peer: o.origin, Label: o.label, Via: o.relays, Limits: o.limits, stream: s, moving: make(chan struct{})}}, nil
}

// Accept takes the offer. label is what the relay is to put on packets for us.
func (o *Offer) Accept(label uint32) (*Circuit, error) {
	_, err := o.stream.Write(granted{label: label}.frame())
	if err == nil {
		err = o.stream.SetDeadline(time.Time{})
	}
	if err != nil {
		o.Close()
		return nil, fmt.Errorf("relaymesh: taking a circuit of %s: %w", o.Peer.Short(), err)
	}
	return &o.Circuit, nil
}

// Refuse declines the offer.
func (o *Offer) Refuse(code RefuseCode) {
	tell(o.stream, code)
	o.Close()
}
