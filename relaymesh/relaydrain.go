package relaymesh

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"sync"

	"github.com/2xppg/xppg/kcptransport"
)

// transit is a circuit through a relay, once it has come about.
type transit struct {
	sides   [2]Neighbor
	ends    [2]kcptransport.PeerID // who asked first, and the target
	streams [2]Stream
	moved   [2]sync.Once
	end     chan RefuseCode // holds one, so that nobody waits
}

// tellToMove asks a side to move to other relays, once. So little is ever written to these streams that it does not block.
func (t *transit) tellToMove(side int) {
	t.moved[side].Do(func() {
		_, _ = t.streams[side].Write(appendFrame(nil, frameMove)) // a stream that fails ends the circuit
	})
}

// last returns why the circuit is over, once it is. Both ends are asked to move when it will soon reach a limit.
func (t *transit) last(ctx context.Context, target kcptransport.PeerID, conn *Connection, ended <-chan error) error {
	for ending := conn.Ending(); ; {
		select {
		case <-ending:
			ending = nil
			t.tellToMove(0)
			t.tellToMove(1)
		case err := <-ended:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case code := <-t.end:
			return refusal(AskedCircuit, target, code)
		case <-conn.Done():
			return refusal(AskedCircuit, target, RefusedLimit)
		case <-ctx.Done():
			return refusal(AskedCircuit, target, RefusedClosing)
		}
	}
}

func (t *transit) close(code RefuseCode) {
	select {
	case t.end <- code:
	default: // it ends already
	}
}

func (r *Relay) enter(t *transit) {
	r.mu.Lock()
	r.transits[t] = true
	draining := r.drained != nil
	r.mu.Unlock()
	switch {
	case draining: // it came about meanwhile
		t.tellToMove(0)
		t.tellToMove(1)
	case !r.admitsAll(t):
		t.close(RefusedDenied)
	}
}

func (r *Relay) leave(t *transit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.transits, t)
}

func (r *Relay) admits(n Neighbor) bool { return r.cfg.Admit == nil || r.cfg.Admit(n) }

// admitsAll reports whether the neighbours of a circuit and its ends are admitted.
func (r *Relay) admitsAll(t *transit) bool {
	for i, n := range t.sides {
		if !r.admits(n) || t.ends[i] != n.Peer() && !r.admits(farEnd(t.ends[i])) {
			return false
		}
	}
	return true
}

// farEnd is a peer that is behind another relay.
type farEnd kcptransport.PeerID

func (e farEnd) Peer() kcptransport.PeerID { return kcptransport.PeerID(e) }
func (farEnd) Addr() netip.AddrPort        { return netip.AddrPort{} }
func (farEnd) From(netip.AddrPort) bool    { return false }

func (r *Relay) current() []*transit {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*transit, 0, len(r.transits))
	for t := range r.transits {
		out = append(out, t)
	}
	return out
}

// Recheck asks [RelayConfig.Admit] again and ends the circuits and reservations of peers that are not admitted any more.
func (r *Relay) Recheck() {
	for _, t := range r.current() {
		if !r.admitsAll(t) {
			t.close(RefusedDenied)
		}
	}
	r.endReservations(RefusedDenied, func(held *reservation) bool { return !r.admits(held.by) })
}

// Drain takes no more circuits and reservations from now on, ends the reservations, and asks both ends of those that there are to move to other relays. It returns
// true when none is left; when ctx ends before that, the rest is ended, and it returns false.
func (r *Relay) Drain(ctx context.Context) bool {
	r.mu.Lock()
	if r.drained == nil {
		r.drained = make(chan struct{})
		if r.stats.Circuits == 0 {
			close(r.drained)
		}
	}
	drained := r.drained
	r.mu.Unlock()
	r.endReservations(RefusedClosing, func(*reservation) bool { return true })
	for _, t := range r.current() {
		t.tellToMove(0)
		t.tellToMove(1)
	}
	select {
	case <-drained:
		return true
	case <-ctx.Done():
	}
	left := r.current()
	for _, t := range left {
		t.close(RefusedClosing)
	}
	return len(left) == 0
}
