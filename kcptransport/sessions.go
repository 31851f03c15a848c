package kcptransport

import (
	"slices"
	"time"
)

// Limits and times of sessions.
const (
	maxSessions = 3
	// rekeyAfterTime is how long a session is used before new keys are made.
	rekeyAfterTime = time.Hour
	// rekeyPause is the time between two attempts at that.
	rekeyPause = time.Minute
	// confirmLimit is how long a session is confirmed under which the peer is not heard, although it is under another one.
	confirmLimit = 10 * time.Second
	// sessionRetirement is how long packets in flight may still use keys that have been replaced.
	sessionRetirement = 30 * time.Second
)

// session is one set of keys of a link. It lives from its handshake until newer keys have replaced it.
type session struct {
	localIndex, remoteIndex uint32
	keys                    *sessionKeys
	since                   time.Time
	next                    uint64    // packet number to use next
	initiator               bool      // this side began
	heard                   time.Time // the first packet of the peer that opened under these keys; zero: none
	used                    time.Time // the last one
	finish                  []byte    // XX3, until heard
	finishAt                time.Time // when to confirm the session again; zero: the peer was heard
}

// seal makes the next data packet out of frames, which lie behind dst where they will be encrypted.
func (s *session) seal(dst, frames []byte) []byte {
	b := s.keys.seal(dst[:0], s.remoteIndex, s.next, frames)
	s.next++
	return b
}

// exhausted reports whether nothing more may be sealed.
func (s *session) exhausted() bool { return s.next >= maxSessionPackets }

// sessions are the keys of a link, oldest first.
type sessions struct {
	list  []*session
	lower bool // our PeerID is the lower one
}

// find returns the session a packet is for, or nil.
func (l *sessions) find(index uint32) *session {
	for _, s := range l.list {
		if s.localIndex == index {
			return s
		}
	}
	return nil
}

// best returns the session to send with, nil when there is none: the newest of those that the peer is known to have.
// Two that were made at about the same time are both sides' attempts at the same: then it is the one that the lower
// PeerID began, so that both sides choose alike.
func (l *sessions) best() *session {
	var best *session
	for _, s := range l.list {
		if best == nil || l.better(s, best) {
			best = s
		}
	}
	return best
}

// better reports whether s, which is newer, is to be preferred to old.
func (l *sessions) better(s, old *session) bool {
	switch {
	case s.exhausted() != old.exhausted():
		return old.exhausted()
	case s.heard.IsZero() != old.heard.IsZero():
		return !s.heard.IsZero()
	case s.since.Sub(old.since) > guessTime || s.initiator == old.initiator:
		return true
	}
	return s.initiator == l.lower
}

// add enters a session and returns one that had to give way for it, or nil: the one that was of no use for longest.
func (l *sessions) add(s *session) (dropped *session) {
	if len(l.list) == maxSessions {
		best := l.best()
		for _, s := range l.list {
			if s != best && (dropped == nil || later(s.since, s.used).Before(later(dropped.since, dropped.used))) {
				dropped = s
			}
		}
		l.remove(dropped)
	}
	l.list = append(l.list, s)
	return dropped
}

func (l *sessions) remove(s *session) {
	l.list = slices.DeleteFunc(l.list, func(other *session) bool { return other == s })
}

// retire removes and returns a session that was replaced long enough ago, or nil.
func (l *sessions) retire(now time.Time) *session {
	for _, s := range l.list {
		if at := l.retireAt(s); !at.IsZero() && !now.Before(at) {
			l.remove(s)
			return s
		}
	}
	return nil
}

// retireAt returns when s may go; zero: not yet. It stays while the peer uses it: the peer may not agree that another
// one is better, because it saw the two begin at other times.
func (l *sessions) retireAt(s *session) time.Time {
	best := l.best()
	if best.heard.IsZero() || best.since.Sub(s.since) <= guessTime {
		return time.Time{}
	}
	return later(best.heard, s.used).Add(sessionRetirement)
}

// next returns when there is something to confirm or to retire.
func (l *sessions) next() (at time.Time) {
	for _, s := range l.list {
		at = earlier(at, earlier(s.finishAt, l.retireAt(s)))
	}
	return at
}

// rekeyAt returns when s needs to be replaced, as far as this side has to see to that: after a time, if it began the
// session; at once, if it has sent as much as the cipher is good for (RFC 9001 section 6.6).
func (s *session) rekeyAt(now time.Time) time.Time {
	switch {
	case s.heard.IsZero():
		return time.Time{}
	case s.next >= rekeyAfterPackets:
		return now
	case s.initiator:
		return s.since.Add(rekeyAfterTime)
	}
	return time.Time{}
}
