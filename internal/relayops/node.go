package relayops

import (
	"context"
	"time"

	"github.com/2xppg/xppg/api"
)

// playground is a Node.
type playground struct{ *api.Playground }

// ForPlayground returns the relay in a playground.
func ForPlayground(pg *api.Playground) Node { return playground{pg} }

func (p playground) Snapshot() Snapshot {
	s := p.RelayStats()
	return Snapshot{Switch: s.Switch, Relay: s.Relay, Peers: len(p.Peers())}
}

func (p playground) Configure(l Limits, lists Lists) error {
	p.SetRelayRules(api.RelayRules{
		BytesPerSecond: uint64(l.Total), BytesPerSecondPerPeer: uint64(l.Peer), Circuits: l.Circuits, Admit: lists.Admit,
		BytesPerSecondPerCircuit: uint64(l.Circuit), BytesPerCircuit: uint64(l.CircuitBytes), TimePerCircuit: time.Duration(l.CircuitTime),
	})
	return nil
}

func (p playground) Drain(ctx context.Context) bool { return p.DrainRelay(ctx) }
