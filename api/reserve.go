package api

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/relaymesh"
)

// How a node chooses the relays by which others reach it.
const (
	maxReservations  = 3
	reserveLook      = time.Minute            // between looks at what there is
	reservePause     = 300 * time.Millisecond // between two looks, to gather what changes together
	reserveRetry     = time.Minute            // after a relay refused, doubled each time
	reserveRetryMost = 30 * time.Minute
	reserveSettled   = 10 * time.Minute // that a relay is kept, though there may be a much better one
	reserveRotate    = 6 * time.Hour    // after which another one takes its place if there is one, a quarter more or less
)

// Reservation is a relay's promise to let others reach this node.
type Reservation struct {
	Relay  kcptransport.PeerID
	Limits relaymesh.Limits // of the circuits
	Since  time.Time
}

// heldReservation is one that is being kept.
type heldReservation struct {
	Reservation
	rotate time.Time
	end    context.CancelFunc
}

// Reservations returns what relays promise this node, ordered by their ID.
func (pg *Playground) Reservations() []Reservation {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	out := make([]Reservation, 0, len(pg.reserved))
	for _, r := range pg.reserved {
		out = append(out, r.Reservation)
	}
	slices.SortFunc(out, func(a, b Reservation) int { return a.Relay.Compare(b.Relay) })
	return out
}

// promised returns 1 when a relay holds a reservation of ours, and 0 otherwise.
func (pg *Playground) promised(relay kcptransport.PeerID) int {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	if _, ok := pg.reserved[relay]; ok {
		return 1
	}
	return 0
}

// keepReservations has a few relays promise to let others reach us, as long as we are none ourselves.
func (pg *Playground) keepReservations() {
	tries := map[kcptransport.PeerID]*retry{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for woken(pg.ctx, timer, pg.reserveWake) {
		pg.reserve(tries)
		if !pause(pg.ctx, reservePause) {
			return
		}
		timer.Reset(reserveLook)
	}
}

// reserve asks for what is missing, and has another relay take the place of one whose time has come.
func (pg *Playground) reserve(tries map[kcptransport.PeerID]*retry) {
	if pg.Relaying() || pg.draining.Load() {
		pg.giveBack(func(heldReservation) bool { return true })
		return
	}
	now := time.Now()
	near := pg.nearRelays()
	for id := range tries {
		if !slices.ContainsFunc(near, func(r relaymesh.RelayInfo) bool { return r.ID == id }) {
			delete(tries, id)
		}
	}
	pg.mu.Lock()
	plan := planReservations(now, near, pg.reserved, func(id kcptransport.PeerID) bool { return tries[id] == nil || tries[id].due(now) })
	pg.mu.Unlock()
	var wg sync.WaitGroup
	errs := make([]error, len(plan.ask))
	for i, id := range plan.ask {
		wg.Go(func() { errs[i] = pg.reserveAt(id) })
	}
	wg.Wait()
	for i, id := range plan.ask {
		if errs[i] == nil {
			delete(tries, id)
			continue
		}
		if tries[id] == nil {
			tries[id] = &retry{}
		}
		tries[id].failed(time.Now(), reserveRetry, reserveRetryMost)
	}
	if !plan.leave.IsZero() && errs[0] == nil {
		pg.giveBack(func(r heldReservation) bool { return r.Relay == plan.leave })
	}
}

// reservePlan is whom to ask, and whom to leave once the first of them has agreed.
type reservePlan struct {
	ask   []kcptransport.PeerID
	leave kcptransport.PeerID // zero for none
}

// planReservations decides what is to be done. may tells whether a relay may be asked now.
func planReservations(now time.Time, near []relaymesh.RelayInfo, held map[kcptransport.PeerID]heldReservation, may func(kcptransport.PeerID) bool) (plan reservePlan) {
	var mine, others []relaymesh.RelayInfo
	for _, r := range near {
		if _, ok := held[r.ID]; ok {
			mine = append(mine, r)
		} else if may(r.ID) {
			others = append(others, r)
		}
	}
	for len(held)+len(plan.ask) < maxReservations && len(others) > 0 {
		i := relaymesh.Cheapest(others, mine)
		plan.ask = append(plan.ask, others[i].ID)
		mine, others = append(mine, others[i]), slices.Delete(others, i, i+1)
	}
	if len(plan.ask) > 0 || len(others) == 0 {
		return plan
	}
	for i, r := range mine {
		rest := slices.Delete(slices.Clone(mine), i, i+1)
		best := others[relaymesh.Cheapest(others, rest)]
		h := held[r.ID]
		much := now.Sub(h.Since) >= reserveSettled && best.Cost(rest) < r.Cost(rest)*6/10
		if much || !now.Before(h.rotate) {
			return reservePlan{ask: []kcptransport.PeerID{best.ID}, leave: r.ID}
		}
	}
	return plan
}

// reserveAt gets a reservation and keeps it while there is a link to the relay.
func (pg *Playground) reserveAt(id kcptransport.PeerID) error {
	p, err := pg.peer(id)
	if err != nil {
		return err
	}
	wire, err := relaymesh.Reserve(p.ctx, p.id, p.opener())
	if err != nil {
		return err
	}
	now := time.Now()
	ctx, end := context.WithCancel(p.ctx)
	h := heldReservation{Reservation: Reservation{Relay: id, Limits: wire.Limits, Since: now}, end: end}
	h.rotate = now.Add(reserveRotate*3/4 + time.Duration(pg.randomUint64()%uint64(reserveRotate/2)))
	pg.mu.Lock()
	pg.reserved[id] = h
	pg.mu.Unlock()
	wire.OnRenewed = func() { pg.noteLimits(id, wire.Limits) }
	pg.wakeMesh() // our record names it
	pg.wg.Go(func() {
		defer end()
		_ = wire.Keep(ctx) // why does not matter: another one is asked
		pg.mu.Lock()
		delete(pg.reserved, id)
		pg.mu.Unlock()
		pg.wakeMesh()
		wake(pg.reserveWake)
	})
	return nil
}

// noteLimits takes note of limits that a relay told when a reservation was renewed.
func (pg *Playground) noteLimits(id kcptransport.PeerID, l relaymesh.Limits) {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	if h, ok := pg.reserved[id]; ok {
		h.Limits = l
		pg.reserved[id] = h
	}
}

func (pg *Playground) giveBack(which func(heldReservation) bool) {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	for _, h := range pg.reserved {
		if which(h) {
			h.end()
		}
	}
}
