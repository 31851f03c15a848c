package api

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/punch"
	"github.com/2xppg/xppg/stunclient"
)

const (
	idleFirst     = 30 * time.Second // after the start, or a change of the network, until the NAT is tested
	idleRetry     = time.Minute      // after nobody could help, doubled each time
	idleRetryMost = time.Hour
	idleAgain     = 24 * time.Hour    // after which the NAT is tested anew: routers are replaced, and get other software
	idleLook      = 10 * time.Minute  // between looks at whether others still reach a node that needs no keepalives
	idleLongest   = 110 * time.Second // of all pauses: whoever vanishes is to be missed some time, and so are we
	idleServers   = 2                 // STUN servers that are asked
	idleHelpers   = 4                 // peers that are asked
	idleUnneeded  = 25 * time.Second  // a mapping that lives that long is held by the pause that there is without a test
)

// idleWaits are the times for which a mapping may be tested. RFC 4787 asks for two minutes, which is what Linux has; 30 s and 60 s are
// common, too. Each is a little less, as packets take time, or a little more.
var idleWaits = []time.Duration{10 * time.Second, 18 * time.Second, idleUnneeded, 45 * time.Second, 65 * time.Second, 115 * time.Second}

// nextIdleWait returns the test that tells most, false when there is none left. The first one of 65 s decides whether to go
// up or down; each of the others is the next in that direction.
func nextIdleWait(known stunclient.Lifetime) (time.Duration, bool) {
	if known == (stunclient.Lifetime{}) {
		return idleWaits[len(idleWaits)-2], true
	}
	if known.Max == 0 {
		for _, w := range idleWaits {
			if w > known.Min {
				return w, true
			}
		}
		return 0, false
	}
	for _, w := range slices.Backward(idleWaits) {
		if w < known.Max {
			return w, w > known.Min
		}
	}
	return 0, false
}

// idlePause returns how long idle paths may be quiet: nine tenths of what a mapping was seen to live. 0: as long as by
// default, which is less only when something shorter was measured. Of a NAT that forgets sooner than anything that is tested nothing
// more is known, and the pause is a third of that: so much can be borne, and holds most of those.
func idlePause(known stunclient.Lifetime) time.Duration {
	if shortest := idleWaits[0]; known.Min == 0 && known.Max == shortest {
		return shortest / 3
	}
	pause := min(known.Min*9/10, idleLongest)
	if known.Min >= idleUnneeded && pause < 30*time.Second {
		return 0
	}
	return pause
}

// keepIdle finds out how long the NAT keeps idle mappings, and has the endpoint be quiet for as long: in each network anew.
func (pg *Playground) keepIdle() {
	if pg.cfg.KeepAlive != 0 {
		return
	}
	for pg.ctx.Err() == nil {
		ctx, cancel := context.WithCancel(pg.ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			pg.measureIdle(ctx)
		}()
		select {
		case <-pg.idleWake:
		case <-pg.ctx.Done():
		}
		cancel()
		<-done
		pg.ep.SetKeepAlive(0, 0)
	}
}

// measureIdle does so for one network, until ctx ends.
func (pg *Playground) measureIdle(ctx context.Context) {
	m := idleMeasurement{pg: pg}
	wasOpen := false
	for wait := idleFirst; pause(ctx, wait); {
		open4, open6 := pg.unfiltered()
		switch {
		case open4:
			m, wait = idleMeasurement{pg: pg, pause: idleLongest}, idleLook
		case wasOpen:
			m, wait = idleMeasurement{pg: pg}, time.Millisecond
		default:
			wait = m.step(ctx)
		}
		if wasOpen = open4; ctx.Err() != nil {
			return
		}
		pause6 := time.Duration(0)
		if open6 {
			pause6 = idleLongest
		}
		pg.ep.SetKeepAlive(m.pause, pause6)
	}
}

// idleMeasurement is what is known of the NAT of one network, for IPv4.
type idleMeasurement struct {
	pg     *Playground
	known  stunclient.Lifetime
	pause  time.Duration // that follows from it, or from what was known before it was tested anew; 0: the default
	again  time.Time     // when it is to be tested anew
	failed retry
}

// step does the next test, and returns how long to wait before the one after it.
func (m *idleMeasurement) step(ctx context.Context) (wait time.Duration) {
	now := time.Now()
	next, more := nextIdleWait(m.known)
	switch {
	case now.Before(m.again):
		return idleLook
	case !more:
		m.known, m.again = stunclient.Lifetime{}, now.Add(idleAgain)
		return idleLook
	}
	alive, err := m.pg.holds(ctx, next)
	switch {
	case errors.Is(err, errNoIdleHelper):
		return idleRetry
	case err != nil:
		m.failed.failed(time.Now(), idleRetry, idleRetryMost)
		return m.failed.wait()
	case alive:
		m.known.Min = next
	default:
		m.known.Max = next
	}
	if ctx.Err() != nil { // it is another network now
		return idleLook
	}
	m.failed, m.pause = retry{}, idlePause(m.known)
	m.pg.gather.Found(punch.Findings{Lifetime: m.known})
	return time.Millisecond
}

// unfiltered reports whether others reach this node at an address of its own, for IPv4 and IPv6: then there is no NAT and no
// filter that could forget anything.
func (pg *Playground) unfiltered() (ipv4, ipv6 bool) {
	by, own := pg.reachedOver(), pg.ownPublicAddrs()
	return by[0] && pg.gather.NAT().Mapping.Is == punch.NoTranslation && slices.ContainsFunc(own, netip.Addr.Is4),
		by[1] && slices.ContainsFunc(own, netip.Addr.Is6)
}

var errNoIdleHelper = errors.New("api: nobody is there who could tell how long our NAT keeps a mapping")

// holds tests, on a spare socket, whether a mapping is there after a wait, with the help of the first who can.
func (pg *Playground) holds(ctx context.Context, wait time.Duration) (alive bool, err error) {
	err = errNoIdleHelper
	if pg.cfg.SpareSocket == nil {
		return false, err
	}
	for _, h := range pg.idleHelpers() {
		if alive, err = pg.prober().Holds(ctx, h.at, wait, h.knock); err == nil || ctx.Err() != nil {
			return alive, err
		}
	}
	return false, err
}

// idleHelper is who can send to a spare socket of ours from where that socket has sent to.
type idleHelper struct {
	at    netip.AddrPort
	knock stunclient.Knock // nil for a server that answers to another port
}

// idleHelpers returns servers of RFC 5780, and some peers outside our NAT: first relays, as they let in whoever comes.
func (pg *Playground) idleHelpers() (out []idleHelper) {
	pg.mu.Lock()
	for _, at := range pg.twoAddrs[:min(len(pg.twoAddrs), idleServers)] {
		out = append(out, idleHelper{at: at})
	}
	relays := map[kcptransport.PeerID]int{}
	for id, info := range pg.book.infos {
		if info.relay {
			relays[id] = 1
		}
	}
	pg.mu.Unlock()
	peers := pg.readyPeers()
	rand.New(rand.NewPCG(pg.randomUint64(), 0)).Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	slices.SortStableFunc(peers, func(a, b *peer) int { return cmp.Compare(relays[b.id], relays[a.id]) })
	asked := 0
	for _, p := range peers {
		info, ok := p.link.Path()
		at := info.Path.Addr
		if !ok || !info.Path.Direct() || !at.Addr().Is4() || punch.Private(at.Addr()) || at.Addr() == info.Observed.Addr() || asked == idleHelpers {
			continue
		}
		asked++
		out = append(out, idleHelper{at, pg.knockOf(p.id)})
	}
	return out
}
