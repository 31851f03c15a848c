package relaymesh

import (
	"fmt"

	"github.com/2xppg/xppg/kcptransport"
)

// RefuseCode tells why an introduction was refused or ended. Its values are on the wire; unknown ones are of a later
// version.
type RefuseCode uint8

// The reasons of a refusal.
const (
	RefusedUnknown    RefuseCode = 1 // the introducer has no link to the target
	RefusedBusy       RefuseCode = 2 // too many introductions at once, of one peer or in total
	RefusedRate       RefuseCode = 3 // too many introductions in a short time
	RefusedByTarget   RefuseCode = 4 // the target took no stream from the introducer
	RefusedRequest    RefuseCode = 5 // the request was not understood: another version, or nonsense
	RefusedLimit      RefuseCode = 6 // the introduction used up its bytes or its time
	RefusedClosing    RefuseCode = 7 // the introducer is shutting down
	RefusedDenied     RefuseCode = 8 // the relay's operator does not admit one of the peers next to it, or of the ends
	RefusedUnreserved RefuseCode = 9 // the target holds no reservation with the relay and has all the circuits that it can have without
)

// String returns the reason in a few words that a person can act on.
func (c RefuseCode) String() string {
	switch c {
	case RefusedUnknown:
		return "the introducer has no link to that peer (ask one that has, or try later)"
	case RefusedBusy:
		return "too many introductions at once (try again later)"
	case RefusedRate:
		return "too many introductions in a short time (slow down)"
	case RefusedByTarget:
		return "the introducer could not open a stream to that peer"
	case RefusedRequest:
		return "the request was not understood (is one side of another version?)"
	case RefusedLimit:
		return "its bytes or its time were used up"
	case RefusedClosing:
		return "the introducer is shutting down (ask another)"
	case RefusedDenied:
		return "the relay does not serve this peer (ask its operator, or another relay)"
	case RefusedUnreserved:
		return "the peer holds no reservation there (reach it by a relay where it does)"
	}
	return fmt.Sprintf("refused with code %d", uint8(c))
}

// RefusedError is the error of a [Channel] that the introducer, or the target, refused or ended. Whoever carries the
// channel can make one, so it is a hint and no proof.
type RefusedError struct {
	Target kcptransport.PeerID // who was to be reached
	Code   RefuseCode
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("relaymesh: introduction to %s: %s", e.Target.Short(), e.Code)
}

// Temporary reports whether the same introducer may be worth asking again after a while.
func (e *RefusedError) Temporary() bool {
	return e.Code != RefusedRequest && e.Code != RefusedDenied
}

// refusal returns the error for a code; none for 0.
func refusal(target kcptransport.PeerID, code RefuseCode) error {
	if code == 0 {
		return nil
	}
	return &RefusedError{Target: target, Code: code}
}
