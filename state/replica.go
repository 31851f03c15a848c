package state

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// replica keeps one attached peer in step. What waits for a slow peer are the
// keys that changed, not their values.
type replica struct {
	s      *Service
	peer   kcptransport.PeerID
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{} // holds one token when there is something to do

	mu   sync.Mutex
	maps map[string]*replicated
}

// replicated is what is to be done about one map.
type replicated struct {
	sync    bool // exchange what differs
	away    bool // the peer has no such map
	dirty   map[string]bool
	pause   time.Duration  // after failures
	notYet  time.Time      // when to try again
	st      *patientStream // for changes; used by run only
	endLive func()
}

func newReplica(s *Service, peer kcptransport.PeerID) *replica {
	r := &replica{s: s, peer: peer, wake: make(chan struct{}, 1), maps: map[string]*replicated{}}
	r.ctx, r.cancel = context.WithCancel(s.ctx)
	return r
}

// get returns the state of a map. r.mu is held.
func (r *replica) get(name string) *replicated {
	p := r.maps[name]
	if p == nil {
		p = &replicated{dirty: map[string]bool{}}
		r.maps[name] = p
	}
	return p
}

func (r *replica) resync(name string) {
	r.mu.Lock()
	p := r.get(name)
	p.sync, p.away = true, false
	r.mu.Unlock()
	r.poke()
}

func (r *replica) changed(name string, keys []string) {
	r.mu.Lock()
	p := r.get(name)
	if p.away || p.sync {
		r.mu.Unlock()
		return // the exchange at its return, or to come, tells of them
	}
	for _, k := range keys {
		p.dirty[k] = true
	}
	r.mu.Unlock()
	r.poke()
}

func (r *replica) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run does what is due until the peer is detached.
func (r *replica) run() {
	defer r.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	again := time.NewTicker(compareEvery)
	defer again.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.wake:
		case <-timer.C:
		case <-again.C:
			r.compareAll()
		}
		var next time.Time
		for _, name := range r.names() {
			if at := r.step(name); !at.IsZero() && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

// compareAll has every map compared again, which repairs what went wrong unseen:
// a change that was written to a stream just before it broke, an entry that was
// refused because of a clock. Equal maps cost a few kilobytes.
func (r *replica) compareAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.maps {
		p.sync = true
	}
}

func (r *replica) names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return sortedKeys(r.maps)
}

// step does what is due for one map and returns when to come back, if at all.
func (r *replica) step(name string) time.Time {
	r.mu.Lock()
	p := r.get(name)
	now := time.Now()
	if now.Before(p.notYet) {
		at := p.notYet
		r.mu.Unlock()
		return at
	}
	doSync, keys := p.sync, sortedKeys(p.dirty)
	p.sync = false
	clear(p.dirty)
	r.mu.Unlock()

	var err error
	switch {
	case doSync:
		err = r.s.sync(r.ctx, r.peer, helloFrame{Map: name, Pull: true, Push: true})
	case len(keys) > 0:
		err = r.send(name, p, keys)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var refused *RefusedError
	switch {
	case err == nil:
		p.pause = 0
		if len(p.dirty) > 0 {
			return now
		}
		return time.Time{}
	case errors.As(err, &refused):
		p.away = true // until it opens the map and comes to us
		clear(p.dirty)
		return time.Time{}
	}
	if r.ctx.Err() == nil {
		r.s.report(r.peer, err)
	}
	p.sync = true
	p.pause = min(max(2*p.pause, retryFirst), retryMost)
	p.notYet = time.Now().Add(p.pause)
	return p.notYet
}

// send tells the peer of keys that changed, on a stream that stays open.
func (r *replica) send(name string, p *replicated, keys []string) error {
	m := r.s.mapNamed(name)
	if m == nil {
		return nil
	}
	if p.st == nil {
		st, _, done, err := r.s.open(r.ctx, r.peer, helloFrame{Map: name, Live: true})
		if err != nil {
			return err
		}
		p.st, p.endLive = st, done
	}
	err := writeEntries(p.st, m.entriesOf(keys), false)
	if err != nil {
		p.endLive()
		p.st = nil
	}
	return err
}

func (r *replica) close() {
	for _, p := range r.maps {
		if p.st != nil {
			p.endLive()
		}
	}
}

// present notes that the peer has a map, because it exchanged it with us: its
// changes are worth sending again.
func (s *Service) present(peer kcptransport.PeerID, name string) {
	s.mu.Lock()
	r := s.peers[peer]
	s.mu.Unlock()
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.get(name); p.away {
		p.away = false
	}
}
