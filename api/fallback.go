package api

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// How a node goes by TCP where UDP is blocked, and leaves it again.
const (
	udpPatience     = 300 * time.Millisecond // for an answer by UDP where nothing has come by it lately
	udpLongPatience = 3 * time.Second        // where others answer by UDP
	udpLately       = 10 * time.Second
	fallbackStagger = 250 * time.Millisecond // between two URLs of a peer: see RFC 8305 section 5
	fallbackTimeout = 5 * time.Second        // of all of them
	fallbackFirst   = 2 * time.Second        // pause after a failure, doubled each time
	fallbackMost    = 2 * time.Minute
	maxFallbacks    = 2 // peers that are connected so at the same time, by ourselves

	udpAskFirst = 2 * time.Second // between probes by UDP while a link goes by a connection, doubled each time
	udpAskMost  = time.Minute
	udpSettled  = 30 * time.Second // that UDP has to work before the connection is closed
)

// fallback is the state of a peer that is reached by TCP, or was to be.
type fallback struct {
	busy  bool // being connected, or connected
	retry retry
}

var errFallbacks = errors.New("api: enough peers are connected by TCP already, or one try has just failed")

// claimFallback reports whether to connect to a peer by TCP now.
func (pg *Playground) claimFallback(id kcptransport.PeerID) bool {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	now, busy := time.Now(), 0
	for other, f := range pg.fallbacks {
		switch {
		case f.busy:
			busy++
		case other != id && now.Sub(f.retry.at) > fallbackMost:
			delete(pg.fallbacks, other)
		}
	}
	f := pg.fallbacks[id]
	if f == nil {
		f = &fallback{}
	}
	if f.busy || busy >= maxFallbacks || !f.retry.due(now) || len(pg.fallbacks) >= maxRecords {
		return false
	}
	f.busy = true
	pg.fallbacks[id] = f
	return true
}

// releaseFallback ends what claimFallback began.
func (pg *Playground) releaseFallback(id kcptransport.PeerID, err error) {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	f := pg.fallbacks[id]
	f.busy = false
	if err == nil {
		f.retry = retry{at: time.Now()}
		return
	}
	f.retry.failed(time.Now(), fallbackFirst, fallbackMost)
}

// fallBack connects by TCP to a peer that has fallen silent, if it told where it takes connections, and gives its link one more path.
// It returns at once.
func (pg *Playground) fallBack(link *kcptransport.Link) {
	p := pg.peerOf(link)
	info, ok := link.Path()
	if p == nil || ok && info.Path.Carried() {
		return
	}
	urls := pg.urlsOf(p.id, info.Path.Addr)
	if len(urls) == 0 || !pg.claimFallback(p.id) {
		return
	}
	pg.wg.Go(func() {
		addr, err := pg.dialFirst(p.ctx, urls)
		if err == nil {
			link.Probe(kcptransport.Path{Addr: addr}, 0)
			pg.useCarrier(link, addr)
		}
		pg.releaseFallback(p.id, err)
	})
}

// reachByTCP helps to reach a peer that does not answer by UDP.
func (pg *Playground) reachByTCP(ctx context.Context, id kcptransport.PeerID, urls []string) error {
	patience := udpPatience
	if time.Since(pg.carrier.LastUDP()) < udpLately {
		patience = udpLongPatience
	}
	if !pause(ctx, patience) {
		return ctx.Err()
	}
	if !pg.claimFallback(id) {
		return errFallbacks
	}
	addr, err := pg.dialFirst(ctx, urls)
	if err != nil {
		pg.releaseFallback(id, err)
		return err
	}
	link, err := pg.ep.Dial(ctx, kcptransport.Dial{Peer: id, Addrs: []netip.AddrPort{addr}}) // one with those that are under way
	if err != nil {
		link = pg.ep.Link(id) // they may have succeeded, and ended ctx, before we were told
	}
	if link != nil {
		pg.wg.Go(func() {
			pg.useCarrier(link, addr)
			pg.releaseFallback(id, nil)
		})
		return nil
	}
	pg.carrier.Hang(addr)
	pg.releaseFallback(id, err)
	return err
}

// dialFirst connects to the first of the URLs that answers.
func (pg *Playground) dialFirst(ctx context.Context, urls []string) (netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, fallbackTimeout)
	defer cancel()
	type result struct {
		addr netip.AddrPort
		err  error
	}
	results := make(chan result)
	begin := time.NewTimer(0)
	defer begin.Stop()
	var first netip.AddrPort
	var errs []error
	for running := 0; running > 0 || len(urls) > 0; {
		select {
		case <-begin.C:
			if len(urls) == 0 {
				continue
			}
			u := urls[0]
			urls, running = urls[1:], running+1
			go func() {
				addr, err := pg.carrier.Dial(ctx, u)
				results <- result{addr, err}
			}()
			begin.Reset(fallbackStagger)
		case r := <-results:
			running--
			switch {
			case r.err != nil:
				errs = append(errs, r.err)
				begin.Reset(0) // the next one need not wait
			case first.IsValid():
				pg.carrier.Hang(r.addr)
			default:
				first, urls = r.addr, nil
				cancel()
			}
		}
		if ctx.Err() != nil {
			urls = nil
		}
	}
	if !first.IsValid() {
		return first, fmt.Errorf("api: by TCP: %w", errors.Join(errs...))
	}
	return first, nil
}

// useCarrier keeps a connection to a peer as long as its link needs it: until UDP has worked for a while, or the connection or the
// link has ended. Meanwhile it asks by UDP now and then.
func (pg *Playground) useCarrier(link *kcptransport.Link, addr netip.AddrPort) {
	defer pg.carrier.Hang(addr)
	changed := make(chan struct{}, 1)
	defer link.OnPath(func(kcptransport.PathInfo) { wake(changed) })()
	var ask retry
	var udpSince time.Time
	for pg.carrier.Connected(addr) {
		now := time.Now()
		info, ok := link.Path()
		wait := udpSettled
		switch {
		case !ok || !info.Path.Direct() || info.Path.Carried():
			udpSince = time.Time{}
			if ask.due(now) {
				ask.failed(now, udpAskFirst, udpAskMost)
				pg.askByUDP(link)
			}
			wait = ask.wait()
		case udpSince.IsZero():
			udpSince, ask = now, retry{at: now}
		case now.Sub(udpSince) >= udpSettled:
			return
		default:
			wait = udpSince.Add(udpSettled).Sub(now)
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-changed:
		case <-link.Done():
			t.Stop()
			return
		}
		t.Stop()
	}
}

// askByUDP probes where the peer of a link may be reached by UDP.
func (pg *Playground) askByUDP(link *kcptransport.Link) {
	var addrs []netip.AddrPort
	for _, c := range link.RemoteCandidates() {
		addrs = append(addrs, c.Addr)
	}
	if info := pg.recordOf(link.Peer()); info != nil {
		addrs = append(addrs, info.Addrs...)
	}
	slices.SortFunc(addrs, netip.AddrPort.Compare)
	for _, a := range slices.Compact(addrs) {
		if path := (kcptransport.Path{Addr: a}); !path.Carried() {
			link.Probe(path, 0)
		}
	}
}
