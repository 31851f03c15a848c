package api

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/2xppg/xppg/internal/netmon"
	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/punch"
)

const (
	reobserve = 2 * time.Second // after a change, until our record is made anew
	settled   = time.Second     // after a change, until peers are tried that could not be reached: our address is known by then
)

// watchNetwork starts to watch for changes of the network that this machine is
// in. A socket of the caller's own may be in another one: then the caller has
// to tell, see [Playground.NetworkChanged].
func (pg *Playground) watchNetwork() {
	pg.netmon = netmon.Start(netmon.Config{Addrs: pg.localAddrs, OnChange: func(netmon.Change) { pg.NetworkChanged() }})
}

// localAddrs returns the addresses of this machine, in an order that stays the same.
func (pg *Playground) localAddrs() []netip.Addr {
	addrs := pg.cfg.LocalAddrs
	if addrs == nil {
		addrs = punch.InterfaceAddrs
	}
	out := slices.Clone(addrs())
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// NetworkChanged tells the node that it is in another network now: an address
// came or went, or the machine slept. Every path is probed anew, STUN servers
// are asked again, and a second later peers that could not be reached are
// tried. A node with a socket of its own (no [Config.Conn]) notices by itself,
// within a second on Linux and 5 to 15 elsewhere. It does not wait for anything.
func (pg *Playground) NetworkChanged() {
	if pg.ctx.Err() != nil {
		return
	}
	now := time.Now()
	pg.mu.Lock()
	pg.changed = now
	for _, c := range pg.contacts {
		c.fails, c.next = 0, now.Add(settled)
	}
	pg.mu.Unlock()
	for _, p := range pg.readyPeers() {
		p.movedAt.Store(true)
		wake(p.pathWake)
	}
	pg.gather.Reset() // what peers saw until now counts no more: see observe
	pg.ep.NetworkChanged()
	if !pg.stillReachable() {
		pg.forgetReached()
	}
	wake(pg.proveWake)
	wake(pg.stunWake)
	wake(pg.idleWake)
	if pg.portmap != nil {
		pg.portmap.Changed()
	}
	pg.wakeMesh()
	time.AfterFunc(reobserve, pg.wakeMesh) // peers have told by then at which address they see us
}

// candidates returns our own, with what peers see of us right now.
func (pg *Playground) candidates() []kcptransport.Candidate {
	for _, p := range pg.readyPeers() {
		pg.observe(p)
	}
	return pg.gather.Candidates()
}

// observe tells the gatherer at which address a peer sees us, if it told since
// our network changed.
func (pg *Playground) observe(p *peer) {
	info, ok := p.link.Path()
	pg.mu.Lock()
	old := !info.Since.After(pg.changed)
	pg.mu.Unlock()
	if !ok || old || !info.Observed.IsValid() {
		return
	}
	var at netip.AddrPort
	if info.Path.Direct() {
		at = info.Path.Addr
	}
	pg.gather.Observe(p.id, at, info.Observed)
}

// pause waits for d and reports whether ctx lasted so long.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// woken waits for a timer or a token of wake, and reports whether ctx lasted so long.
func woken(ctx context.Context, timer *time.Timer, token <-chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-token:
	}
	return true
}

// wake leaves a token in c, which holds one, if there is none.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
