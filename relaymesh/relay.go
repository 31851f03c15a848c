package relaymesh

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// RelayConfig says what a [Relay] gives.
type RelayConfig struct {
	// ID is who the relay is; required.
	ID kcptransport.PeerID

	// Switch carries the packets; required.
	Switch *Switch

	// Open opens a stream of a kind to a peer to which there is a link; required. It must not dial: who asks for a circuit
	// must not be able to make this node connect to others. It returns ErrUnknownPeer when there is no link.
	Open func(ctx context.Context, peer kcptransport.PeerID, kind string) (Stream, error)

	// Neighbor returns where a peer is to which there is a link; required.
	Neighbor func(peer kcptransport.PeerID) (Neighbor, bool)

	// Where returns the IP address of a neighbour, by which the network is told that it counts with. Default: that of where packets to it go,
	// which says nothing where they go by a connection.
	Where func(Neighbor) netip.Addr

	// Limits is what one peer may have, and what it is told. 0 circuits means 256, negative no limit. [Relay.SetLimits] changes them.
	Limits Limits

	// PerNetwork is how many circuits the peers of one IPv4 /24 or IPv6 /48 may ask for. Default 1,024, negative no limit.
	PerNetwork int

	// Reservations is how many there may be at once. Default 4,096, negative no limit.
	Reservations int

	// Admit says whether the relay carries packets from and to a peer. It is asked about the neighbours of a circuit, and about
	// the ends of one that goes by way of other relays, whose address is invalid: only who they are is known, the first one by the
	// word of the relays before us. Default: every one. It may be called by several goroutines. When its answers change, call
	// [Relay.Recheck].
	Admit func(Neighbor) bool
}

// RelayStats are the counters of a [Relay] since it was made.
type RelayStats struct {
	Circuits     int                   // now
	Reservations int                   // now
	Granted      uint64                // circuits that came about
	Refused      map[RefuseCode]uint64 // circuits and reservations refused, and ended by us
}

// Relay sets up circuits through this node. It has no goroutines of its own: they all live within calls of Serve. Its
// methods may be called from any goroutine.
type Relay struct {
	cfg RelayConfig

	mu     sync.Mutex
	limits Limits
	stats  RelayStats
	quota  *relayQuota

	reserved     *reserved
	reservations map[*reservation]bool
	transits     map[*transit]bool
	drained      chan struct{} // nil until Drain; closed when no circuit is left
}

// NewRelay returns a relay that works as cfg says.
func NewRelay(cfg RelayConfig) *Relay {
	r := &Relay{cfg: cfg, quota: newRelayQuota(cfg.PerNetwork), stats: RelayStats{Refused: map[RefuseCode]uint64{}}, transits: map[*transit]bool{},
		reserved: newReserved(cfg.Reservations), reservations: map[*reservation]bool{}}
	r.SetLimits(cfg.Limits)
	return r
}

// Stats returns the counters.
func (r *Relay) Stats() RelayStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Reservations = r.reserved.total
	s.Refused = maps.Clone(r.stats.Refused)
	return s
}

// Serve serves a stream of kind [KindCircuit] that peer from opened, as long as the circuit lasts or until ctx ends, and
// closes it. The error tells why there was no circuit, or why it did not end by itself.
func (r *Relay) Serve(ctx context.Context, from kcptransport.PeerID, stream Stream) error {
	defer stream.Close()
	defer interruptOn(ctx, stream)()
	err := r.serve(ctx, from, stream)
	if err == nil {
		return nil
	}
	var refused *RefusedError
	if errors.As(err, &refused) {
		r.refused(refused.Code)
		tell(stream, refused.Code)
	}
	return fmt.Errorf("relaymesh: relaying for %s: %w", from.Short(), err)
}

func (r *Relay) where(n Neighbor) netip.Addr {
	if r.cfg.Where != nil {
		return r.cfg.Where(n)
	}
	return n.Addr().Addr()
}

func (r *Relay) refused(code RefuseCode) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Refused[code]++
}

func (r *Relay) nonsense(from kcptransport.PeerID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.quota.nonsense(time.Now(), from)
}

func (r *Relay) flood(from kcptransport.PeerID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.quota.flood(time.Now(), from)
}

func (r *Relay) serve(ctx context.Context, from kcptransport.PeerID, stream Stream) error {
	r.mu.Lock()
	now := time.Now()
	banned := r.quota.banned(now, from)
	code := r.quota.ask(now, from)
	r.mu.Unlock()
	if banned {
		return refusal(AskedCircuit, kcptransport.PeerID{}, RefusedRate)
	}
	patience := acceptTimeout
	if code != 0 { // it is read only to tell whose request it is
		patience = shortPatience
	}
	if err := setDeadline(ctx, patience, stream); err != nil {
		return err
	}
	frame, err := readFrame(stream, make([]byte, maxFrameBytes))
	if err != nil {
		return fmt.Errorf("reading what it asks for: %w", err)
	}
	a, err := parseAsk(frame, r.cfg.ID, from)
	if err != nil {
		if !errors.Is(err, errVersion) {
			r.nonsense(from)
		}
		return fmt.Errorf("%w: %w", refusal(AskedCircuit, a.target, RefusedRequest), err)
	}
	if code != 0 {
		if a.origin() == from && code == RefusedRate { // a relay is not to blame for what others ask of it
			r.flood(from)
		}
		return refusal(AskedCircuit, a.target, code)
	}
	before, ok := r.cfg.Neighbor(from)
	if !ok {
		return refusal(AskedCircuit, a.target, RefusedUnknown)
	}
	net := network(r.where(before))
	if err := r.begin(from, net, a); err != nil {
		return err
	}
	defer r.end(from, net, a)
	return r.connect(ctx, before, a, stream)
}

// begin counts a circuit.
func (r *Relay) begin(from kcptransport.PeerID, net netip.Prefix, a ask) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.drained != nil {
		return refusal(AskedCircuit, a.target, RefusedClosing)
	}
	if code := r.quota.begin(from, net); code != 0 {
		return refusal(AskedCircuit, a.target, code)
	}
	if a.last() {
		if code := r.reserved.reach(a.origin(), from, net, a.target, r.quota.perPeer); code != 0 {
			r.quota.end(from, net)
			return refusal(AskedCircuit, a.target, code)
		}
	}
	r.stats.Circuits++
	return nil
}

func (r *Relay) end(from kcptransport.PeerID, net netip.Prefix, a ask) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stats.Circuits--; r.stats.Circuits == 0 && r.drained != nil {
		close(r.drained)
	}
	r.quota.end(from, net)
	if a.last() {
		r.reserved.leave(a.origin(), from, net, a.target)
	}
}

// connect makes our part of the circuit, has the next hop make its own, and waits for the end.
func (r *Relay) connect(ctx context.Context, before Neighbor, a ask, asking Stream) error {
	next, kind := a.target, KindRelayed
	if !a.last() {
		next, kind = a.route[0], KindCircuit
	}
	behind, known := r.cfg.Neighbor(next)
	if !known {
		return refusal(AskedCircuit, a.target, RefusedUnknown)
	}
	t := &transit{sides: [2]Neighbor{before, behind}, ends: [2]kcptransport.PeerID{a.origin(), a.target}, end: make(chan RefuseCode, 1)}
	if !r.admitsAll(t) {
		return refusal(AskedCircuit, a.target, RefusedDenied)
	}
	limits := r.limitsNow()
	conn, err := r.cfg.Switch.Connect(before, behind, limits)
	if errors.Is(err, ErrFull) {
		return refusal(AskedCircuit, a.target, RefusedBusy)
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetRemote(SideA, a.label)

	asked, err := r.open(ctx, next, kind)
	switch {
	case errors.Is(err, ErrUnknownPeer):
		return refusal(AskedCircuit, a.target, RefusedUnknown)
	case err != nil:
		return fmt.Errorf("%w: %w", refusal(AskedCircuit, a.target, RefusedByTarget), err)
	}
	defer asked.Close()
	if err := setDeadline(ctx, setupTimeout, asked, asking); err != nil {
		return err
	}
	defer interruptOn(ctx, asked)()
	told := r.told(limits)
	g, err := r.agree(asked, a, conn.LabelFor(SideB), told)
	if err != nil {
		var refused *RefusedError
		if !errors.As(err, &refused) {
			err = fmt.Errorf("%w: %w", refusal(AskedCircuit, a.target, RefusedByTarget), err)
		}
		return err
	}
	conn.SetRemote(SideB, g.label)
	g.label, g.limits = conn.LabelFor(SideA), g.limits.narrow(told)
	g.relays = slices.Insert(g.relays, 0, r.cfg.ID)
	if _, err := asking.Write(g.frame()); err != nil {
		return err
	}
	r.mu.Lock()
	r.stats.Granted++
	r.mu.Unlock()
	t.streams = [2]Stream{asking, asked}
	r.enter(t)
	defer r.leave(t)
	return r.wait(ctx, a.target, conn, t)
}

func (r *Relay) open(ctx context.Context, next kcptransport.PeerID, kind string) (Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, acceptTimeout)
	defer cancel()
	return r.cfg.Open(ctx, next, kind)
}

// agree tells the next hop what is asked for and returns its answer.
func (r *Relay) agree(asked Stream, a ask, label uint32, told Limits) (granted, error) {
	passed := append(slices.Clone(a.passed), r.cfg.ID)
	var frame []byte
	if !a.last() {
		frame = ask{target: a.target, label: label, passed: passed, route: a.route[1:]}.frame()
	} else {
		frame = offer{origin: passed[0], label: label, limits: told, relays: passed[1:]}.frame()
	}
	if _, err := asked.Write(frame); err != nil {
		return granted{}, err
	}
	g, err := readGranted(asked, a.target)
	if err == nil && !slices.Equal(g.relays, a.route) {
		err = errOtherRoute
	}
	return g, err
}

// wait returns when one of the streams has ended, the circuit has used up what it may, or ctx or t has ended.
func (r *Relay) wait(ctx context.Context, target kcptransport.PeerID, conn *Connection, t *transit) error {
	for _, s := range t.streams {
		if err := s.SetDeadline(time.Time{}); err != nil {
			return err
		}
	}
	ended := make(chan error, len(t.streams))
	var reading sync.WaitGroup
	defer reading.Wait()
	for i, s := range t.streams {
		reading.Go(func() { ended <- waitEnd(s, target, func() { t.tellToMove(1 - i) }) })
	}
	err := t.last(ctx, target, conn, ended)
	var refused *RefusedError
	if errors.As(err, &refused) {
		tell(t.streams[1], refused.Code) // the other one is told by Serve
	}
	for _, s := range t.streams {
		_ = s.SetDeadline(time.Unix(1, 0)) // so that nobody reads on; a stream that has ended needs it not
	}
	return err
}
