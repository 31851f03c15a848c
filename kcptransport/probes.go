package kcptransport

import "time"

// Limits of the probes a link waits for.
const (
	maxProbes   = 1024             // further ones push out the oldest
	probeExpiry = 10 * time.Second // a later answer counts for nothing
)

// outProbe is a probe to be sent.
type outProbe struct {
	path   Path
	token  uint64
	padded bool // to the size of a full data packet
	ttl    int  // 0: the socket's own
}

// probeLog remembers the probes that were sent and not answered, oldest first. Its zero value is empty.
type probeLog struct {
	waiting map[uint64]sentProbe
	order   []probeRef // may name probes that were answered already
}

type sentProbe struct {
	path   Path
	at     time.Time
	padded bool
}

type probeRef struct {
	token uint64
	at    time.Time
}

// add records a probe as sent.
func (l *probeLog) add(now time.Time, p outProbe) {
	if l.waiting == nil {
		l.waiting = make(map[uint64]sentProbe)
	}
	drop := 0
	for ; drop < len(l.order); drop++ {
		old := l.order[drop]
		_, waits := l.waiting[old.token]
		if waits && len(l.waiting) < maxProbes && now.Sub(old.at) < probeExpiry && len(l.order)-drop < 2*maxProbes {
			break
		}
		delete(l.waiting, old.token)
	}
	l.order = append(l.order[:0], l.order[drop:]...)
	l.order = append(l.order, probeRef{p.token, now})
	l.waiting[p.token] = sentProbe{path: p.path, at: now, padded: p.padded}
}

// take returns the probe that an answer with this token, come by path, belongs to, and forgets it.
func (l *probeLog) take(now time.Time, path Path, token uint64) (sentProbe, bool) {
	p, ok := l.waiting[token]
	if !ok || p.path != path {
		return sentProbe{}, false
	}
	delete(l.waiting, token)
	return p, now.Sub(p.at) < probeExpiry
}
