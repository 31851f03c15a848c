package kcptransport

import (
	"encoding/binary"
	"time"
)

// linkID tells the links of an endpoint to one peer apart. In a Hello it is 8 bytes.
//
// It lets a peer see whether a new session belongs to the link it has, because both dialled at once or keys are
// renewed, or to a new link, because the other side was restarted or gave the old one up. In XX2 it is a guess: whom it
// is for is not known yet, so the sender may turn out to have a link, or another handshake, with that peer already. The
// guess gives way to what another handshake says for a while.
type linkID struct {
	boot   uint32 // random, one for each endpoint
	number uint32 // counts its links
}

// linkName is what we call a link in a handshake.
type linkName struct {
	linkID
	of *Link // that is called so, nil while there is none
}

// guessTime is for how long an ID from XX2 may turn out to be another one of the same endpoint.
const guessTime = 10 * time.Second

func parseLinkID(b [8]byte) linkID {
	return linkID{binary.BigEndian.Uint32(b[:]), binary.BigEndian.Uint32(b[4:])}
}

func (id linkID) bytes() (b [8]byte) {
	binary.BigEndian.PutUint32(b[:], id.boot)
	binary.BigEndian.PutUint32(b[4:], id.number)
	return b
}

// remoteID is what the peer calls a link.
type remoteID struct {
	linkID
	guess bool // it comes from XX2
}

// matches reports whether the two may be the same link.
func (id remoteID) matches(other remoteID) bool {
	return id.linkID == other.linkID || id.boot == other.boot && (id.guess || other.guess)
}

// isSame reports whether a session of which the peer says that it belongs to its link theirs belongs to l.
func (l *Link) isSame(theirs remoteID, now time.Time) bool {
	known := l.remote
	known.guess = known.guess && now.Sub(l.created) < guessTime
	return known.matches(theirs)
}
