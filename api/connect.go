package api

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/punch"
	"github.com/2xppg/xppg/relaymesh"
)

const (
	joinTimeout    = 30 * time.Second // of a Join whose ctx has no deadline
	joinRetryFirst = time.Second      // pauses between tries of Config.Join grow
	joinRetryMost  = time.Minute      // from the first to the most
	maxIntroducers = 3                // asked at the same time
	askAgainFirst  = 200 * time.Millisecond
	askAgainMost   = 5 * time.Second
	mappedPatience = 2 * time.Second // with introducers, before NATs are sent packets without their help
)

// Join connects to a target: a "host:port", a ticket, the ID of a peer that
// a common peer can introduce, or the URL of a relay where UDP is blocked:
// tcp://host:port, ws://host/path or wss://host/path. It returns the peer's ID once there is a working
// path, and at once when there is a link already. With a ticket or an ID only
// the owner of that key is accepted; with an address, whoever answers there.
// Without a deadline in ctx it tries for 30 seconds.
func (pg *Playground) Join(ctx context.Context, target string) (kcptransport.PeerID, error) {
	t, err := parseTarget(target)
	if err != nil {
		return kcptransport.PeerID{}, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, joinTimeout)
		defer cancel()
	}
	if err := t.resolve(ctx); err != nil {
		return kcptransport.PeerID{}, err
	}
	if t.url != "" {
		return pg.joinURL(ctx, t.url)
	}
	return pg.reach(ctx, t.ticket)
}

// keepJoining joins a target again and again until it succeeds, and anew when the peer is gone: it may be the only one whose
// address is known for good. Only until the first success failures are told.
func (pg *Playground) keepJoining(target string) {
	joined := false
	for wait := joinRetryFirst; ; {
		id, err := pg.Join(pg.ctx, target)
		if pg.ctx.Err() != nil {
			return
		}
		if err == nil {
			joined = true
			if since := time.Now(); pg.waitGone(id) && time.Since(since) >= joinRetryMost { // or it may end every link at once
				wait = joinRetryFirst
			}
		} else if !joined {
			pg.note(kcptransport.PeerID{}, fmt.Errorf("join %s: %w (trying again in %s)", target, err, wait))
		}
		if !pause(pg.ctx, wait) {
			return
		}
		wait = min(2*wait, joinRetryMost)
	}
}

// waitGone waits until there is no link to a peer, and reports whether there was one.
func (pg *Playground) waitGone(id kcptransport.PeerID) bool {
	p, err := pg.peer(id)
	if err != nil {
		return false
	}
	<-p.done // also when we are closing
	return true
}

// reach opens a link by every way there is at once: directly to the addresses,
// and through peers that can introduce us, of which it joins those that the ticket or the peer's record names.
func (pg *Playground) reach(ctx context.Context, t Ticket) (kcptransport.PeerID, error) {
	if info := pg.recordOf(t.Peer); info != nil && len(t.Addrs) == 0 && len(t.URLs) == 0 {
		t.Contact = info.told()
	}
	t.Via = append(slices.Clip(t.Via), pg.relaysOf(t.Peer, t.Via)...)
	return pg.reachBy(ctx, t)
}

// reachBy does so with the introducers that there are and those of the ticket.
func (pg *Playground) reachBy(ctx context.Context, t Ticket) (kcptransport.PeerID, error) {
	if t.Peer == pg.ID() {
		return t.Peer, errors.New("api: this is our own ticket or ID; join another peer")
	}
	if p, err := pg.peer(t.Peer); err == nil {
		return p.id, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	if !t.Peer.IsZero() && len(t.Addrs) == 0 && len(t.Via) == 0 && len(pg.readyPeers()) == 0 {
		return t.Peer, fmt.Errorf("api: peer %s: no address is known and there is no common peer to ask: %w to any peer (join one first)", t.Peer.Short(), ErrNotConnected)
	}
	sig := newSignals(ctx, pg, &wg, t.Peer)
	if urls := mayDialOf(t.URLs, t.Addrs...); len(urls) > 0 && !t.Peer.IsZero() {
		wg.Go(func() {
			if err := pg.reachByTCP(ctx, t.Peer, urls); err != nil && ctx.Err() == nil {
				sig.failed(t.Peer, err)
			}
		})
	}
	link, err := pg.dial(ctx, t, sig)
	if err != nil {
		return t.Peer, pg.why(sig, err)
	}
	p, err := pg.adopt(link)
	if err != nil {
		return link.Peer(), err
	}
	select {
	case <-p.ready:
		return p.id, nil
	case <-link.Done():
		if why := p.noAnswer.Load(); why != nil {
			return p.id, fmt.Errorf("api: no direct path, the NATs between us let nothing through: %w", why)
		}
		return p.id, fmt.Errorf("api: peer %s: no path: %w", p.id.Short(), link.Err())
	case <-ctx.Done():
		return p.id, fmt.Errorf("api: peer %s was introduced, but no direct path is found yet (trying %s), and none by way of a relay (%w): %w",
			p.id.Short(), listAddrs(link.RemoteCandidates()), sig.whyNotRelayed(), ctx.Err())
	}
}

// dial tries the addresses at once, and with the help of introducers as soon as
// the first of them can be asked. That begins the handshake anew, because it
// tells our candidates, and an introducer that we have just joined has told us
// one more: our address as it sees it.
//
// While there is an introducer to ask, what looks like the outside of a NAT is
// left to hole punching, which sends there when it does no harm: a packet that
// comes too early makes some NATs give the port away.
func (pg *Playground) dial(ctx context.Context, t Ticket, sig *signals) (*kcptransport.Link, error) {
	all := kcptransport.Dial{Peer: t.Peer, Addrs: t.Addrs}
	if t.Peer.IsZero() || !sig.askIntroducers(t.Via) {
		return pg.ep.Dial(ctx, all)
	}
	d := kcptransport.Dial{Peer: t.Peer, Addrs: withoutMapped(t.Addrs)}
	leftOut := len(d.Addrs) < len(t.Addrs)
	patience := ctx
	if leftOut {
		var cancel context.CancelFunc
		patience, cancel = context.WithTimeout(ctx, mappedPatience)
		defer cancel()
	}
	direct, cancel := context.WithCancel(patience)
	defer cancel()
	defer context.AfterFunc(sig.opened, cancel)()
	var err error
	if len(d.Addrs) > 0 && sig.opened.Err() == nil {
		var link *kcptransport.Link
		if link, err = pg.ep.Dial(direct, d); err == nil {
			return link, nil
		}
	}
	select {
	case <-sig.opened.Done():
		d.Signal = sig
		if leftOut {
			sig.wg.Go(func() { pg.dialMapped(ctx, all) })
		}
		return pg.ep.Dial(ctx, d)
	case <-sig.hopeless:
		if err == nil {
			err = errors.New("no introducer could be asked")
		}
		if !leftOut {
			return nil, err
		}
	case <-patience.Done():
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	all.Signal = sig // it may open yet
	return pg.ep.Dial(ctx, all)
}

// dialMapped tries what was left out if introducers have led to nothing for a
// while. It helps the dial that is under way.
func (pg *Playground) dialMapped(ctx context.Context, d kcptransport.Dial) {
	patience := time.NewTimer(mappedPatience)
	defer patience.Stop()
	select {
	case <-patience.C:
		if pg.ep.Link(d.Peer) == nil {
			_, _ = pg.ep.Dial(ctx, d) // the same as that of the other one
		}
	case <-ctx.Done():
	}
}

// withoutMapped leaves out addresses that are the outside of a NAT, as far as can
// be told: public IPv4 ones of a peer that has private IPv4 ones as well.
func withoutMapped(addrs []netip.AddrPort) []netip.AddrPort {
	private := func(a netip.AddrPort) bool { return a.Addr().Is4() && punch.Private(a.Addr()) }
	if !slices.ContainsFunc(addrs, private) {
		return addrs
	}
	return slices.DeleteFunc(slices.Clone(addrs), func(a netip.AddrPort) bool { return a.Addr().Is4() && !private(a) })
}

// why adds what the introducers said to the error of a dial.
func (pg *Playground) why(sig *signals, err error) error {
	if pg.ctx.Err() != nil {
		return ErrClosed
	}
	return fmt.Errorf("api: join: %w", errors.Join(append([]error{err}, sig.errors()...)...))
}

func listAddrs(candidates []kcptransport.Candidate) string {
	if len(candidates) == 0 {
		return "what it sends from: it told no address"
	}
	out := make([]string, len(candidates))
	for i, c := range candidates {
		out[i] = c.Addr.String()
	}
	return strings.Join(out, ", ")
}

// adopt makes a peer of a link, once for each link.
func (pg *Playground) adopt(link *kcptransport.Link) (*peer, error) {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	if pg.ctx.Err() != nil {
		link.Close()
		return nil, ErrClosed
	}
	if p := pg.peers[link.Peer()]; p != nil && p.link == link {
		return p, nil
	}
	p := newPeer(pg, link)
	if old := pg.peers[p.id]; old != nil {
		old.stop() // what still waits there must not come after what comes here
	}
	pg.peers[p.id] = p
	pg.wg.Go(func() {
		p.run()
		pg.forget(p)
	})
	return p, nil
}

func (pg *Playground) acceptLinks() {
	for {
		link, err := pg.ep.Accept(pg.ctx)
		if err != nil {
			return
		}
		_, _ = pg.adopt(link) // fails only when we are closing
	}
}

// connected tells the application of a peer and keeps telling it of its path.
func (pg *Playground) connected(p *peer, info kcptransport.PathInfo) {
	pg.observe(p)
	pg.noteReached(p.link, info)
	p.connOnce.Do(func() {
		p.since.Store(new(time.Now()))
		pg.events.emit(pathEvent(EventPeer, p, info))
		p.link.OnPath(func(i kcptransport.PathInfo) {
			if i.Path.IsValid() && i.Path != info.Path {
				info = i
				p.since.Store(new(time.Now()))
				pg.events.emit(pathEvent(EventPath, p, i))
			}
		})
	})
	pg.mu.Lock()
	delete(pg.contacts, p.id)
	pg.mu.Unlock()
	pg.states.attach(p.id)
	pg.wakeMesh()
	wake(pg.reserveWake)
}

func pathEvent(t EventType, p *peer, i kcptransport.PathInfo) Event {
	e := Event{Type: t, Peer: p.id, Path: pathName(i), Via: i.Via, Addr: i.Path.Addr, RTT: i.RTT}
	if t == EventPeer {
		e.State = StateConnected
	}
	return e
}

// forget drops a peer whose link has ended.
func (pg *Playground) forget(p *peer) {
	pg.mu.Lock()
	current := pg.peers[p.id] == p
	if current {
		delete(pg.peers, p.id)
	}
	if c := pg.contacts[p.id]; c != nil && !p.isReady() {
		c.failed(time.Now(), pg.randomUint64())
	}
	pg.mu.Unlock()
	pg.wakeMesh() // for when it is to be tried again
	if !p.isReady() {
		return
	}
	if current {
		pg.states.detach(p.id)
	}
	pg.events.emit(Event{Type: EventPeer, Peer: p.id, State: StateDisconnected, Err: p.link.Err()})
}

// signals carries handshake packets through every introducer that answers.
type signals struct {
	pg     *Playground
	ctx    context.Context
	wg     *sync.WaitGroup
	target kcptransport.PeerID

	opened   context.Context // ends when the first introducer was asked
	open     context.CancelFunc
	hopeless chan struct{} // closed when none can be asked

	mu      sync.Mutex
	joining int // introducers still to be joined
	chans   []kcptransport.Signal
	last    []byte // sent again through a channel that opens later
	errs    map[kcptransport.PeerID]error
	noRelay error // why the latest circuit did not come about
}

var (
	errNoRelay    = errors.New("no relay is known that has a link to it")
	errNoneRelays = errors.New("no common peer relays")
)

func newSignals(ctx context.Context, pg *Playground, wg *sync.WaitGroup, target kcptransport.PeerID) *signals {
	s := &signals{pg: pg, ctx: ctx, wg: wg, target: target, hopeless: make(chan struct{}), errs: map[kcptransport.PeerID]error{}}
	s.opened, s.open = context.WithCancel(ctx)
	return s
}

// Send implements kcptransport.Signal.
func (s *signals) Send(packet []byte) error {
	s.mu.Lock()
	s.last = append(s.last[:0], packet...)
	chans := s.chans
	s.mu.Unlock()
	var errs []error
	for _, c := range chans {
		if err := c.Send(packet); err != nil {
			errs = append(errs, err)
		}
	}
	if len(chans) > 0 && len(errs) == len(chans) {
		return errors.Join(errs...)
	}
	return nil
}

// askIntroducers asks common peers that are connected, and those that the
// ticket names after joining them. It reports whether there are any.
func (s *signals) askIntroducers(via []Contact) bool {
	asked := map[kcptransport.PeerID]bool{s.target: true, s.pg.ID(): true}
	for _, p := range s.pg.introducersOf(s.target) {
		asked[p.id] = true
		s.ask(p)
	}
	s.wg.Go(s.keepRelaying)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range via {
		if !asked[c.Peer] {
			asked[c.Peer] = true
			s.joining++
			s.wg.Go(func() { s.joinIntroducer(c) })
		}
	}
	return len(asked) > 2
}

func (s *signals) joinIntroducer(c Contact) {
	_, err := s.pg.reachBy(s.ctx, Ticket{Contact: c}) // not by those that its record names, and theirs: records may name each other
	if err == nil {
		var p *peer
		if p, err = s.pg.peer(c.Peer); err == nil {
			s.ask(p)
			if s.pg.mayRelay(p.id) {
				s.relay(p, nil)
			}
			return
		}
	}
	s.failed(c.Peer, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.joining--; s.joining == 0 && s.opened.Err() == nil {
		close(s.hopeless)
	}
}

// ask opens a channel to the target through p and feeds what comes back to the
// endpoint until the context ends. An introducer that does not know the target
// is asked again, for the target may be about to join it, and so is one whose
// link to the target has just ended.
func (s *signals) ask(p *peer) {
	s.wg.Go(func() {
		for wait := askAgainFirst; s.ctx.Err() == nil; wait = min(2*wait, askAgainMost) {
			began := time.Now()
			err := s.askOnce(p)
			if s.ctx.Err() != nil {
				return
			}
			s.failed(p.id, err)
			var refused *relaymesh.RefusedError
			switch {
			case errors.As(err, &refused) && !refused.Temporary(), p.ctx.Err() != nil:
				return
			case refused != nil && refused.Code == relaymesh.RefusedRate:
				wait = askAgainMost
			case time.Since(began) >= askAgainMost: // it had worked for a while
				wait = askAgainFirst
			}
			pause(s.ctx, wait)
		}
	})
}

func (s *signals) askOnce(p *peer) error {
	ch, err := relaymesh.Introduce(s.ctx, p.opener(), s.target)
	if err != nil {
		return err
	}
	defer ch.Close()
	stop := context.AfterFunc(s.ctx, func() { ch.Close() })
	defer stop()
	s.add(ch)
	defer s.remove(ch)
	for {
		packet, err := ch.Recv()
		if err != nil {
			return err
		}
		s.pg.ep.HandleSignal(packet, ch)
	}
}

// add has handshake packets go by ch, too, the latest one at once.
func (s *signals) add(ch kcptransport.Signal) {
	s.mu.Lock()
	s.chans = append(s.chans, ch)
	last := bytes.Clone(s.last)
	s.mu.Unlock()
	s.open()
	if len(last) > 0 {
		_ = ch.Send(last) // lost, as any packet may be; a channel that fails shows in Recv
	}
}

// keepRelaying sets up circuits to the target, again and again until there is one: who relays may be heard of meanwhile.
func (s *signals) keepRelaying() {
	for wait := askAgainFirst; s.ctx.Err() == nil; wait = min(2*wait, askAgainMost) {
		if len(s.pg.hopefulTo(s.target)) == 0 {
			s.relays()
		}
		pause(s.ctx, wait)
	}
}

// relays sets up circuits to the target, so that there is a path as soon as the handshake is done: by way of relays that are known
// to lead there, and of introducers of which it is not known yet whether they relay.
func (s *signals) relays() {
	begins := map[kcptransport.PeerID]bool{}
	for _, route := range s.pg.routesTo(s.target, maxWarm) {
		p, err := s.pg.peer(route[0])
		switch {
		case err != nil || begins[p.id]:
			continue
		case len(route) > 1:
			s.relay(p, route[1:], nil) // what is known of p may be old
		default:
			s.relay(p, nil)
		}
		begins[p.id] = true
	}
	for _, p := range s.pg.introducersOf(s.target) {
		if !begins[p.id] && s.pg.mayRelay(p.id) {
			s.relay(p, nil)
		}
	}
}

// relay sets up a circuit that begins at p, by the first of the routes from there that works: only one at a time can. The
// handshake takes it as well where no introducer can carry it.
func (s *signals) relay(p *peer, routes ...[]kcptransport.PeerID) {
	if len(s.pg.hopefulTo(s.target)) >= maxWarm {
		return
	}
	s.wg.Go(func() {
		for _, route := range routes {
			c, err := s.pg.openCircuit(s.ctx, p, s.target, route)
			if err != nil {
				s.notRelayed(err)
				continue
			}
			if len(route) > 0 {
				s.add(c)
			}
			return
		}
	})
}

func (s *signals) remove(ch kcptransport.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chans = slices.DeleteFunc(slices.Clone(s.chans), func(o kcptransport.Signal) bool { return o == ch })
}

// failed remembers the latest that went wrong with an introducer.
func (s *signals) failed(introducer kcptransport.PeerID, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs[introducer] = fmt.Errorf("introducer %s: %w", introducer.Short(), err)
}

func (s *signals) notRelayed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var reset *kcptransport.ResetError
	switch {
	case s.ctx.Err() != nil, errors.Is(err, errSameRelay), s.noRelay != nil && errors.Is(err, errBarren):
		return // the end of the call, or another try, is no reason
	case errors.As(err, &reset) && reset.Remote && reset.Code == codeUnknownKind:
		err = errNoneRelays
	}
	s.noRelay = err
}

func (s *signals) whyNotRelayed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cmp.Or(s.noRelay, errNoRelay)
}

func (s *signals) errors() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.errs))
}

// introducersOf returns connected peers to ask for an introduction: those that are known to be neighbours of the target first, and
// among them relays, those to which there is a direct path, and near ones.
func (pg *Playground) introducersOf(target kcptransport.PeerID) []*peer {
	knows := map[kcptransport.PeerID]bool{}
	if info := pg.recordOf(target); info != nil {
		for _, n := range info.neighbours {
			knows[n] = true
		}
	}
	type introducer struct {
		*peer
		worth int
		rtt   time.Duration
	}
	var all []introducer
	for _, p := range pg.readyPeers() {
		if p.id == target {
			continue
		}
		i := introducer{peer: p}
		if knows[p.id] {
			i.worth += 4
		}
		if pg.knownToRelay(p.id) {
			i.worth += 2
		}
		if path, ok := p.link.Path(); ok {
			i.rtt = path.RTT
			if path.Path.Direct() {
				i.worth++
			}
		}
		all = append(all, i)
	}
	slices.SortStableFunc(all, func(a, b introducer) int { return cmp.Or(cmp.Compare(b.worth, a.worth), cmp.Compare(a.rtt, b.rtt)) })
	out := make([]*peer, 0, maxIntroducers)
	for _, i := range all[:min(len(all), maxIntroducers)] {
		out = append(out, i.peer)
	}
	return out
}
