package api

import (
	"maps"
	"slices"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// tidings are the records that one peer is to be told and those that it is to be asked for. The zero value is not ready for
// use: see newTidings. Not for concurrent use.
//
// Who has a record of its own tells it whole. Others pass it on whole to a few; to the rest they offer it, with its time only,
// and who lacks it asks for it: where all are linked to all, nearly everybody has it already.
type tidings struct {
	tell    map[kcptransport.PeerID]bool  // whole, or offered
	offered map[kcptransport.PeerID]int64 // by the peer, and newer than what we had
	due     time.Time                     // when all of tell is to be sent; zero: nothing is
}

func newTidings() tidings {
	return tidings{tell: map[kcptransport.PeerID]bool{}, offered: map[kcptransport.PeerID]int64{}}
}

// add has a record told by a time, whole or as an offer.
func (t *tidings) add(id kcptransport.PeerID, whole bool, due time.Time) {
	t.tell[id] = t.tell[id] || whole
	t.due = sooner(t.due, due)
}

// known is called when the peer shows that it has a record of that time, which is as new as ours: there is no need to tell it, nor
// to ask for an older one.
func (t *tidings) known(id kcptransport.PeerID, made int64) {
	delete(t.tell, id)
	if t.offered[id] <= made {
		delete(t.offered, id)
	}
}

// offer notes that the peer has a record of that time.
func (t *tidings) offer(id kcptransport.PeerID, made int64) {
	if have, ok := t.offered[id]; (ok && have < made) || (!ok && len(t.offered) < maxRecords) {
		t.offered[id] = made
	}
}

// take returns up to maxBatch records that are to be told, once any is due.
func (t *tidings) take(now time.Time) (whole, offers []kcptransport.PeerID) {
	if t.due.IsZero() || now.Before(t.due) {
		return nil, nil
	}
	ids := slices.SortedFunc(maps.Keys(t.tell), kcptransport.PeerID.Compare)
	ids = ids[:min(len(ids), maxBatch)]
	for _, id := range ids {
		if t.tell[id] {
			whole = append(whole, id)
		} else {
			offers = append(offers, id)
		}
		delete(t.tell, id)
	}
	if len(t.tell) == 0 {
		t.due = time.Time{}
	}
	return whole, offers
}

// takeAsks returns up to maxBatch records to ask for. mayAsk tells of each that is offered from when on it may be asked for, zero: not at all,
// it is known meanwhile; what may be asked for now is. again is when to call it once more, zero: only after another offer.
func (t *tidings) takeAsks(now time.Time, mayAsk func(id kcptransport.PeerID, made int64) time.Time) (asks []kcptransport.PeerID, again time.Time) {
	for _, id := range slices.SortedFunc(maps.Keys(t.offered), kcptransport.PeerID.Compare) {
		if len(asks) == maxBatch {
			return asks, now
		}
		at := mayAsk(id, t.offered[id])
		if at.After(now) {
			again = sooner(again, at)
			continue
		}
		delete(t.offered, id)
		if !at.IsZero() {
			asks = append(asks, id)
		}
	}
	return asks, again
}

// sooner returns the earlier of two times, of which zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
