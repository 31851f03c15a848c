package api

import (
	"cmp"
	"context"
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

const maxWarm = 2 // circuits to a peer that are kept

// openRelay prepares relaying for others.
func (pg *Playground) openRelay() error {
	var err error
	pg.sw, err = relaymesh.NewSwitch(relaymesh.SwitchConfig{
		Write:     func(bufs [][]byte, addrs []netip.AddrPort) (int, error) { return pg.ep.WriteBatch(bufs, addrs) },
		Congested: func(to netip.AddrPort) bool { return pg.carrier.Congested(to) },
		Where:     pg.whereIs,
		Rand:      pg.cfg.Rand,
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
		Admit: pg.admits, Where: pg.whereIs,
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
	if link.Initiator() || link.SignalRTT() != 0 || !info.Path.Direct() || info.Path.Carried() {
		return
	}
	if info.Reason != kcptransport.ReasonHandshake && info.Reason != kcptransport.ReasonAnswered || punch.Private(info.Path.Addr.Addr()) {
		return
	}
	pg.setReachable(info.Path.Addr.Addr())
}

// routesTo returns ways to a peer through relays that are known, the best first, without those that circuits to it use already,
// or that were of no use lately.
func (pg *Playground) routesTo(id kcptransport.PeerID, most int) [][]kcptransport.PeerID {
	return pg.routesBeside(pg.trustedTo(id), id, most)
}

// routesBeside returns ways to a peer without the relays of some circuits.
func (pg *Playground) routesBeside(circuits []heldCircuit, id kcptransport.PeerID, most int) [][]kcptransport.PeerID {
	used := map[kcptransport.PeerID]bool{}
	for _, c := range circuits {
		for _, r := range c.wire.Via {
			used[r] = true
		}
	}
	relays := pg.knownRelays(func(info *peerInfo) bool { return !used[info.Peer] })
	for i := range relays { // others may come further by way of it
		relays[i].Near = relays[i].Near && !pg.barrenTo(id, relays[i].ID)
	}
	var reserved []relaymesh.RelayLink
	if info := pg.recordOf(id); info != nil {
		reserved = info.relays
	}
	return relaymesh.Routes(pg.ID(), id, relays, reserved, most)
}

// mayRelay reports whether a peer relays, as far as is known: who has told nothing of itself yet may.
func (pg *Playground) mayRelay(id kcptransport.PeerID) bool {
	info := pg.recordOf(id)
	return info == nil || info.relay
}

// knownToRelay reports whether a peer has told that it relays.
func (pg *Playground) knownToRelay(id kcptransport.PeerID) bool {
	info := pg.recordOf(id)
	return info != nil && info.relay
}

// relayTo sets up one more circuit to a peer, by the best of the ways that no circuit to it uses yet, or else of those that are to be left: a
// relay that lets each circuit last or carry so much takes another one.
func (pg *Playground) relayTo(ctx context.Context, id kcptransport.PeerID) (*kcptransport.Circuit, error) {
	err := errNoRelay
	circuits := pg.trustedTo(id)
	staying := slices.DeleteFunc(slices.Clone(circuits), heldCircuit.moving)
	routes := pg.routesBeside(circuits, id, maxWarm+1)
	if len(staying) < len(circuits) {
		routes = append(routes, pg.routesBeside(staying, id, maxWarm+1)...)
	}
	for _, route := range routes {
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
	Loss      float64       // share of what went through it that was lost, 0 to 1
	Load      float64       // how much of what it can do it does, as it says, in steps of a quarter from 0 to 1
	Age       time.Duration // of what it said of itself last
	Peers     int           // that it has links to, as it says
	Circuits  int           // of ours that go through it
	Reserved  bool          // it lets others reach us
}

// Relays returns the relays that are known, ordered by round trip and ID, those without a link last.
func (pg *Playground) Relays() []RelayInfo {
	now := time.Now()
	relays := pg.knownRelays(func(*peerInfo) bool { return true })
	out := make([]RelayInfo, 0, len(relays))
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
	for _, known := range relays {
		info := pg.book.infos[known.ID]
		if info == nil { // forgotten meanwhile
			continue
		}
		r := RelayInfo{
			ID: known.ID, Addrs: info.Addrs, RTT: known.RTT, Loss: known.Loss, Load: known.Load,
			Age: max(now.Sub(info.made), 0), Peers: len(info.neighbours), Circuits: used[known.ID],
		}
		if p := pg.peers[known.ID]; p != nil {
			r.Connected = p.isReady()
		}
		_, r.Reserved = pg.reserved[known.ID]
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

// relaysOf returns the relays to join first because a peer says that it can be reached by way of them, without those in known. There are
// none when we know a way to the peer.
func (pg *Playground) relaysOf(id kcptransport.PeerID, known []Contact) (relays []Contact) {
	info := pg.recordOf(id)
	if info == nil || info.relay || len(info.relays) == 0 || len(pg.routesTo(id, 1)) > 0 {
		return nil
	}
	pg.mu.Lock()
	defer pg.mu.Unlock()
	for _, l := range info.relays {
		relay := pg.book.infos[l.Relay]
		if relay == nil || relay.left || !relay.relay || len(relay.Addrs) == 0 || pg.peers[l.Relay] != nil || l.Relay == pg.ID() ||
			slices.ContainsFunc(known, func(c Contact) bool { return c.Peer == l.Relay }) {
			continue
		}
		relays = append(relays, relay.told())
	}
	return relays[:min(len(relays), maxIntroducers)]
}
