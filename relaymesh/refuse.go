package relaymesh

import (
	"errors"
	"fmt"

	"github.com/2xppg/xppg/kcptransport"
)

// RefuseCode tells why an introduction, a circuit or a reservation was refused or ended. Its values are on the wire; unknown ones are of a later
// version.
type RefuseCode uint8

// The reasons of a refusal.
const (
	RefusedUnknown    RefuseCode = 1 // the introducer or relay has no link to the target
	RefusedBusy       RefuseCode = 2 // too many of what was asked for at once, of one peer or in total
	RefusedRate       RefuseCode = 3 // too many requests in a short time
	RefusedByTarget   RefuseCode = 4 // the target took no stream from the introducer or relay
	RefusedRequest    RefuseCode = 5 // the request was not understood: another version, or nonsense
	RefusedLimit      RefuseCode = 6 // the introduction or circuit used up its bytes or its time
	RefusedClosing    RefuseCode = 7 // the introducer or relay is shutting down
	RefusedDenied     RefuseCode = 8 // the relay's operator does not admit one of the peers next to it, or of the ends
	RefusedUnreserved RefuseCode = 9 // the target holds no reservation with the relay and has all the circuits that it can have without
)

// String returns the reason in a few words that a person can act on.
func (c RefuseCode) String() string { return c.text("request", "the peer that was asked") }

// text is String where it is known what was asked for, and of whom.
func (c RefuseCode) text(what, whom string) string {
	switch c {
	case RefusedUnknown:
		return whom + " has no link to that peer (ask one that has, or try later)"
	case RefusedBusy:
		return "too many " + what + "s at once (try again later)"
	case RefusedRate:
		return "too many " + what + "s in a short time (slow down)"
	case RefusedByTarget:
		return whom + " could not open a stream to that peer"
	case RefusedRequest:
		return "the request was not understood (is one side of another version?)"
	case RefusedLimit:
		return "its bytes or its time were used up"
	case RefusedClosing:
		return whom + " is shutting down (ask another)"
	case RefusedDenied:
		return "the relay does not serve this peer (ask its operator, or another relay)"
	case RefusedUnreserved:
		return "the peer holds no reservation there (reach it by a relay where it does)"
	}
	return fmt.Sprintf("refused with code %d", uint8(c))
}

// Asked is what a peer was asked for.
type Asked uint8

// What peers are asked for.
const (
	AskedIntroduction Asked = iota
	AskedCircuit
	AskedReservation
)

// String returns it as a noun.
func (a Asked) String() string {
	switch a {
	case AskedIntroduction:
		return "introduction"
	case AskedCircuit:
		return "circuit"
	case AskedReservation:
		return "reservation"
	}
	return "request"
}

// with returns what was asked for, and the peer that it is about.
func (a Asked) with(peer kcptransport.PeerID) string {
	if a == AskedReservation {
		return a.String() + " with " + peer.Short()
	}
	return a.String() + " to " + peer.Short()
}

// failed returns err with what was asked for, which a refusal tells itself.
func (a Asked) failed(peer kcptransport.PeerID, err error) error {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return err
	}
	return fmt.Errorf("relaymesh: %s: %w", a.with(peer), err)
}

// RefusedError is the error of a [Channel], a [Circuit] or a [Reservation] that the introducer or a relay, or the target, refused or
// ended. Whoever carries it can make one, so it is a hint and no proof.
type RefusedError struct {
	Asked  Asked
	Target kcptransport.PeerID // who was to be reached; of a reservation: with whom
	Code   RefuseCode
}

func (e *RefusedError) Error() string {
	whom := "the relay"
	if e.Asked == AskedIntroduction {
		whom = "the introducer"
	}
	return fmt.Sprintf("relaymesh: %s: %s", e.Asked.with(e.Target), e.Code.text(e.Asked.String(), whom))
}

// Temporary reports whether the same introducer or relay may be worth asking again after a while.
func (e *RefusedError) Temporary() bool {
	return e.Code != RefusedRequest && e.Code != RefusedDenied
}

// refusal returns the error for a code; none for 0.
func refusal(what Asked, target kcptransport.PeerID, code RefuseCode) error {
	if code == 0 {
		return nil
	}
	return &RefusedError{Asked: what, Target: target, Code: code}
}
