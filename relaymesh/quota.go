package relaymesh

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/2xppg/xppg/kcptransport"
)

// quota decides whether one more introduction may begin. It is pure: now comes from outside, and the caller locks.
type quota struct {
	cfg    IntroducerConfig
	active int
	swept  time.Time
	peers  map[kcptransport.PeerID]*peerQuota
}

type peerQuota struct {
	asking, asked int // introductions going on that it asked for, and of which it is the target
	bucket        *rate.Limiter
}

const (
	maxQuotaPeers = 8192        // bounds the memory for peers of the recent past: about 200 bytes each
	sweepEvery    = time.Second // at most, so that a crowd of new peers does not make every request look at all of them
)

func newQuota(cfg IntroducerConfig) *quota {
	return &quota{cfg: cfg, peers: map[kcptransport.PeerID]*peerQuota{}}
}

// request counts a request of from, whether it is then admitted or not, so that asking costs the one who asks.
func (q *quota) request(now time.Time, from kcptransport.PeerID) RefuseCode {
	p := q.peer(now, from)
	switch {
	case p == nil:
		return RefusedBusy
	case !p.bucket.AllowN(now, 1):
		return RefusedRate
	}
	return 0
}

// begin admits an introduction of from to target, or tells why not. After 0 the caller calls end when it is over.
func (q *quota) begin(now time.Time, from, target kcptransport.PeerID) RefuseCode {
	f, t := q.peer(now, from), q.peer(now, target)
	if f == nil || t == nil || q.active >= q.cfg.Total || f.asking >= q.cfg.PerPeer || t.asked >= q.cfg.PerTarget {
		return RefusedBusy
	}
	q.active++
	f.asking++
	t.asked++
	return 0
}

func (q *quota) end(from, target kcptransport.PeerID) {
	q.active--
	q.peers[from].asking--
	q.peers[target].asked--
}

// peer returns the account of id, or nil when there are too many.
func (q *quota) peer(now time.Time, id kcptransport.PeerID) *peerQuota {
	if p := q.peers[id]; p != nil {
		return p
	}
	if len(q.peers) >= maxQuotaPeers && now.Sub(q.swept) >= sweepEvery {
		q.swept = now
		q.sweep(now)
	}
	if len(q.peers) >= maxQuotaPeers {
		return nil
	}
	p := &peerQuota{bucket: rate.NewLimiter(rate.Limit(q.cfg.Rate), q.cfg.Burst)}
	q.peers[id] = p
	return p
}

// sweep forgets the peers whose account is as that of a new one.
func (q *quota) sweep(now time.Time) {
	for id, p := range q.peers {
		if p.asking == 0 && p.asked == 0 && p.bucket.TokensAt(now) >= float64(q.cfg.Burst) {
			delete(q.peers, id)
		}
	}
}
