package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/2xppg/xppg/kcptransport"
)

const (
	gossipEvery   = 200 * time.Millisecond // at most, that one peer is sent records
	gossipRelayed = 2 * time.Second        // that records wait for a direct path, not to burden relays with them
	gossipRenewed = 10 * time.Minute       // at most, that records wait which say the same as before: on an idle link they are most of what travels
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
	defer p.takeNews() // stops its timer
	p.tell(false, p.pg.knownPeers()...)
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.gossipWake:
		}
		for batch := p.takeNews(); len(batch) > 0; batch = p.takeNews() {
			for _, f := range gossipFrames(batch) {
				if err := writeFrame(s, f); err != nil {
					return
				}
			}
		}
		if !pause(ctx, gossipEvery) {
			return
		}
	}
}

// encodedFrame is a gossipFrame whose records are encoded already.
type encodedFrame struct {
	Records []cbor.RawMessage `cbor:"0,keyasint"`
}

// gossipFrames puts records into frames that the other side takes: where a peer has many neighbours, so does its record, and one frame
// does not hold a whole batch.
func gossipFrames(records []record) (frames []encodedFrame) {
	const head = 16 // bytes of a frame beside its records, at most
	room := 0
	for _, r := range records {
		b := mustMarshal(r)
		if room < len(b) {
			frames, room = append(frames, encodedFrame{}), maxGossipFrame-head
		}
		last := &frames[len(frames)-1]
		last.Records = append(last.Records, b)
		room -= len(b)
	}
	return frames
}

// tell marks the records of these peers to be sent to p: soon, or, if they were but renewed, with the next ones that are sent, a
// few minutes later at most.
func (p *peer) tell(renewed bool, ids ...kcptransport.PeerID) {
	p.newsMu.Lock()
	for _, id := range ids {
		if id != p.id { // it knows itself best
			p.news[id] = true
		}
	}
	n := len(p.news)
	if n > 0 && renewed && p.newsTimer == nil {
		wait := gossipRenewed*3/4 + time.Duration(p.pg.randomUint64()%uint64(gossipRenewed/4)) // so that two do not tell each other the same
		p.newsTimer = time.AfterFunc(wait, func() { wake(p.gossipWake) })
	}
	p.newsMu.Unlock()
	if n > 2*maxRecords { // it does not read, and the book has moved on
		p.forgetStaleNews()
	}
	if n > 0 && !renewed {
		wake(p.gossipWake)
	}
}

// untell is called when p has told records itself: what it knows is no news.
func (p *peer) untell(records []record) {
	p.newsMu.Lock()
	defer p.newsMu.Unlock()
	for _, r := range records {
		if id, ok := peerID(r.Peer); ok && p.news[id] && !p.pg.knowsNewer(id, r.Time) {
			delete(p.news, id)
		}
	}
}

// knowsNewer reports whether we have a newer record of a peer than one made at a time.
func (pg *Playground) knowsNewer(id kcptransport.PeerID, made int64) bool {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	have := pg.book.infos[id]
	return have != nil && have.made.UnixMilli() > made
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
	if p.newsTimer != nil {
		p.newsTimer.Stop()
		p.newsTimer = nil
	}
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
	from.untell(records)
	var fresh, renewed []kcptransport.PeerID
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
		old := pg.book.infos[info.Peer]
		if old != nil && !slices.Equal(old.Addrs, info.Addrs) {
			pg.contactMoved(info.Peer, now)
		}
		pg.book.put(info, now)
		pg.mu.Unlock()
		if old != nil && r.repeats(old.raw) {
			renewed = append(renewed, info.Peer)
		} else {
			fresh = append(fresh, info.Peer)
		}
	}
	if len(renewed) > 0 {
		pg.spread(from, true, renewed...)
	}
	if len(fresh) == 0 {
		return
	}
	pg.spread(from, false, fresh...)
	pg.wakeMesh()
	wake(pg.reserveWake)
}

// repeats reports whether a record says the same as an older one.
func (r record) repeats(old record) bool {
	r.Time, r.Sig, old.Time, old.Sig = 0, nil, 0, nil
	return bytes.Equal(mustMarshal(r), mustMarshal(old))
}

// spread marks records to be told to every neighbour but the one they came from. renewed ones may wait.
func (pg *Playground) spread(from *peer, renewed bool, ids ...kcptransport.PeerID) {
	for _, p := range pg.readyPeers() {
		if p != from {
			p.tell(renewed, ids...)
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
