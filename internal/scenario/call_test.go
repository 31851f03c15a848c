package scenario

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/relaymesh"
)

// stage is a cast whose A and B have joined R.
type stage struct {
	*cast
	t        *testing.T
	linkA    *kcptransport.Link // of A to R
	linkB    *kcptransport.Link
	accepted chan *kcptransport.Link // by B
}

func newStage(t *testing.T, cfg PunchConfig) *stage {
	t.Helper()
	c, err := newCast(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{cast: c, t: t, accepted: make(chan *kcptransport.Link, 10)}
	joined := make(chan *kcptransport.Link, 2)
	c.r.serve(func(l *kcptransport.Link) { joined <- l })
	c.b.serve(func(l *kcptransport.Link) { s.accepted <- l })
	c.a.serve(func(*kcptransport.Link) {})
	if s.linkA, err = c.gather(t.Context(), joined); err != nil {
		t.Fatal(err)
	}
	s.linkB = c.b.ep.Link(c.r.ep.ID())
	return s
}

func (s *stage) close() {
	s.t.Helper()
	if err := s.cast.close(); err != nil {
		s.t.Error(err)
	}
}

// Who is not there is said to be not there, at once.
func TestCallOfSomebodyUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, PunchConfig{})
		defer s.close()
		start := time.Now()
		_, err := s.a.call(t.Context(), s.linkA, s.s.ep.ID())
		var refused *relaymesh.RefusedError
		if !errors.As(err, &refused) || refused.Code != relaymesh.RefusedUnknown {
			t.Errorf("error %v", err)
		}
		if d := time.Since(start); d > s.cfg.RTT {
			t.Errorf("took %v, want a round trip to the introducer", d)
		}
	})
}

// Both may call at the same moment: there is one link, and it becomes direct.
func TestCallsThatCross(t *testing.T) {
	for _, kinds := range [][2]string{{"port-restricted", "port-restricted"}, {"symmetric", "address-restricted"}} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, PunchConfig{WorldConfig: WorldConfig{A: kinds[0], B: kinds[1], Seed: 3}})
			defer s.close()
			start := time.Now()
			var both sync.WaitGroup
			call := func(n *node, r *kcptransport.Link, target kcptransport.PeerID) {
				link, err := n.call(t.Context(), r, target)
				if err != nil {
					t.Error(err)
					return
				}
				if side := n.punch(t.Context(), link, start); !side.Direct || side.After > 4*s.cfg.RTT {
					t.Errorf("direct is %v after %v: %s", side.Direct, side.After, side.Record)
				}
				if n.ep.Link(target) != link {
					t.Error("there is another link")
				}
			}
			both.Go(func() { call(s.a, s.linkA, s.b.ep.ID()) })
			both.Go(func() { call(s.b, s.linkB, s.a.ep.ID()) })
			both.Wait()
		})
	}
}

// An introducer that goes away in the middle of an introduction takes nobody with it.
func TestIntroducerVanishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, PunchConfig{})
		defer s.close()
		s.world.Net.Partition(s.world.A.Host, s.world.R.Host)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := s.a.call(ctx, s.linkA, s.b.ep.ID()); err == nil || ctx.Err() != nil {
			t.Errorf("error %v", err)
		}
	})
}
