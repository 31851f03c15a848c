package relaymesh

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

func wantRefused(t *testing.T, err error, want RefuseCode) {
	t.Helper()
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Code != want {
		t.Errorf("%v, want code %d", err, want)
	}
}

// A relay that drains, wherever it is in a row, has both ends told once; it is done when they have gone, and takes no more.
func TestDrainAsksBothEndsToMove(t *testing.T) {
	for drains := 1; drains <= 3; drains++ {
		synctest.Test(t, func(t *testing.T) {
			c := newChain(t, 3, nil)
			defer c.close()
			a, b := c.circuit()
			c.wg.Go(func() { _ = a.Wait() })
			c.wg.Go(func() { _ = b.Wait() })
			relay := c.relays[c.ids[drains]]
			ctx, cancel := context.WithTimeout(c.ctx, 10*time.Second)
			defer cancel()
			drained := make(chan struct{})
			go func() { defer close(drained); relay.Drain(ctx) }()
			<-a.Moving()
			<-b.Moving()
			_, err := OpenCircuit(c.ctx, c.opener(), c.target(), 12, c.ids[2:4]...)
			wantRefused(t, err, RefusedClosing)
			time.Sleep(2 * time.Second)
			select {
			case <-drained:
				t.Fatal("drained while there is a circuit")
			default:
			}
			c.carry(packetFor(a.Label, "still"), testNeighbor(c.ids[0]).Addr(), testNeighbor(c.ids[1]).Addr())
			if len(c.arrived[testNeighbor(c.target()).Addr()]) != 1 {
				t.Error("the circuit carries nothing any more")
			}
			a.Close()
			<-drained
			if ctx.Err() != nil {
				t.Error("the time was used up")
			}
			relay.Drain(ctx) // again: nothing to do
			b.Close()
		})
	}
}

// What has not moved in time is ended, and told why.
func TestDrainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, 1, nil)
		defer c.close()
		a, b := c.circuit()
		ctx, cancel := context.WithTimeout(c.ctx, 10*time.Second)
		defer cancel()
		start := time.Now()
		go c.relays[c.ids[1]].Drain(ctx)
		wantRefused(t, a.Wait(), RefusedClosing)
		wantRefused(t, b.Wait(), RefusedClosing)
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("ended after %v", d)
		}
	})
}

// Who is not admitted gets no circuit, at neither end; who is not any more loses those that there are.
func TestAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var denied atomic.Pointer[kcptransport.PeerID]
		c := newChain(t, 1, func(cfg *RelayConfig) {
			cfg.Admit = func(n Neighbor) bool { d := denied.Load(); return d == nil || n.Peer() != *d }
		})
		defer c.close()
		for _, id := range []kcptransport.PeerID{c.ids[0], c.target()} {
			denied.Store(&id)
			_, err := OpenCircuit(c.ctx, c.opener(), c.target(), 11)
			wantRefused(t, err, RefusedDenied)
		}
		denied.Store(nil)
		a, b := c.circuit()
		c.relays[c.ids[1]].Recheck()
		synctest.Wait()
		if c.relays[c.ids[1]].Stats().Circuits != 1 {
			t.Error("a circuit ended though nothing has changed")
		}
		denied.Store(&c.ids[0])
		c.relays[c.ids[1]].Recheck()
		wantRefused(t, a.Wait(), RefusedDenied)
		wantRefused(t, b.Wait(), RefusedDenied)
	})
}
