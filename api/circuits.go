package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/relaymesh"
)

const (
	circuitTimeout = 5 * time.Second  // of setting one up
	circuitUnused  = 30 * time.Second // after which one without a link to its peer is closed
	circuitProof   = 3 * time.Second  // in which a peer with a link to us has to be heard on one
	barrenPause    = time.Minute      // in which a relay is not asked again for a circuit to whom its last one did not lead
	refusedPause   = time.Second      // in which others are asked, after a relay had no room
	maxBarren      = 256
)

// Circuits to one peer that are kept on the word of relays alone. An endpoint has 8 to a peer: half of them stay for those we
// ask for.
const (
	maxOffered   = 2           // by one relay: on which the peer was heard, and those for which the same one asked that relay
	maxAlleged   = 4           // on which the peer was not heard yet
	allegedGrace = time.Second // that one has before it makes room for another
)

// heldCircuit is a circuit of ours, whoever asked for it.
type heldCircuit struct {
	wire    *relaymesh.Circuit
	path    *kcptransport.Circuit
	offered bool // by a relay
	since   time.Time
}

// alleged reports whether it is a relay's word only that the peer is at the other end. Anybody could offer circuits that lead
// nowhere, so that we look for no others.
func (c heldCircuit) alleged() bool { return c.offered && !c.path.Heard() }

// moving reports whether a relay of the circuit is about to end, or the circuit to reach a limit of one.
func (c heldCircuit) moving() bool {
	select {
	case <-c.wire.Moving():
		return true
	default:
		return false
	}
}

var (
	errSameRelay = errors.New("api: there is a circuit by way of that relay, or will be")
	errBarren    = errors.New("api: the last circuit by way of that relay did not lead there, or there was no room for it")
	errAlleged   = errors.New("api: there are enough circuits on which the peer was not heard")
)

// serveRelayed takes a circuit that a relay offers us, and keeps it while it is of use.
func (pg *Playground) serveRelayed(ctx context.Context, p *peer, s *kcptransport.Stream) error {
	o, err := relaymesh.ReadOffer(s)
	if err != nil {
		return err
	}
	if o.Via[0] != p.id {
		o.Refuse(relaymesh.RefusedRequest)
		return fmt.Errorf("api: %s offers a circuit by way of %s", p.id.Short(), o.Via[0].Short())
	}
	path, err := pg.ep.NewCircuit(o.Peer, p.link)
	if err != nil {
		o.Refuse(relaymesh.RefusedBusy)
		return err
	}
	c := heldCircuit{wire: &o.Circuit, path: path, offered: true, since: time.Now()}
	if !pg.keepOffered(c) {
		path.Close()
		o.Refuse(relaymesh.RefusedBusy)
		return errAlleged
	}
	path.Open(o.Label, 0, o.Via)
	_, err = o.Accept(path.Label()) // when that fails, the circuit has ended
	pg.hold(ctx, c)
	return err
}

// openCircuit sets up a circuit to target that begins at a connected relay and goes on through those of route. It is kept
// while there is a link to target.
func (pg *Playground) openCircuit(ctx context.Context, relay *peer, target kcptransport.PeerID, route []kcptransport.PeerID) (*kcptransport.Circuit, error) {
	if err := pg.claimRelay(target, relay.id); err != nil {
		return nil, err
	}
	defer pg.unclaimRelay(target, relay.id)
	path, err := pg.ep.NewCircuit(target, relay.link)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, circuitTimeout)
	defer cancel()
	wire, err := relaymesh.OpenCircuit(ctx, relay.opener(), target, path.Label(), route...)
	if err == nil && wire.Via[0] != relay.id {
		wire.Close()
		err = fmt.Errorf("api: relay %s says that it is %s", relay.id.Short(), wire.Via[0].Short())
	}
	if err != nil {
		path.Close()
		if len(route) == 0 { // otherwise it may be the word of somebody behind it, and the relay alone will do
			pg.noteRefused(target, relay.id, err)
		}
		return nil, err
	}
	path.Open(wire.Label, wire.RTT, wire.Via)
	c := heldCircuit{wire: wire, path: path, since: time.Now()}
	pg.mu.Lock()
	pg.keep(c)
	pg.mu.Unlock()
	pg.wg.Go(func() { pg.hold(relay.ctx, c) })
	return path, nil
}

// noteRefused has a relay that refused a circuit to a peer, for reasons that will not be over in a moment, not asked for that peer for a
// while, so that others are. For other peers it is asked: the refusal may be the word of somebody behind the relay, who is not to cost
// us the relay.
func (pg *Playground) noteRefused(target, relay kcptransport.PeerID, err error) {
	var refused *relaymesh.RefusedError
	if !errors.As(err, &refused) {
		return
	}
	switch refused.Code {
	case relaymesh.RefusedRate: // who goes on asking is banned
		pg.noteBarren(target, relay, barrenPause)
	case relaymesh.RefusedBusy, relaymesh.RefusedLimit, relaymesh.RefusedClosing, relaymesh.RefusedDenied, relaymesh.RefusedUnreserved:
		pg.noteBarren(target, relay, refusedPause)
	}
}

// claimRelay makes sure that no circuit to a peer begins at a relay, and that none is being set up until unclaimRelay. One that
// has to be left may be replaced by way of the same relay, which it was not the end of; two are no more, whatever a relay says.
func (pg *Playground) claimRelay(target, relay kcptransport.PeerID) error {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	key := [2]kcptransport.PeerID{target, relay}
	staying, moving := 0, 0
	for _, c := range pg.circuits[target] {
		switch {
		case c.wire.Via[0] != relay || c.alleged():
		case c.moving():
			moving++
		default:
			staying++
		}
	}
	switch {
	case pg.relaying[key], staying > 0, moving > 1:
		return errSameRelay
	case time.Now().Before(pg.barren[key]):
		return errBarren
	}
	pg.relaying[key] = true
	return nil
}

func (pg *Playground) unclaimRelay(target, relay kcptransport.PeerID) {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	delete(pg.relaying, [2]kcptransport.PeerID{target, relay})
}

// keep enters a circuit. The caller holds mu.
func (pg *Playground) keep(c heldCircuit) {
	pg.circuits[c.wire.Peer] = append(pg.circuits[c.wire.Peer], c)
}

// keepOffered enters a circuit that was offered, and reports whether there is room for it: the oldest on which the peer was not
// heard makes room.
func (pg *Playground) keepOffered(c heldCircuit) bool {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	same, alleged := 0, 0
	oldest := heldCircuit{since: c.since.Add(-allegedGrace)}
	for _, o := range pg.circuits[c.wire.Peer] {
		by := o.offered && o.wire.Via[0] == c.wire.Via[0]
		if by && (!o.alleged() || slices.Equal(vouched(o.wire.Via), vouched(c.wire.Via))) {
			same++
		}
		if !o.alleged() {
			continue
		}
		alleged++
		if o.since.Before(oldest.since) {
			oldest = o
		}
	}
	switch {
	case same >= maxOffered, alleged >= maxAlleged && oldest.wire == nil:
		return false
	case alleged >= maxAlleged:
		oldest.wire.Close() // hold sees that
	}
	pg.keep(c)
	return true
}

// vouched returns the relay that offered a circuit and who asked it: the rest of the way, and who asked first, is the word of that one,
// who is not to use up what others have by the same relay.
func vouched(via []kcptransport.PeerID) []kcptransport.PeerID { return via[:min(len(via), 2)] }

// hold keeps a circuit until it ends by itself, ctx ends, it turns out that it does not lead to the peer, or there has been no
// link to the peer for half a minute.
func (pg *Playground) hold(ctx context.Context, c heldCircuit) {
	peer := c.wire.Peer
	defer func() {
		c.path.Close()
		pg.mu.Lock()
		rest := slices.DeleteFunc(slices.Clone(pg.circuits[peer]), func(o heldCircuit) bool { return o == c })
		if pg.circuits[peer] = rest; len(rest) == 0 {
			delete(pg.circuits, peer)
		}
		pg.mu.Unlock()
		pg.wakePaths(peer)
	}()
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.wire.Wait() // why does not matter: another one is looked for
		cancel()
	}()
	moving := c.wire.Moving()
	proof := time.NewTicker(circuitProof)
	defer proof.Stop()
	var linked *kcptransport.Link // at the last look
	linkedAt := time.Now()
	for ctx.Err() == nil {
		var done <-chan struct{}
		var unused <-chan time.Time
		link := pg.ep.Link(peer)
		if link != nil {
			done, linkedAt = link.Done(), time.Now()
		} else {
			unused = time.After(time.Until(linkedAt.Add(circuitUnused)))
		}
		select {
		case <-ctx.Done():
		case <-done:
		case <-moving:
			moving = nil
			c.path.Leave()
			pg.wakePaths(peer)
		case <-proof.C:
			switch {
			case c.path.Heard():
				proof.Stop()
			case link != nil && link == linked:
				if !c.offered && heardSince(link, c.since) { // or it may be the link that does not work
					pg.noteBarren(peer, c.wire.Via[0], barrenPause)
				}
				cancel()
			}
			linked = link
		case <-unused:
			if pg.ep.Link(peer) == nil {
				cancel()
			}
		}
	}
	c.wire.Close()
	<-ended
}

// noteBarren has a relay not asked for circuits to a peer for some time.
func (pg *Playground) noteBarren(target, relay kcptransport.PeerID, d time.Duration) {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(pg.barren, func(_ [2]kcptransport.PeerID, until time.Time) bool { return !now.Before(until) })
	key := [2]kcptransport.PeerID{target, relay}
	if until := now.Add(d); len(pg.barren) < maxBarren && until.After(pg.barren[key]) {
		pg.barren[key] = until
	}
}

// barrenTo reports whether a relay is not to be asked for circuits to a peer now.
func (pg *Playground) barrenTo(target, relay kcptransport.PeerID) bool {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	return time.Now().Before(pg.barren[[2]kcptransport.PeerID{target, relay}])
}

// heardSince reports whether the peer was heard on any path.
func heardSince(link *kcptransport.Link, t time.Time) bool {
	return slices.ContainsFunc(link.Paths(), func(i kcptransport.PathInfo) bool { return i.LastHeard.After(t) })
}

// wakePaths has the paths to a peer looked at.
func (pg *Playground) wakePaths(id kcptransport.PeerID) {
	pg.mu.Lock()
	p := pg.peers[id]
	pg.mu.Unlock()
	if p != nil {
		wake(p.pathWake)
	}
}

// circuitsTo returns the circuits to a peer.
func (pg *Playground) circuitsTo(id kcptransport.PeerID) []heldCircuit {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	return slices.Clone(pg.circuits[id])
}

// trustedTo returns the circuits to a peer without those that are a relay's word only.
func (pg *Playground) trustedTo(id kcptransport.PeerID) []heldCircuit {
	return slices.DeleteFunc(pg.circuitsTo(id), heldCircuit.alleged)
}

// hopefulTo returns those of the trusted circuits to a peer on which it was heard, or may be heard yet.
func (pg *Playground) hopefulTo(id kcptransport.PeerID) []heldCircuit {
	return slices.DeleteFunc(pg.trustedTo(id), func(c heldCircuit) bool {
		return !c.path.Heard() && time.Since(c.since) >= circuitProof
	})
}
