package api

import (
	"context"
	"sync"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

const (
	troubleTimeout = 10 * time.Second // of one try to meet a peer again
	troubleLinger  = 3 * time.Second  // for what follows the handshake by way of introducers
	maxTroubles    = 8                // peers that are looked for at the same time
)

// meetAgain helps a link whose peer has fallen silent: perhaps both sides have
// moved, and neither knows where the other one is. Common peers carry a
// handshake, in which the two tell each other; the link tries what it is told.
func (pg *Playground) meetAgain(link *kcptransport.Link) {
	pg.mu.Lock()
	busy := pg.troubles[link] || len(pg.troubles) == maxTroubles
	if !busy {
		pg.troubles[link] = true
	}
	pg.mu.Unlock()
	if busy { // it is called again while the trouble lasts
		return
	}
	defer func() {
		pg.mu.Lock()
		delete(pg.troubles, link)
		pg.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(pg.ctx, troubleTimeout)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	sig := newSignals(ctx, pg, &wg, link.Peer())
	if !sig.askIntroducers(nil) {
		return
	}
	select {
	case <-sig.opened.Done():
	case <-link.Done():
		return
	}
	if _, err := pg.ep.Dial(ctx, kcptransport.Dial{Peer: link.Peer(), Signal: sig}); err != nil {
		return // the link asks again while it lasts
	}
	linger := time.NewTimer(troubleLinger)
	defer linger.Stop()
	select {
	case <-linger.C:
	case <-link.Done():
	case <-ctx.Done():
	}
}
