package api

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

const (
	gossipEvery   = 200 * time.Millisecond // at most, that one peer is sent records
	gossipRelayed = 2 * time.Second        // that records wait for a direct path, not to burden relays with them
)

// tellPeers sends the peer every record we have, then those that change, until
// the link ends.
func (p *peer) tellPeers(ctx context.Context) {
	p.waitDirect(ctx, gossipRelayed)
	s, err := p.open(ctx, kindPeers)
	if err != nil {
		return
	}
	defer func() { _ = s.Close() }()
	stop := context.AfterFunc(ctx, func() { s.Reset(codeClosed) })
	defer stop()
	p.tell(p.pg.knownPeers()...)
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.gossipWake:
		}
		for batch := p.takeNews(); len(batch) > 0; batch = p.takeNews() {
			if err := writeFrame(s, gossipFrame{Records: batch}); err != nil {
				return
			}
		}
		if !pause(ctx, gossipEvery) {
			return
		}
	}
}

// tell marks the records of these peers to be sent to p.
func (p *peer) tell(ids ...kcptransport.PeerID) {
	p.newsMu.Lock()
	for _, id := range ids {
		if id != p.id { // it knows itself best
			p.news[id] = true
		}
	}
	n := len(p.news)
	p.newsMu.Unlock()
	if n > 2*maxRecords { // it does not read, and the book has moved on
		p.forgetStaleNews()
	}
	if n > 0 {
		select {
		case p.gossipWake <- struct{}{}:
		default:
		}
	}
}

// forgetStaleNews drops what the book no longer holds.
func (p *peer) forgetStaleNews() {
	known := map[kcptransport.PeerID]bool{}
	for _, id := range p.pg.knownPeers() {
		known[id] = true
	}
	p.newsMu.Lock()
	defer p.newsMu.Unlock()
	maps.DeleteFunc(p.news, func(id kcptransport.PeerID, _ bool) bool { return !known[id] })
}

func (p *peer) takeNews() []record {
	p.newsMu.Lock()
	ids := make([]kcptransport.PeerID, 0, maxBatch)
	for id := range p.news {
		if len(ids) == maxBatch {
			break
		}
		ids = append(ids, id)
		delete(p.news, id)
	}
	p.newsMu.Unlock()
	slices.SortFunc(ids, kcptransport.PeerID.Compare)
	return p.pg.recordsOf(ids)
}

// readPeers takes in the records that the peer passes on.
func (p *peer) readPeers(r io.Reader) error {
	for {
		var f gossipFrame
		if err := readFrame(r, maxGossipFrame, &f); err != nil {
			return err
		}
		if len(f.Records) > maxBatch {
			return fmt.Errorf("%w: %d peer records in one frame", errProtocol, len(f.Records))
		}
		p.pg.learn(p, f.Records)
	}
}

// learn checks records and passes on those that are news. Records that do not
// verify are dropped: the neighbour may have been fooled, too.
func (pg *Playground) learn(from *peer, records []record) {
	now := time.Now()
	var fresh []kcptransport.PeerID
	for _, r := range records {
		pg.mu.Lock()
		news := pg.book.newer(r.Peer, r.Time)
		pg.mu.Unlock()
		if !news {
			continue
		}
		info, err := r.check(pg.cfg.App, now)
		if err != nil || info.Peer == pg.ID() {
			continue
		}
		pg.mu.Lock()
		if old := pg.book.infos[info.Peer]; old != nil && !slices.Equal(old.Addrs, info.Addrs) {
			pg.contactMoved(info.Peer, now)
		}
		pg.book.put(info, now)
		pg.mu.Unlock()
		fresh = append(fresh, info.Peer)
	}
	if len(fresh) == 0 {
		return
	}
	pg.spread(from, fresh...)
	pg.wakeMesh()
	wake(pg.reserveWake)
}

// spread marks records to be told to every neighbour but the one they came from.
func (pg *Playground) spread(from *peer, ids ...kcptransport.PeerID) {
	for _, p := range pg.readyPeers() {
		if p != from {
			p.tell(ids...)
		}
	}
}

func (pg *Playground) knownPeers() []kcptransport.PeerID {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	ids := make([]kcptransport.PeerID, 0, len(pg.book.infos))
	for id := range pg.book.infos {
		ids = append(ids, id)
	}
	return ids
}

// recordOf returns what is known of a peer by its record, nil when that is nothing. Nobody changes it.
func (pg *Playground) recordOf(id kcptransport.PeerID) *peerInfo {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	return pg.book.infos[id]
}

func (pg *Playground) recordsOf(ids []kcptransport.PeerID) []record {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	var out []record
	for _, id := range ids {
		if info := pg.book.infos[id]; info != nil {
			out = append(out, info.raw)
		}
	}
	return out
}
