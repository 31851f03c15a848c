package scenario

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/netsim"
	"github.com/2xppg/xppg/punch"
)

// PunchConfig is a story: A calls B by way of R, and both punch.
type PunchConfig struct {
	WorldConfig
	Timeout time.Duration                    // of the punching. Default 10 s.
	Belief  [2]punch.NAT                     // what A and B believe of their NATs; zero: what they find out
	OnEvent func(side string, e punch.Event) // "a" and "b", one call at a time for each; may be nil
}

// Side is how it went for A or B.
type Side struct {
	Direct bool
	After  time.Duration // from both knowing of each other to the use of a direct path
	Record punch.Record
	Err    error
}

// Result is how a story went.
type Result struct {
	A, B    Side
	RTT     time.Duration // between A and B, as configured
	Knew    time.Duration // from the beginning to both knowing of each other: A has the answer of B to its handshake
	Packets uint64        // sent by everybody from then until both sides were done
	Stats   netsim.Stats  // of the whole network
	Digest  uint64        // of everything that happened in it until then
}

// Direct reports whether both sides use a direct path.
func (r Result) Direct() bool { return r.A.Direct && r.B.Direct }

// After returns the time from both knowing of each other until both use a direct path.
func (r Result) After() time.Duration { return max(r.A.After, r.B.After) }

// RTTs returns After in round trips between A and B.
func (r Result) RTTs() float64 { return float64(r.After()) / float64(r.RTT) }

// Punch plays the story and returns how it went. The error tells that it could not be played to its end; that there is
// no direct path is none.
func Punch(ctx context.Context, cfg PunchConfig) (Result, error) {
	c, err := newCast(cfg)
	if err != nil {
		return Result{}, err
	}
	r, err := c.play(ctx)
	if closeErr := c.close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return r, fmt.Errorf("scenario: %s calls %s, seed %d: %w", cfg.A, cfg.B, cfg.Seed, err)
	}
	return r, nil
}

// cast are the nodes of a world.
type cast struct {
	cfg        PunchConfig
	world      *World
	a, b, r, s *node
	nodes      []*node
}

func newCast(cfg PunchConfig) (*cast, error) {
	var err error
	c := &cast{cfg: cfg}
	if c.cfg.WorldConfig, err = cfg.withDefaults(); err != nil {
		return nil, err
	}
	if c.world, err = NewWorld(c.cfg.WorldConfig); err != nil {
		return nil, err
	}
	for i, n := range []struct {
		to     **node
		place  Place
		name   string
		belief punch.NAT
	}{
		{&c.a, c.world.A, "a", cfg.Belief[0]}, {&c.b, c.world.B, "b", cfg.Belief[1]},
		{to: &c.r, place: c.world.R, name: "r"}, {to: &c.s, place: c.world.S, name: "s"},
	} {
		*n.to, err = newNode(n.place, nodeConfig{
			seed: cfg.Seed<<8 | uint64(i)<<4, timeout: cfg.Timeout, events: c.events(n.name), belief: n.belief,
		})
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.nodes = append(c.nodes, *n.to)
	}
	return c, nil
}

func (c *cast) events(side string) func(punch.Event) {
	if c.cfg.OnEvent == nil {
		return nil
	}
	return func(e punch.Event) { c.cfg.OnEvent(side, e) }
}

// play is the story.
func (c *cast) play(ctx context.Context) (Result, error) {
	res := Result{RTT: c.cfg.RTT}
	began := time.Now()
	joined, called := make(chan *kcptransport.Link, 2), make(chan *kcptransport.Link, 1)
	c.r.serve(func(l *kcptransport.Link) { joined <- l })
	c.b.serve(func(l *kcptransport.Link) { called <- l })
	introducer, err := c.gather(ctx, joined)
	if err != nil {
		return res, err
	}

	link, err := c.a.call(ctx, introducer, c.b.ep.ID())
	if err != nil {
		return res, fmt.Errorf("calling B: %w", err)
	}
	knew := time.Now()
	res.Knew = knew.Sub(began)
	before := c.world.Net.Stats().Sent

	var both sync.WaitGroup
	both.Go(func() { res.A = c.a.punch(ctx, link, knew) })
	select {
	case l := <-called:
		res.B = c.b.punch(ctx, l, knew)
	case <-ctx.Done():
		err = fmt.Errorf("waiting for the call to reach B: %w", ctx.Err())
	}
	both.Wait()
	res.Stats = c.world.Net.Stats()
	res.Packets, res.Digest = res.Stats.Sent-before, c.world.Net.Digest()
	return res, err
}

// gather has A and B ask for their addresses and connect to the introducer, and waits until that one has both links.
// It returns A's.
func (c *cast) gather(ctx context.Context, joined <-chan *kcptransport.Link) (*kcptransport.Link, error) {
	w := c.world
	var link *kcptransport.Link
	for _, n := range []struct {
		*node
		at Place
	}{{c.b, w.B}, {c.a, w.A}} {
		n.discover(ctx, n.at.Addrs(), w.R.Addrs(), w.S.Addrs())
		var err error
		if link, err = n.join(ctx, c.r.ep.ID(), w.R.AddrPort()); err != nil {
			return nil, fmt.Errorf("connecting to the introducer: %w", err)
		}
		select {
		case <-joined:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the introducer to see us: %w", ctx.Err())
		}
	}
	return link, nil
}

func (c *cast) close() error {
	var err error
	for _, n := range c.nodes {
		if e := n.close(); err == nil {
			err = e
		}
	}
	if e := c.world.Net.Close(); err == nil {
		err = e
	}
	return err
}
