package api

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/punch"
)

const (
	troubleTimeout = 10 * time.Second // of one try to meet a peer again
	troubleLinger  = 3 * time.Second  // for what follows the handshake by way of introducers
	maxTroubles    = 8                // peers that are looked for at the same time

	// Linux forgets a mapping 30 s after the last packet that was not answered.
	mendTimeout = 4 * time.Second
	quietTime   = 33 * time.Second
	quietYield  = time.Second     // the peer with the larger ID lets the other one call: one is to open its NAT before the other sends
	quietSlack  = 2 * time.Second // for meeting before the link begins anew without it
	maxMends    = 4               // failures in a row to mend a link, after which it ends
)

// trouble does what can be done for a link whose peer has fallen silent.
func (pg *Playground) trouble(link *kcptransport.Link) {
	if p := pg.peerOf(link); p != nil {
		p.troubled.Store(true)
		wake(p.pathWake)
	}
	pg.fallBack(link)
	pg.meetAgain(link)
}

// meetAgain helps a link whose peer has fallen silent: perhaps both sides have
// moved, and neither knows where the other one is. Common peers carry a
// handshake, in which the two tell each other; then both punch: see mend.
// It goes on for as long as it is called again.
func (pg *Playground) meetAgain(link *kcptransport.Link) {
	if !pg.beginTrouble(link) {
		return
	}
	for {
		met := pg.meetOnce(link)
		if pg.endTrouble(link, met) {
			return
		}
	}
}

// beginTrouble reports whether to look for the peer of a link. When somebody does so, that one learns that it is still silent.
func (pg *Playground) beginTrouble(link *kcptransport.Link) bool {
	if p := pg.peerOf(link); p == nil || p.mending.Load() {
		return false
	}
	pg.mu.Lock()
	defer pg.mu.Unlock()
	if _, busy := pg.troubles[link]; busy {
		pg.troubles[link] = true
		return false
	}
	if len(pg.troubles) == maxTroubles { // the link asks again while it lasts
		return false
	}
	pg.troubles[link] = false
	return true
}

// endTrouble ends looking for the peer of a link, and reports false when that is to go on.
func (pg *Playground) endTrouble(link *kcptransport.Link, met bool) bool {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	p := pg.peers[link.Peer()]
	if pg.troubles[link] && !met && p != nil && p.link == link && pg.ctx.Err() == nil {
		pg.troubles[link] = false
		return false
	}
	delete(pg.troubles, link)
	return true
}

// meetOnce reports whether the peer was met.
func (pg *Playground) meetOnce(link *kcptransport.Link) bool {
	ctx, cancel := context.WithTimeout(pg.ctx, troubleTimeout)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	sig := newSignals(ctx, pg, &wg, link.Peer())
	if !sig.askIntroducers(nil) {
		return false
	}
	select {
	case <-sig.opened.Done():
	case <-link.Done():
		return false
	}
	got, err := pg.ep.Dial(ctx, kcptransport.Dial{Peer: link.Peer(), Signal: sig})
	if err != nil {
		return false
	}
	if pg.useInstead(link, got) {
		return true
	}
	linger := time.NewTimer(troubleLinger)
	defer linger.Stop()
	select {
	case <-linger.C:
	case <-link.Done():
	case <-ctx.Done():
	}
	return true
}

// useInstead makes a peer of the link that a Dial returned which was to help another one, when that was given up meanwhile. Nobody
// else does: to who dials, a link is not offered. It reports whether it was so.
func (pg *Playground) useInstead(old, got *kcptransport.Link) bool {
	if got == old {
		return false
	}
	if pg.ep.Link(got.Peer()) == got {
		_, _ = pg.adopt(got) // fails only when we are closing
	}
	return true
}

// met has a link whose path has failed punch, at the time when its peer does.
func (pg *Playground) met(link *kcptransport.Link) {
	if p := pg.peerOf(link); p != nil {
		p.mend()
	}
}

// peerOf returns the peer whose link this is, nil when it is no longer or not yet.
func (pg *Playground) peerOf(link *kcptransport.Link) *peer {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	if p := pg.peers[link.Peer()]; p != nil && p.link == link {
		return p
	}
	return nil
}

// mend punches for a link that had a path. When that fails, a mapping may be in
// the way that some router keeps for as long as packets come; so both sides are
// silent until it is forgotten, and meet again.
func (p *peer) mend() {
	if !p.mending.CompareAndSwap(false, true) {
		return
	}
	mends, start := p.mends.Add(1), time.Now()
	p.link.Quiet(mendTimeout) // the puncher knows better what to send when
	err := p.pg.punch(p.ctx, p.link, mendTimeout)
	p.mending.Store(false)
	failed := p.mendsFailed.Add(1)
	if why := (*punch.NoAnswerError)(nil); !errors.As(err, &why) {
		p.mendsFailed.Store(0)
		return
	}
	if since := p.since.Load(); p.relayed() || (since != nil && since.After(start)) { // there is time, or was and will be: see keepPaths
		p.mendsFailed.Store(0)
		return
	}
	p.pg.note(p.id, err)
	if failed == maxMends {
		p.link.CloseWithError(codeNoPath, "hole punching found no path")
		return
	}
	p.link.Quiet(quietTime + quietSlack)
	wait := quietTime
	if p.pg.ID().Compare(p.id) > 0 {
		wait += quietYield
	}
	pause := time.NewTimer(wait)
	defer pause.Stop()
	select {
	case <-pause.C:
		if p.mends.Load() == mends { // nothing was tried meanwhile
			p.pg.meetAgain(p.link)
		}
	case <-p.ctx.Done():
	}
}
