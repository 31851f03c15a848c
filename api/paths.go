package api

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/punch"
)

const (
	circuitRetry     = time.Second // after a circuit could not be set up, doubled each time
	circuitRetryMost = time.Minute
	punchRetry       = time.Minute // after a peer was found by way of relays only, doubled each time
	punchRetryMost   = 10 * time.Minute
	moveRetry        = 250 * time.Millisecond // after one could not be set up in place of one that has to be left
	moveRefrain      = 10 * time.Second       // in which a relay is not asked after it had us leave a circuit for no reason that we know
	moveGrace        = time.Second            // that a circuit which is about to end stays beside the one that replaces it
	surplusGrace     = 30 * time.Second       // that there are more circuits than are wanted: both sides ask for some at the beginning
	punchTimeout     = 10 * time.Second       // of telling each other candidates by way of a relay
)

// keepPaths keeps circuits to the peer, and looks for a direct path while there is none. It is done by the side with the
// smaller ID, so that both do not do the same.
func (p *peer) keepPaths(ctx context.Context) {
	if p.pg.ID().Compare(p.id) > 0 {
		return
	}
	stop := p.link.OnPath(func(kcptransport.PathInfo) { wake(p.pathWake) })
	defer stop()
	var circuits, punches retry
	leaving := 0 // circuits that have to be left, at the last look
	timer := time.NewTimer(0)
	defer timer.Stop()
	for woken(ctx, timer, p.pathWake) {
		now := time.Now()
		if p.movedAt.Swap(false) {
			circuits, punches = retry{at: now}, retry{at: now.Add(settled)}
		}
		info, ok := p.link.Path()
		next := time.Duration(0)
		staying, moving := p.circuits()
		if len(moving) > leaving { // however long none was to be had beside them: now there is none to lose
			circuits = retry{at: now}
			p.moveAt = time.Time{} // the last of them gets all of its grace
		}
		leaving = len(moving)
		want := p.wantCircuits(info, ok)
		if p.troubled.Swap(false) { // circuits that are silent are there until their relays are found to be gone
			circuits = retry{at: now}
			want = max(want, min(len(staying)+1, maxWarm+1))
		}
		if len(staying) < want {
			if circuits.due(now) {
				if _, err := p.pg.relayTo(ctx, p.id); err == nil {
					circuits = retry{at: time.Now()}
				} else {
					circuits.failed(time.Now(), circuitRetry, circuitRetryMost)
					if len(moving) > 0 { // soon there may be none, and another relay may be found meanwhile
						circuits.at = time.Now().Add(moveRetry)
					}
				}
			}
			next = soonest(next, circuits.wait())
		}
		next = soonest(next, p.leaveMoving(now))
		next = soonest(next, p.leaveSurplus(staying, info.Path, want, now))
		if len(p.pg.circuitsTo(p.id)) > want { // those that are a relay's word only may turn out to be true without a sign
			next = soonest(next, surplusGrace)
		}
		if ok && !info.Path.Direct() {
			if punches.at.IsZero() { // the first try began with the link
				punches.failed(now, punchRetry, punchRetryMost)
			}
			if punches.due(now) {
				punches.failed(now, punchRetry, punchRetryMost) // unless there is a direct path soon
				p.punchAgain(ctx)
			}
			next = soonest(next, punches.wait())
		} else {
			punches = retry{}
		}
		if next > 0 {
			timer.Reset(next)
		}
	}
}

// circuits returns the circuits to the peer: those that stay, and those of which a relay is about to end.
func (p *peer) circuits() (staying, moving []heldCircuit) {
	for _, c := range p.pg.circuitsTo(p.id) {
		switch {
		case c.moving():
			moving = append(moving, c)
		case !c.alleged():
			staying = append(staying, c)
		}
	}
	return staying, moving
}

// leaveMoving closes the circuits of which a relay is about to end, once the link has gone on with something else for a
// moment. It returns how long to wait until then; 0: until something changes.
func (p *peer) leaveMoving(now time.Time) time.Duration {
	staying, moving := p.circuits()
	info, ok := p.link.Path()
	inUse := func(c heldCircuit) bool { return c.path.Label() == info.Path.Circuit }
	if direct := ok && info.Path.Direct(); len(moving) == 0 || !direct && (len(staying) == 0 || slices.ContainsFunc(moving, inUse)) {
		p.moveAt = time.Time{}
		return 0
	}
	if wait := graceLeft(&p.moveAt, moveGrace, now); wait > 0 {
		return wait
	}
	for _, c := range moving {
		if l := c.wire.Limits; !c.offered && len(c.wire.Via) == 1 && l.Bytes == 0 && (l.Duration == 0 || now.Sub(c.since) < l.Duration/2) {
			p.pg.noteBarren(p.id, c.wire.Via[0], moveRefrain) // it drains, and takes no more, or says so for no reason
		}
		c.wire.Close()
	}
	return 0
}

// graceLeft returns how long it is until end, which is a grace after the first call. 0: it is over, and the next call begins anew.
func graceLeft(end *time.Time, grace time.Duration, now time.Time) time.Duration {
	if end.IsZero() {
		*end = now.Add(grace)
	}
	if wait := end.Sub(now); wait > 0 {
		return wait
	}
	*end = time.Time{}
	return 0
}

// leaveSurplus closes the circuits beyond those that are wanted, once there have been some for a while. It returns how long to wait
// until then; 0: until something changes.
func (p *peer) leaveSurplus(staying []heldCircuit, inUse kcptransport.Path, want int, now time.Time) time.Duration {
	if len(staying) <= want {
		p.surplusAt = time.Time{}
		return 0
	}
	if wait := graceLeft(&p.surplusAt, surplusGrace, now); wait > 0 {
		return wait
	}
	rtts := map[uint32]time.Duration{} // by label
	for _, i := range p.link.Paths() {
		if rtts[i.Path.Circuit] = i.RTT; i.State == kcptransport.PathSuspect { // its relay may be gone
			rtts[i.Path.Circuit] += 2 * time.Hour
		}
	}
	for _, c := range surplusCircuits(staying, inUse.Circuit, rtts, want) {
		c.wire.Close()
	}
	return 0
}

// surplusCircuits returns which of some circuits are too many. That in use stays, then those that share no relay with what stays,
// then the fastest.
func surplusCircuits(circuits []heldCircuit, inUse uint32, rtts map[uint32]time.Duration, want int) []heldCircuit {
	rest := slices.Clone(circuits)
	used := map[kcptransport.PeerID]bool{}
	cost := func(c heldCircuit) time.Duration {
		if c.path.Label() == inUse {
			return -1
		}
		rtt := rtts[c.path.Label()]
		if rtt == 0 {
			rtt = time.Minute // not measured
		}
		if slices.ContainsFunc(c.wire.Via, func(id kcptransport.PeerID) bool { return used[id] }) {
			rtt += time.Hour
		}
		return rtt
	}
	for ; want > 0 && len(rest) > 0; want-- {
		best := slices.MinFunc(rest, func(a, b heldCircuit) int { return cmp.Compare(cost(a), cost(b)) })
		for _, id := range best.wire.Via {
			used[id] = true
		}
		rest = slices.DeleteFunc(rest, func(c heldCircuit) bool { return c == best })
	}
	return rest
}

// wantCircuits returns how many circuits to the peer to keep: a second one where the first one is in use, none where no NAT and
// no cable is between us.
func (p *peer) wantCircuits(info kcptransport.PathInfo, ok bool) int {
	switch {
	case !ok:
		return 1
	case !info.Path.Direct():
		return maxWarm
	case info.Path.Carried(), punch.Private(info.Path.Addr.Addr()):
		return 0
	}
	return 1
}

// punchAgain has both sides tell each other where they are now, by way of a relay, and punch.
func (p *peer) punchAgain(ctx context.Context) {
	circuits := p.pg.trustedTo(p.id)
	if len(circuits) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, punchTimeout)
	defer cancel()
	if got, err := p.pg.ep.Dial(ctx, kcptransport.Dial{Peer: p.id, Signal: circuits[0].path}); err == nil { // OnMet follows: see peer.mend
		p.pg.useInstead(p.link, got)
	}
}

// waitDirect waits until the path is direct, for d at most.
func (p *peer) waitDirect(ctx context.Context, d time.Duration) {
	direct := make(chan struct{}, 1)
	stop := p.link.OnPath(func(info kcptransport.PathInfo) {
		if info.Path.Direct() {
			wake(direct)
		}
	})
	defer stop()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-direct:
	case <-t.C:
	case <-ctx.Done():
	}
}

// relayed reports whether there are circuits to the peer.
func (p *peer) relayed() bool {
	return slices.ContainsFunc(p.link.Paths(), func(i kcptransport.PathInfo) bool { return !i.Path.Direct() })
}

// retry says when to try something again.
type retry struct {
	at    time.Time // zero: at once
	fails int
}

func (r *retry) due(now time.Time) bool { return !now.Before(r.at) }

// failed notes a try that failed.
func (r *retry) failed(now time.Time, first, most time.Duration) {
	r.at = now.Add(min(first<<min(r.fails, 16), most))
	r.fails++
}

// wait returns how long it is until the next try, at least a moment.
func (r *retry) wait() time.Duration { return max(time.Until(r.at), time.Millisecond) }

// soonest returns the shorter of two waits, of which 0 means none.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
