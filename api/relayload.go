package api

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/relaymesh"
)

const kindLoad = "xppg/load" // request: how busy are you as a relay?

const loadEvery = 30 * time.Second // between two looks at how busy we are as a relay

// loadStep is how exactly a relay tells its load: who asks again and again is not to see the traffic of others in it.
const loadStep = 0.05

// RelayLoad is how busy a relay is, by what it says itself: over the last half minute, in steps of 5 %.
type RelayLoad struct {
	Bandwidth      float64 // share of BytesPerSecond in use, 0 to 1; 0 without a limit
	BytesPerSecond uint64  // most that it carries in all; 0 means no limit
	Circuits       float64 // share of MaxCircuits in use, 0 to 1; 0 without a limit
	MaxCircuits    int     // most that it takes; 0 means no limit
	Overloaded     bool    // it drops more than 2 % of what it is to carry
}

// Load is the highest of the shares, 1 when the relay is overloaded.
func (l RelayLoad) Load() float64 {
	if l.Overloaded {
		return 1
	}
	return max(l.Bandwidth, l.Circuits)
}

// wireLoad is a RelayLoad as it travels, with shares in percent.
type wireLoad struct {
	Bandwidth      uint8  `cbor:"0,keyasint,omitempty"`
	BytesPerSecond uint64 `cbor:"1,keyasint,omitempty"`
	Circuits       uint8  `cbor:"2,keyasint,omitempty"`
	MaxCircuits    uint32 `cbor:"3,keyasint,omitempty"`
	Overloaded     bool   `cbor:"4,keyasint,omitempty"`
}

// RelayLoad asks a connected relay how busy it is. One of an older version does not know; [RelayInfo] has what its record says.
func (pg *Playground) RelayLoad(ctx context.Context, relay kcptransport.PeerID) (RelayLoad, error) {
	var w wireLoad
	if err := pg.request(ctx, relay, kindLoad, nil, &w); err != nil {
		return RelayLoad{}, fmt.Errorf("api: load of relay %s: %w", relay.Short(), err)
	}
	if w.Bandwidth > 100 || w.Circuits > 100 || w.MaxCircuits > math.MaxInt32 {
		return RelayLoad{}, fmt.Errorf("api: load of relay %s: more than all of it", relay.Short())
	}
	return RelayLoad{float64(w.Bandwidth) / 100, w.BytesPerSecond, float64(w.Circuits) / 100, int(w.MaxCircuits), w.Overloaded}, nil
}

func (pg *Playground) answerLoad(m *Message) error {
	work := pg.workNow.Load()
	if work == nil || !pg.Relaying() {
		return m.ReplyError(errors.New("this node does not relay"))
	}
	l := work.load(pg.rules.Load(), pg.sw.MaxCircuits())
	percent := func(share float64) uint8 { return uint8(math.Round(100 * math.Round(share/loadStep) * loadStep)) }
	return m.Reply(wireLoad{percent(l.Bandwidth), l.BytesPerSecond, percent(l.Circuits), uint32(l.MaxCircuits), l.Overloaded})
}

// relayWork is what a relay has to do.
type relayWork struct {
	bytesPerSecond float64
	circuits       int
	overloaded     bool
}

// load compares it to the limits.
func (w relayWork) load(rules *RelayRules, circuits int) RelayLoad {
	l := RelayLoad{MaxCircuits: circuits, Overloaded: w.overloaded}
	if rules != nil && rules.BytesPerSecond > 0 {
		l.BytesPerSecond = rules.BytesPerSecond
		l.Bandwidth = min(w.bytesPerSecond/float64(l.BytesPerSecond), 1)
	}
	if circuits > 0 {
		l.Circuits = min(float64(w.circuits)/float64(circuits), 1)
	}
	return l
}

// relayLoad measures how much of what a relay can do it does. Its zero value is ready. It is for one goroutine.
type relayLoad struct {
	at      time.Time
	before  relaymesh.SwitchStats
	work    relayWork
	quarter int // told
}

// look returns the load in quarters. It changes only when it is well beyond half way to the next.
func (l *relayLoad) look(now time.Time, s relaymesh.SwitchStats, rules *RelayRules) int {
	if now.Sub(l.at) < loadEvery {
		return l.quarter
	}
	l.work = relayWork{circuits: s.Circuits}
	packets, dropped := s.Packets-l.before.Packets, s.Overflow+s.Late-l.before.Overflow-l.before.Late
	if !l.at.IsZero() {
		l.work.bytesPerSecond = float64(s.Bytes-l.before.Bytes) / now.Sub(l.at).Seconds()
		l.work.overloaded = dropped*50 > packets // 2 %
	}
	l.at, l.before = now, s
	load := 4 * l.work.load(rules, s.MaxCircuits).Load()
	if d := load - float64(l.quarter); d > 0.7 || d < -0.7 {
		l.quarter = int(load + 0.5)
	}
	return l.quarter
}
