package api

import (
	"context"
	"net/netip"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/relaymesh"
	"github.com/2xppg/xppg/relaymesh/carrier"
)

// RelayRules say whom a node that relays serves, and how much it carries. Peers are told the limits.
type RelayRules struct {
	BytesPerSecond        uint64 // carried in all, without IP and UDP headers; 0 means no limit
	BytesPerSecondPerPeer uint64 // carried for one peer, both ways together; 0 means no limit
	Circuits              int    // at once; 0 means 4,096, negative no limit

	// Limits of each circuit, both ways together; 0 means no limit. Before one ends because of them, its peers set up another.
	BytesPerSecondPerCircuit uint64
	BytesPerCircuit          uint64        // MinBytesPerCircuit at least: less counts as that
	TimePerCircuit           time.Duration // MinTimePerCircuit at least: less counts as that; whole seconds are told

	// Admit says whether a peer may use us as a relay, at either end of a circuit; addr is where it is (who came by way of a reverse
	// proxy is there), and invalid for an end of a circuit that is behind another relay, and for a peer to which we made a TCP connection. Nil admits everybody. It may be called by several goroutines and must not
	// wait for anything.
	Admit func(peer kcptransport.PeerID, addr netip.Addr) bool
}

// What a circuit has at least, if [RelayRules] limit it, so that peers can set up another one before it is over: the last quarter of
// fewer bytes passes at once.
const (
	MinBytesPerCircuit = 64 << 10
	MinTimePerCircuit  = 10 * time.Second
)

// SetRelayRules puts rules into force. Circuits of peers that are not admitted any more end; others go on, at the new limits of all and of a peer,
// and at those for each circuit that they began with.
func (pg *Playground) SetRelayRules(r RelayRules) {
	pg.rules.Store(&r)
	pg.sw.SetLimits(r.BytesPerSecond, r.BytesPerSecondPerPeer, r.Circuits)
	limits := relaymesh.Limits{BytesPerSecond: r.BytesPerSecondPerCircuit}
	if r.BytesPerCircuit > 0 {
		limits.Bytes = max(r.BytesPerCircuit, MinBytesPerCircuit)
	}
	if r.TimePerCircuit > 0 {
		limits.Duration = max(r.TimePerCircuit, MinTimePerCircuit)
	}
	pg.relay.SetLimits(limits)
	pg.relay.Recheck()
}

func (pg *Playground) admits(n relaymesh.Neighbor) bool {
	r := pg.rules.Load()
	return r == nil || r.Admit == nil || r.Admit(n.Peer(), pg.whereIs(n))
}

// whereIs returns the IP address of a neighbour, also of one that came by TCP or WebSocket, where packets go to an address that only we have.
func (pg *Playground) whereIs(n relaymesh.Neighbor) netip.Addr {
	addr := n.Addr()
	if carrier.Is(addr) {
		return pg.carrier.Source(addr)
	}
	return addr.Addr()
}

// DrainRelay stops relaying for good: no more circuits are set up, our record says so, and those who have some are asked to
// move to other relays. It returns true when nobody has one; when ctx ends before that, those that are left are ended, and it
// returns false.
func (pg *Playground) DrainRelay(ctx context.Context) bool {
	pg.draining.Store(true)
	pg.wakeMesh()
	return pg.relay.Drain(ctx)
}

// RelayStats is what this node counted as a relay since it started.
type RelayStats struct {
	Relay  relaymesh.RelayStats
	Switch relaymesh.SwitchStats
}

// RelayStats returns the counters of what this node did for others.
func (pg *Playground) RelayStats() RelayStats {
	return RelayStats{Relay: pg.relay.Stats(), Switch: pg.sw.Stats()}
}
