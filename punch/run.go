package punch

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// run is one Punch. One goroutine owns it.
type run struct {
	p       *Puncher
	link    Link
	began   time.Time
	steps   []Step                 // still to do, in order of time
	planned int                    // steps ever planned
	targets map[netip.AddrPort]int // indices of record.Targets
	seen    int                    // addresses that only came up by packets from there
	waits   bool                   // full probes wait for the other side to begin
	record  Record
	timeout time.Duration
}

const (
	maxSeen   = 16                     // bounds the addresses that come up by packets from there
	lookEvery = 100 * time.Millisecond // at least, for such addresses
	lookOften = 10 * time.Millisecond  // while our full probes wait for the other side to begin
)

func newRun(p *Puncher, link Link, o Options, now time.Time) *run {
	obs := Observations{
		Initiator: link.Initiator(), SignalRTT: link.SignalRTT(),
		Local: p.cfg.Candidates(), Remote: withPaths(link.RemoteCandidates(), link.Paths()),
		LocalNAT: p.cfg.NAT(), RemoteNAT: o.RemoteNAT,
	}
	if obs.RemoteNAT == (NAT{}) {
		obs.RemoteNAT = guessNAT(obs.Remote)
	}
	r := &run{
		p: p, link: link, began: now, steps: Plan(obs),
		targets: map[netip.AddrPort]int{},
		record:  newRecord(link.Peer(), obs, o, now),
	}
	for _, c := range rank(obs) {
		r.target(Target{Addr: c.Addr, Type: c.Type.String(), Note: c.class.note()})
	}
	r.planned = len(r.steps)
	r.waits = slices.ContainsFunc(r.steps, func(s Step) bool { return s.TTL != 0 })
	r.timeout = p.cfg.Timeout
	if o.Timeout > 0 {
		r.timeout = min(r.timeout, o.Timeout)
	}
	if r.record.Needs != NeedsNothing { // what is believed is often wrong, so it is tried, but those who wait want to know
		r.timeout = min(r.timeout, DoubtfulTimeout)
	}
	return r
}

// target adds an address to the record.
func (r *run) target(t Target) {
	r.targets[t.Addr] = len(r.record.Targets)
	r.record.Targets = append(r.record.Targets, t)
}

// loop carries the plan out until there is a direct path.
func (r *run) loop(ctx context.Context) (kcptransport.PathInfo, error) {
	found := make(chan kcptransport.PathInfo, 1)
	stop := r.link.OnPath(func(info kcptransport.PathInfo) {
		if works(info) {
			select {
			case found <- info:
			default:
			}
		}
	})
	defer stop()
	if info, ok := directInUse(r.link); ok {
		return info, nil
	}
	r.publish(time.Now())
	r.event(EventStarted, netip.AddrPort{})
	deadline := time.NewTimer(r.timeout)
	defer deadline.Stop()
	timer := time.NewTimer(r.next(0))
	defer timer.Stop()
	for {
		select {
		case info := <-found:
			return info, nil
		case <-timer.C:
			if len(found) > 0 { // when both come at once, one outcome
				continue
			}
			if info, ok := directInUse(r.link); ok { // the path that had failed works again
				return info, nil
			}
			now := time.Now()
			r.hasten(now)
			r.look(now)
			r.advance(now)
			r.publish(now)
			timer.Reset(r.next(now.Sub(r.began)))
		case <-deadline.C:
			return kcptransport.PathInfo{}, r.noAnswer(time.Now())
		case <-r.link.Done():
			return kcptransport.PathInfo{}, fmt.Errorf("punch: peer %s: %w", r.record.Peer.Short(), r.link.Err())
		case <-ctx.Done():
			return kcptransport.PathInfo{}, fmt.Errorf("punch: peer %s: %w", r.record.Peer.Short(), context.Cause(ctx))
		}
	}
}

// withPaths adds where the peer was heard before to what it told.
func withPaths(told []kcptransport.Candidate, paths []kcptransport.PathInfo) []kcptransport.Candidate {
	for _, info := range paths {
		if info.Path.IsValid() && info.Path.Direct() {
			told = append(told, kcptransport.Candidate{Addr: info.Path.Addr, Type: kcptransport.PeerReflexive})
		}
	}
	return told
}

// directInUse returns the path in use if it is a direct one that works.
func directInUse(link Link) (kcptransport.PathInfo, bool) {
	for _, info := range link.Paths() {
		if info.InUse && works(info) {
			return info, true
		}
	}
	return kcptransport.PathInfo{}, false
}

func works(info kcptransport.PathInfo) bool {
	return info.Path.IsValid() && info.Path.Direct() && info.State != kcptransport.PathSuspect
}

// next returns how long to wait until something is to be done.
func (r *run) next(at time.Duration) time.Duration {
	every := lookEvery
	if r.waits {
		every = lookOften
	}
	if len(r.steps) == 0 {
		return every
	}
	return min(r.steps[0].After-at, every)
}

// advance sends the probes that are due.
func (r *run) advance(now time.Time) {
	at := now.Sub(r.began)
	for len(r.steps) > 0 && r.steps[0].After <= at {
		s := r.steps[0]
		r.steps = r.steps[1:]
		r.link.Probe(kcptransport.Path{Addr: s.To}, s.TTL)
		r.record.Probes++
		r.record.Targets[r.targets[s.To]].probed(at)
	}
}

// hasten brings forward what still waits for the other side to begin, as soon as it is heard: its NAT is open then. When
// both called at once, one of the calls counts in the end, and who is not the initiator any longer is not to wait.
func (r *run) hasten(now time.Time) {
	full := slices.IndexFunc(r.steps, func(s Step) bool { return s.TTL == 0 })
	if !r.waits || full < 0 {
		return
	}
	early := r.steps[full].After - now.Sub(r.began)
	if early > 0 && r.link.Initiator() && !slices.ContainsFunc(r.link.Paths(), r.heard) {
		return
	}
	r.waits = false
	if early <= 0 {
		return
	}
	r.steps = r.steps[full:]
	for i := range r.steps {
		r.steps[i].After -= early
	}
}

// heard reports whether the peer was heard on a direct path since we began.
func (r *run) heard(info kcptransport.PathInfo) bool {
	return info.Path.IsValid() && info.Path.Direct() && info.LastHeard.After(r.began)
}

// look takes in what the link has learnt of its paths: answers to record, and addresses that nobody told.
func (r *run) look(now time.Time) {
	for _, info := range r.link.Paths() {
		if !info.Path.Direct() || !info.Path.IsValid() {
			continue
		}
		addr := info.Path.Addr
		if _, known := r.targets[addr]; !known {
			r.pursue(addr, now)
		}
		if i, known := r.targets[addr]; known && r.record.Targets[i].answered(info, r.began) {
			r.event(EventAnswered, addr)
		}
	}
}

// pursue probes an address that came up by a packet from there (RFC 8445 section 7.3.1.4). The link has sent a probe to
// it when the packet came; these are for the case that it was lost.
func (r *run) pursue(addr netip.AddrPort, now time.Time) {
	if r.seen == maxSeen {
		return
	}
	r.seen++
	at := now.Sub(r.began)
	r.target(Target{Addr: addr, Type: kcptransport.PeerReflexive.String(), Seen: Millis(at)})
	for _, s := range Plan(Observations{Remote: []kcptransport.Candidate{{Addr: addr}}}) {
		if r.planned == MaxSteps {
			break
		}
		s.After += at
		r.planned++
		r.steps = append(r.steps, s)
	}
	slices.SortStableFunc(r.steps, func(a, b Step) int { return int(a.After - b.After) })
	r.event(EventSeen, addr)
}

func (r *run) noAnswer(now time.Time) error {
	e := &NoAnswerError{Peer: r.record.Peer, After: now.Sub(r.began), Needs: r.record.Needs}
	for _, t := range r.record.Targets {
		if t.Sent > 0 {
			e.Tried = append(e.Tried, t.Addr)
		}
	}
	return e
}

// publish lets others see the record as it stands.
func (r *run) publish(now time.Time) {
	copied := r.record
	copied.Took = Millis(now.Sub(r.began))
	copied.Targets = slices.Clone(r.record.Targets)
	r.p.remember(&copied)
}

// finish completes the record.
func (r *run) finish(info kcptransport.PathInfo, err error, now time.Time) *Record {
	r.look(now)
	r.record.end(info, err, now)
	if err != nil {
		r.event(EventFailed, netip.AddrPort{})
	} else {
		r.event(EventDirect, info.Path.Addr)
	}
	return &r.record
}

func (r *run) event(t EventType, addr netip.AddrPort) {
	r.p.cfg.OnEvent(Event{Type: t, Peer: r.record.Peer, Addr: addr, After: time.Since(r.began), Probes: r.record.Probes})
}

func remove[T comparable](list []T, item T) []T {
	return slices.DeleteFunc(list, func(i T) bool { return i == item })
}
