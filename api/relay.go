package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/punch"
	"github.com/2xppg/xppg/relaymesh"
)

// RelayMode says whether a node relays for others.
type RelayMode int

// The modes.
const (
	RelayAuto RelayMode = iota // once others have reached it from outside without its doing
	RelayOn                    // always
	RelayOff                   // never
)

// String returns the mode as the command line has it.
func (m RelayMode) String() string {
	switch m {
	case RelayOn:
		return "on"
	case RelayOff:
		return "off"
	}
	return "auto"
}

// ParseRelayMode returns the mode called "auto", "on" or "off".
func ParseRelayMode(s string) (RelayMode, error) {
	for _, m := range []RelayMode{RelayAuto, RelayOn, RelayOff} {
		if s == m.String() {
			return m, nil
		}
	}
	return RelayAuto, fmt.Errorf("api: relay mode %q is none of auto, on, off", s)
}

const (
	circuitTimeout = 5 * time.Second  // of setting one up
	circuitUnused  = 30 * time.Second // after which one without a link to its peer is closed
	maxWarm        = 2                // circuits to a peer that are kept
)

// heldCircuit is a circuit of ours, whoever asked for it.
type heldCircuit struct {
	wire *relaymesh.Circuit
	path *kcptransport.Circuit
}

// openRelay prepares relaying for others.
func (pg *Playground) openRelay() error {
	var err error
	pg.sw, err = relaymesh.NewSwitch(relaymesh.SwitchConfig{
		Write: func(bufs [][]byte, addrs []netip.AddrPort) (int, error) { return pg.ep.WriteBatch(bufs, addrs) },
		Rand:  pg.cfg.Rand,
	})
	if err != nil {
		return fmt.Errorf("api: start: %w", err)
	}
	pg.relay = relaymesh.NewRelay(relaymesh.RelayConfig{
		ID: pg.ID(), Switch: pg.sw, Open: pg.openTo,
		Neighbor: func(id kcptransport.PeerID) (relaymesh.Neighbor, bool) {
			p, err := pg.peer(id)
			if err != nil || !p.link.Hop().Addr().IsValid() {
				return nil, false
			}
			return p.link.Hop(), true
		},
		Admit: pg.admits,
	})
	return nil
}

// openTo opens a stream to a connected peer for an introducer or a relay.
func (pg *Playground) openTo(ctx context.Context, target kcptransport.PeerID, kind string) (relaymesh.Stream, error) {
	p, err := pg.peer(target)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", relaymesh.ErrUnknownPeer, err)
	}
	return p.open(ctx, kind)
}

// Relaying reports whether this node relays for others now.
func (pg *Playground) Relaying() bool {
	if pg.draining.Load() {
		return false
	}
	switch pg.cfg.Relay {
	case RelayOn:
		return true
	case RelayOff:
		return false
	}
	return pg.reachable.Load()
}

// noteReached takes note of a link that a peer opened: one that came from a public address by itself, before we had sent
// anything there, shows that others can reach us.
func (pg *Playground) noteReached(link *kcptransport.Link, info kcptransport.PathInfo) {
	if pg.cfg.Relay != RelayAuto || link.Initiator() || link.SignalRTT() != 0 || !info.Path.Direct() || info.Path.Carried() {
		return
	}
	if info.Reason != kcptransport.ReasonHandshake && info.Reason != kcptransport.ReasonAnswered || punch.Private(info.Path.Addr.Addr()) {
		return
	}
	if !pg.reachable.Swap(true) {
		pg.wakeMesh()
	}
}

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
	path.Open(o.Label, 0, o.Via)
	wire, err := o.Accept(path.Label())
	if err != nil {
		path.Close()
		return err
	}
	c := heldCircuit{wire, path}
	pg.keep(c)
	pg.hold(ctx, c)
	return nil
}

// openCircuit sets up a circuit to target that begins at a connected relay and goes on through those of route. It is kept
// while there is a link to target.
func (pg *Playground) openCircuit(ctx context.Context, relay *peer, target kcptransport.PeerID, route []kcptransport.PeerID) (*kcptransport.Circuit, error) {
	if !pg.reserveRelay(target, relay.id) {
		return nil, errSameRelay
	}
	defer pg.unreserveRelay(target, relay.id)
	path, err := pg.ep.NewCircuit(target, relay.link)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, circuitTimeout)
	defer cancel()
	wire, err := relaymesh.OpenCircuit(ctx, relay.opener(), target, path.Label(), route...)
	if err != nil {
		path.Close()
		return nil, err
	}
	path.Open(wire.Label, wire.RTT, wire.Via)
	c := heldCircuit{wire, path}
	pg.keep(c)
	pg.wg.Go(func() { pg.hold(relay.ctx, c) })
	return path, nil
}

var errSameRelay = errors.New("api: there is a circuit by way of that relay, or will be")

// reserveRelay reports whether no circuit to a peer begins at a relay, and none is being set up, and keeps it so until
// unreserveRelay.
func (pg *Playground) reserveRelay(target, relay kcptransport.PeerID) bool {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	for _, c := range pg.circuits[target] {
		if c.wire.Via[0] == relay {
			return false
		}
	}
	key := [2]kcptransport.PeerID{target, relay}
	if pg.relaying[key] {
		return false
	}
	pg.relaying[key] = true
	return true
}

func (pg *Playground) unreserveRelay(target, relay kcptransport.PeerID) {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	delete(pg.relaying, [2]kcptransport.PeerID{target, relay})
}

// keep enters a circuit.
func (pg *Playground) keep(c heldCircuit) {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	pg.circuits[c.wire.Peer] = append(pg.circuits[c.wire.Peer], c)
}

// hold keeps a circuit until it ends by itself, ctx ends, or there has been no link to its peer for half a minute.
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
	for ctx.Err() == nil {
		var done <-chan struct{}
		var unused <-chan time.Time
		if link := pg.ep.Link(peer); link != nil {
			done = link.Done()
		} else {
			unused = time.After(circuitUnused)
		}
		select {
		case <-ctx.Done():
		case <-done:
		case <-moving:
			moving = nil
			pg.wakePaths(peer)
		case <-unused:
			if pg.ep.Link(peer) == nil {
				cancel()
			}
		}
	}
	c.wire.Close()
	<-ended
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

// moving reports whether a relay of the circuit is about to end.
func (c heldCircuit) moving() bool {
	select {
	case <-c.wire.Moving():
		return true
	default:
		return false
	}
}

// circuitsTo returns the circuits to a peer.
func (pg *Playground) circuitsTo(id kcptransport.PeerID) []heldCircuit {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	return slices.Clone(pg.circuits[id])
}

// routesTo returns ways to a peer through relays that are known, the best first, without those that circuits to it use already.
func (pg *Playground) routesTo(id kcptransport.PeerID, most int) [][]kcptransport.PeerID {
	used := map[kcptransport.PeerID]bool{}
	for _, c := range pg.circuitsTo(id) {
		for _, r := range c.wire.Via {
			used[r] = true
		}
	}
	var relays []relaymesh.RelayInfo
	pg.mu.Lock()
	defer pg.mu.Unlock()
	for _, info := range pg.book.infos {
		if !info.relay || info.left || used[info.Peer] {
			continue
		}
		r := relaymesh.RelayInfo{ID: info.Peer, Neighbours: info.neighbours}
		if p := pg.peers[info.Peer]; p != nil && p.isReady() && p.link.Hop().Addr().IsValid() {
			r.Near = true
			if path, ok := p.link.Path(); ok {
				r.RTT = path.RTT
			}
		}
		relays = append(relays, r)
	}
	return relaymesh.Routes(pg.ID(), id, relays, most)
}

// relayTo sets up one more circuit to a peer, by the best of the ways that no circuit to it uses yet.
func (pg *Playground) relayTo(ctx context.Context, id kcptransport.PeerID) (*kcptransport.Circuit, error) {
	err := errors.New("no relay is known that has a link to it")
	for _, route := range pg.routesTo(id, maxWarm+1) {
		relay, peerErr := pg.peer(route[0])
		if peerErr != nil {
			continue
		}
		var c *kcptransport.Circuit
		if c, err = pg.openCircuit(ctx, relay, id, route[1:]); err == nil {
			return c, nil
		}
	}
	return nil, fmt.Errorf("api: circuit to %s: %w", id.Short(), err)
}

// RelayInfo describes a relay that this node has heard of.
type RelayInfo struct {
	ID        kcptransport.PeerID
	Addrs     []netip.AddrPort
	Connected bool
	RTT       time.Duration // of the link to it, 0 when there is none
	Age       time.Duration // of what it said of itself last
	Peers     int           // that it has links to, as it says: how busy it is
	Circuits  int           // of ours that go through it
}

// Relays returns the relays that are known, ordered by round trip and ID, those without a link last.
func (pg *Playground) Relays() []RelayInfo {
	now := time.Now()
	pg.mu.Lock()
	defer pg.mu.Unlock()
	used := map[kcptransport.PeerID]int{}
	for _, list := range pg.circuits {
		for _, c := range list {
			for _, id := range c.wire.Via {
				used[id]++
			}
		}
	}
	var out []RelayInfo
	for id, info := range pg.book.infos {
		if !info.relay || info.left || id == pg.ID() {
			continue
		}
		r := RelayInfo{ID: id, Addrs: info.Addrs, Age: max(now.Sub(info.made), 0), Peers: len(info.neighbours), Circuits: used[id]}
		if p := pg.peers[id]; p != nil && p.isReady() {
			r.Connected = true
			if path, ok := p.link.Path(); ok {
				r.RTT = path.RTT
			}
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b RelayInfo) int {
		rtt := func(r RelayInfo) time.Duration {
			if !r.Connected {
				return time.Hour
			}
			return r.RTT
		}
		return cmp.Or(cmp.Compare(rtt(a), rtt(b)), a.ID.Compare(b.ID))
	})
	return out
}
