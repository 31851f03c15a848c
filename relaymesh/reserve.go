package relaymesh

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// What a relay promises.
const (
	reservationTime  = 30 * time.Minute
	reservationGrace = time.Minute // that a renewal may be late
	maxReservations  = 4096
	netReservations  = 256 // of one IPv4 /24 or IPv6 /48
	peerReservations = 2   // of one peer: the second one while the first one's link is ending
	circuitsUnasked  = 8   // at once, to a peer that holds no reservation
)

// What of the circuits to one target may be those of one side, so that nobody keeps all others from reaching it by this relay. A peer
// has one to another by way of a relay, and for a moment those that it has just left: 16 are plenty. Where there are few in all, one has
// half of them. Who asked first is the word of who asks us, for whom it counts only, and keys cost nothing, so that the network counts as well
// of which we are asked: many peers of one customer, or a relay, may have half.
const (
	circuitsToOne    = 16
	unaskedToOne     = circuitsUnasked / 2
	netCircuitsToOne = circuitsPerPeer / 2
)

// asker is a network, a peer that asks us, or one for whom another asks us, and who that is, that has circuits to a target.
type asker[T netip.Prefix | kcptransport.PeerID | [2]kcptransport.PeerID] struct {
	by     T
	target kcptransport.PeerID
}

// reserved counts the reservations that a relay has given, and the circuits to those who have none. The caller locks.
type reserved struct {
	most, perNetwork int
	peers            map[kcptransport.PeerID]int
	networks         map[netip.Prefix]int
	total            int
	targets          map[kcptransport.PeerID]int // circuits to each
	origins          map[asker[[2]kcptransport.PeerID]]int
	askers           map[asker[kcptransport.PeerID]]int
	askingNets       map[asker[netip.Prefix]]int
}

func newReserved(most int) *reserved {
	return &reserved{
		most: limitOr(most, maxReservations), perNetwork: netReservations,
		peers: map[kcptransport.PeerID]int{}, networks: map[netip.Prefix]int{}, targets: map[kcptransport.PeerID]int{},
		origins: map[asker[[2]kcptransport.PeerID]]int{}, askers: map[asker[kcptransport.PeerID]]int{}, askingNets: map[asker[netip.Prefix]]int{},
	}
}

func (r *reserved) begin(peer kcptransport.PeerID, net netip.Prefix) RefuseCode {
	if r.total >= r.most || r.peers[peer] >= peerReservations || r.networks[net] >= r.perNetwork {
		return RefusedBusy
	}
	r.total++
	r.peers[peer]++
	r.networks[net]++
	return 0
}

func (r *reserved) end(peer kcptransport.PeerID, net netip.Prefix) {
	r.total--
	decrease(r.peers, peer)
	decrease(r.networks, net)
}

// reach counts a circuit that ends at a target, for who asked first as by, who asks us, says, and for the network of by. After 0 the caller
// calls leave when it is over.
func (r *reserved) reach(origin, by kcptransport.PeerID, net netip.Prefix, target kcptransport.PeerID, most int) RefuseCode {
	from, fromBy, fromNet := asker[[2]kcptransport.PeerID]{[2]kcptransport.PeerID{origin, by}, target}, asker[kcptransport.PeerID]{by, target}, asker[netip.Prefix]{net, target}
	each, eachBy := circuitsToOne, netCircuitsToOne
	if r.peers[target] == 0 {
		if r.targets[target] >= circuitsUnasked {
			return RefusedUnreserved
		}
		each, eachBy = unaskedToOne, unaskedToOne
	}
	if r.targets[target] >= most || r.origins[from] >= each || r.askers[fromBy] >= eachBy || r.askingNets[fromNet] >= netCircuitsToOne {
		return RefusedBusy
	}
	r.targets[target]++
	r.origins[from]++
	r.askers[fromBy]++
	r.askingNets[fromNet]++
	return 0
}

func (r *reserved) leave(origin, by kcptransport.PeerID, net netip.Prefix, target kcptransport.PeerID) {
	decrease(r.targets, target)
	decrease(r.origins, asker[[2]kcptransport.PeerID]{[2]kcptransport.PeerID{origin, by}, target})
	decrease(r.askers, asker[kcptransport.PeerID]{by, target})
	decrease(r.askingNets, asker[netip.Prefix]{net, target})
}

// decrease counts down, and forgets what reaches 0.
func decrease[K comparable](m map[K]int, k K) {
	if m[k]--; m[k] <= 0 {
		delete(m, k)
	}
}

// ServeReserve serves a stream of kind [KindReserve] that peer from opened, as long as the reservation is renewed or until ctx
// ends, and closes it.
func (r *Relay) ServeReserve(ctx context.Context, from kcptransport.PeerID, stream Stream) error {
	defer stream.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer interruptOn(ctx, stream)()
	err := r.reserve(ctx, cancel, from, stream)
	var refused *RefusedError
	if cause := context.Cause(ctx); errors.As(cause, &refused) || errors.As(err, &refused) {
		r.refused(refused.Code)
		tell(stream, refused.Code)
	}
	if err == nil || ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("relaymesh: reservation of %s: %w", from.Short(), err)
}

func (r *Relay) reserve(ctx context.Context, end context.CancelCauseFunc, from kcptransport.PeerID, stream Stream) error {
	if err := setDeadline(ctx, acceptTimeout, stream); err != nil {
		return err
	}
	var held *reservation
	defer func() { r.giveBack(held) }()
	for {
		frame, err := readFrame(stream, make([]byte, maxFrameBytes))
		if err != nil {
			return err
		}
		if _, err := firstFrame(frame, frameReserve); err != nil {
			if !errors.Is(err, errVersion) {
				r.nonsense(from)
			}
			return fmt.Errorf("%w: %w", refusal(AskedReservation, from, RefusedRequest), err)
		}
		before, known := r.cfg.Neighbor(from)
		if !known {
			return refusal(AskedReservation, from, RefusedUnknown)
		}
		if !r.admits(before) {
			return refusal(AskedReservation, from, RefusedDenied)
		}
		if held, err = r.promise(held, before, end); err != nil {
			return err
		}
		if err := setDeadline(ctx, reservationTime+reservationGrace, stream); err != nil {
			return err
		}
		if _, err := stream.Write(reservedFrame(r.told(r.limitsNow()), reservationTime)); err != nil {
			return err
		}
	}
}

// reservation is one that was given.
type reservation struct {
	by  Neighbor
	net netip.Prefix
	end context.CancelCauseFunc
}

// promise counts a reservation, or one more renewal of it.
func (r *Relay) promise(held *reservation, by Neighbor, end context.CancelCauseFunc) (*reservation, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.drained != nil {
		return held, refusal(AskedReservation, by.Peer(), RefusedClosing)
	}
	if code := r.quota.ask(time.Now(), by.Peer()); code != 0 {
		if code == RefusedRate {
			r.quota.flood(time.Now(), by.Peer())
		}
		return held, refusal(AskedReservation, by.Peer(), code)
	}
	if held != nil {
		return held, nil
	}
	net := network(r.where(by))
	if code := r.reserved.begin(by.Peer(), net); code != 0 {
		return nil, refusal(AskedReservation, by.Peer(), code)
	}
	held = &reservation{by: by, net: net, end: end}
	r.reservations[held] = true
	return held, nil
}

func (r *Relay) giveBack(held *reservation) {
	if held == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.reservations, held)
	r.reserved.end(held.by.Peer(), held.net)
}

// endReservations ends those that wanted says.
func (r *Relay) endReservations(code RefuseCode, wanted func(*reservation) bool) {
	r.mu.Lock()
	var ending []*reservation
	for held := range r.reservations {
		ending = append(ending, held)
	}
	r.mu.Unlock()
	for _, held := range ending {
		if wanted(held) {
			held.end(refusal(AskedReservation, held.by.Peer(), code))
		}
	}
}
