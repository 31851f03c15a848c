package relaymesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// ErrUnknownPeer is what IntroducerConfig.Open returns, wrapped or not, for a peer to which there is no link.
var ErrUnknownPeer = errors.New("relaymesh: there is no link to that peer")

// IntroducerConfig says what an [Introducer] gives. Zero means the default, a negative number no limit. One
// introduction costs about 4 KiB of memory while it lasts.
type IntroducerConfig struct {
	// Open opens a stream of kind KindIntroduced to a peer to which there is a link; required. It must not dial: who
	// asks for an introduction must not be able to make this node connect to others.
	Open func(ctx context.Context, target kcptransport.PeerID) (Stream, error)

	PerPeer   int // introductions at once that one peer asked for. Default 32.
	PerTarget int // introductions at once to one peer. Default 128.
	Total     int // introductions at once. Default 4,096.

	Rate  float64 // introductions a second that one peer may ask for in the long run. Default 2.
	Burst int     // introductions that one peer may ask for in a row. Default 64.

	Bytes    int           // passed on in each direction of one introduction. Default 16 KiB.
	Duration time.Duration // of one introduction. Default 30 s.
}

func (c IntroducerConfig) withDefaults() IntroducerConfig {
	c.PerPeer = limitOr(c.PerPeer, 32)
	c.PerTarget = limitOr(c.PerTarget, 128)
	c.Total = limitOr(c.Total, 4096)
	c.Burst = limitOr(c.Burst, 64)
	c.Bytes = limitOr(c.Bytes, channelBytes)
	switch {
	case c.Rate == 0:
		c.Rate = 2
	case c.Rate < 0:
		c.Rate = math.MaxFloat64 // rate.Inf
	}
	switch {
	case c.Duration == 0:
		c.Duration = channelDuration
	case c.Duration < 0:
		c.Duration = 365 * 24 * time.Hour
	}
	return c
}

func limitOr(n, or int) int {
	switch {
	case n == 0:
		return or
	case n < 0:
		return math.MaxInt
	}
	return n
}

// IntroducerStats are the counters of an [Introducer] since it was made.
type IntroducerStats struct {
	Active     int                   // introductions going on now
	Introduced uint64                // introductions that reached their target
	Refused    map[RefuseCode]uint64 // requests refused, and introductions ended by a limit
	Bytes      uint64                // passed on, both directions
}

// Introducer introduces peers that have a link to this node to each other. Its methods may be called from any
// goroutine. It has no goroutines of its own: they all live within calls of Serve.
type Introducer struct {
	cfg   IntroducerConfig
	bytes atomic.Uint64

	mu    sync.Mutex
	quota *quota
	stats IntroducerStats
}

// NewIntroducer returns an introducer that works as cfg says.
func NewIntroducer(cfg IntroducerConfig) *Introducer {
	cfg = cfg.withDefaults()
	return &Introducer{cfg: cfg, quota: newQuota(cfg), stats: IntroducerStats{Refused: map[RefuseCode]uint64{}}}
}

// Stats returns the counters.
func (i *Introducer) Stats() IntroducerStats {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := i.stats
	s.Active, s.Bytes = i.quota.active, i.bytes.Load()
	s.Refused = maps.Clone(i.stats.Refused)
	return s
}

// Serve serves a stream of kind [KindIntroduce] that peer from opened, until it is over or ctx ends, and closes it.
// The error tells why an introduction was not made or did not end by itself; a refusal is a [*RefusedError].
func (i *Introducer) Serve(ctx context.Context, from kcptransport.PeerID, stream Stream) error {
	defer stream.Close()
	if err := setDeadline(ctx, acceptTimeout, stream); err != nil {
		return fmt.Errorf("relaymesh: introducing %s: %w", from.Short(), err)
	}
	defer interruptOn(ctx, stream)()
	target, err := i.request(from, stream)
	if err == nil {
		err = i.introduce(ctx, from, target, stream)
	}
	if err == nil {
		return nil
	}
	var refused *RefusedError
	if errors.As(err, &refused) {
		i.mu.Lock()
		i.stats.Refused[refused.Code]++
		i.mu.Unlock()
		tell(stream, refused.Code)
	}
	return fmt.Errorf("relaymesh: introducing %s: %w", from.Short(), err)
}

// request reads and counts the request.
func (i *Introducer) request(from kcptransport.PeerID, stream Stream) (target kcptransport.PeerID, err error) {
	frame, err := readFrame(stream, make([]byte, maxFrameBytes))
	if err != nil {
		return target, fmt.Errorf("reading the request: %w", err)
	}
	i.mu.Lock()
	err = refusal(AskedIntroduction, target, i.quota.request(time.Now(), from))
	i.mu.Unlock()
	if err != nil {
		return target, err
	}
	target, err = parseGreeting(frame, frameRequest)
	if err == nil && target == from {
		err = errSelf
	}
	if err != nil {
		return target, fmt.Errorf("%w: %w", refusal(AskedIntroduction, target, RefusedRequest), err)
	}
	return target, nil
}

var errSelf = errors.New("it asks for itself")

// introduce opens a stream to the target and passes frames on until the end.
func (i *Introducer) introduce(ctx context.Context, from, target kcptransport.PeerID, asking Stream) error {
	i.mu.Lock()
	err := refusal(AskedIntroduction, target, i.quota.begin(time.Now(), from, target))
	i.mu.Unlock()
	if err != nil {
		return err
	}
	defer func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.quota.end(from, target)
	}()
	asked, err := i.offer(ctx, from, target)
	if err != nil {
		return err
	}
	defer asked.Close()
	if err := setDeadline(ctx, i.cfg.Duration, asking, asked); err != nil {
		return err
	}
	defer interruptOn(ctx, asked)()
	err = i.splice(ctx, asking, asked)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = refusal(AskedIntroduction, target, RefusedClosing)
	case errors.Is(err, ErrChannelFull), errors.Is(err, os.ErrDeadlineExceeded):
		tell(asked, RefusedLimit)
		err = refusal(AskedIntroduction, target, RefusedLimit)
	}
	return err
}

// offer opens a stream to the target and tells it who asks.
func (i *Introducer) offer(ctx context.Context, from, target kcptransport.PeerID) (Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, acceptTimeout)
	defer cancel()
	asked, err := i.cfg.Open(ctx, target)
	switch {
	case errors.Is(err, ErrUnknownPeer):
		return nil, refusal(AskedIntroduction, target, RefusedUnknown)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", refusal(AskedIntroduction, target, RefusedByTarget), err)
	}
	err = setDeadline(ctx, acceptTimeout, asked)
	if err == nil {
		_, err = asked.Write(appendGreeting(nil, frameOffer, from))
	}
	if err != nil {
		asked.Close()
		return nil, fmt.Errorf("%w: %w", refusal(AskedIntroduction, target, RefusedByTarget), err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stats.Introduced++
	return asked, nil
}

// refuseTimeout bounds the telling of a refusal to a peer that does not read.
const refuseTimeout = time.Second

// tell sends a refusal, as far as the stream still takes it. Who does not take it sees the end of the stream.
func tell(s Stream, code RefuseCode) {
	if s.SetDeadline(time.Now().Add(refuseTimeout)) == nil {
		_, _ = s.Write(appendFrame(nil, frameRefuse, byte(code)))
	}
}

// splice passes frames on in both directions until both have ended, or one failed; the error is that of the first.
func (i *Introducer) splice(ctx context.Context, asking, asked Stream) error {
	done := make(chan error, 2)
	go func() { done <- i.pass(asked, asking) }()
	go func() { done <- i.pass(asking, asked) }()
	err := <-done
	if err != nil {
		_ = setDeadline(ctx, -time.Second, asking, asked) // a closed stream needs no interruption
	}
	if second := <-done; err == nil {
		err = second
	}
	return err
}

// pass passes frames on in one direction. The end of the source is passed on as well and is no error.
func (i *Introducer) pass(to, from Stream) error {
	buf := make([]byte, maxFrameBytes)
	for total := 0; ; {
		frame, err := readFrame(from, buf)
		if errors.Is(err, io.EOF) {
			return to.CloseWrite()
		}
		if err != nil {
			return err
		}
		if total += len(frame); total > i.cfg.Bytes {
			return ErrChannelFull
		}
		if _, err := to.Write(frame); err != nil {
			return err
		}
		i.bytes.Add(uint64(len(frame)))
	}
}

// setDeadline sets the deadline of the streams to a time from now, unless ctx has ended: then they stay interrupted.
func setDeadline(ctx context.Context, d time.Duration, streams ...Stream) error {
	for _, s := range streams {
		if err := s.SetDeadline(time.Now().Add(d)); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			_ = s.SetDeadline(time.Unix(1, 0)) // the error that matters is ctx's
			return err
		}
	}
	return nil
}
