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
	gossipEvery    = 200 * time.Millisecond // at most, that one peer is sent records
	gossipRelayed  = 2 * time.Second        // that records wait for a direct path, not to burden relays with them
	gossipRenewed  = 10 * time.Minute       // at most, that records wait which say the same as before: on an idle link they are most of what travels
	gossipOffers   = 2 * time.Second        // at most, that offers wait: until then many peers have shown that they know the record
	gossipEager    = 4                      // peers that a record which is passed on is told whole
	gossipFew      = 8                      // records that a new peer is told whole
	gossipPatience = time.Second            // within which a record is asked for once
)

// tellPeers tells the peer every record we have, then those that change, and asks for those that it offers, until the link ends.
func (p *peer) tellPeers(ctx context.Context) {
	p.waitDirect(ctx, gossipRelayed)
	s, err := p.open(ctx, kindPeers)
	if err != nil {
		return
	}
	defer func() { _ = s.Close() }()
	stop := context.AfterFunc(ctx, func() { s.Reset(codeClosed) })
	defer stop()
	known := p.pg.knownPeers()
	few := len(known) <= gossipFew
	for _, id := range known {
		p.tell(few || id == p.pg.ID(), 0, id)
	}
	defer p.stopLooking()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.gossipWake:
		}
		p.stopLooking()
		frames, next := p.nextFrames(time.Now())
		p.look(next)
		for _, f := range frames {
			if err := writeFrame(s, f); err != nil {
				return
			}
		}
		if !pause(ctx, gossipEvery) {
			return
		}
	}
}

// nextFrames returns what is to be sent to the peer now, and when there will be more; zero: only when there is news.
func (p *peer) nextFrames(now time.Time) (frames []encodedFrame, next time.Time) {
	p.newsMu.Lock()
	whole, offers := p.news.take(now)
	asks, next := p.news.takeAsks(now, func(id kcptransport.PeerID, made int64) time.Time { return p.pg.mayAsk(p.id, id, made, now) })
	next = sooner(next, p.news.due)
	p.newsMu.Unlock()
	return gossipFrames(p.pg.recordsOf(whole), p.pg.offersOf(offers), asks), next
}

// look has tellPeers look for news at a time, or before; zero is never.
func (p *peer) look(at time.Time) {
	if wait := time.Until(at); at.IsZero() {
		return
	} else if wait <= 0 {
		wake(p.gossipWake)
		return
	}
	p.newsMu.Lock()
	defer p.newsMu.Unlock()
	if p.lookAt.IsZero() || at.Before(p.lookAt) {
		if p.lookTimer != nil {
			p.lookTimer.Stop()
		}
		p.lookAt = at
		p.lookTimer = time.AfterFunc(time.Until(at), func() { wake(p.gossipWake) })
	}
}

// stopLooking forgets when to look.
func (p *peer) stopLooking() {
	p.newsMu.Lock()
	defer p.newsMu.Unlock()
	if p.lookTimer != nil {
		p.lookTimer.Stop()
	}
	p.lookAt, p.lookTimer = time.Time{}, nil
}

// encodedFrame is a gossipFrame whose records are encoded already.
type encodedFrame struct {
	Records []cbor.RawMessage `cbor:"0,keyasint,omitempty"`
	Offers  []recordOffer     `cbor:"1,keyasint,omitempty"`
	Asks    [][]byte          `cbor:"2,keyasint,omitempty"`
}

// gossipFrames puts what is to be told into frames that the other side takes: where a peer has many neighbours, so does its record, and one frame
// does not hold a whole batch.
func gossipFrames(records []record, offers []recordOffer, asks []kcptransport.PeerID) (frames []encodedFrame) {
	const head = 32 // bytes of a frame beside what it lists, at most
	room := 0
	if len(offers)+len(asks) > 0 {
		f := encodedFrame{Offers: offers}
		for _, id := range asks {
			f.Asks = append(f.Asks, bytes.Clone(id[:]))
		}
		frames, room = append(frames, f), maxGossipFrame-head-len(mustMarshal(f))
	}
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

// tell has the peer told the record of somebody within some time, whole or as an offer.
func (p *peer) tell(whole bool, within time.Duration, id kcptransport.PeerID) {
	if id == p.id { // it knows itself best
		return
	}
	p.newsMu.Lock()
	p.news.add(id, whole, time.Now().Add(within))
	due, n := p.news.due, len(p.news.tell)
	p.newsMu.Unlock()
	if n > 2*maxRecords { // it does not read, and the book has moved on
		p.forgetStaleNews()
	}
	p.look(due)
}

// hears takes note that the peer has a record of that time: if ours is no newer, it is no news. offered means that we can ask the peer for it.
func (p *peer) hears(id kcptransport.PeerID, made int64, offered bool) {
	p.newsMu.Lock()
	defer p.newsMu.Unlock()
	have := p.pg.recordTime(id) // not before: what is learned meanwhile is to be told
	if have <= made {
		p.news.known(id, made)
	}
	if have < made && offered {
		p.news.offer(id, made)
	}
}

// readOffers takes note of what the peer has, and has it asked for what we do not know.
func (p *peer) readOffers(offers []recordOffer, now time.Time) {
	for _, o := range offers {
		if id, ok := peerID(o.Peer); ok && id != p.pg.ID() && !ofAnotherTime(o.Time, now) {
			p.hears(id, o.Time, true)
		}
	}
	wake(p.gossipWake)
}

// answerAsks has the peer told what it asks for, as far as we have it.
func (p *peer) answerAsks(asks [][]byte) {
	for _, b := range asks {
		if id, ok := peerID(b); ok && p.pg.recordOf(id) != nil {
			p.tell(true, 0, id)
		}
	}
}

// recordTime returns when the record was made that we have of a peer, in Unix milliseconds; 0 when we have none.
func (pg *Playground) recordTime(id kcptransport.PeerID) int64 {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	if have := pg.book.infos[id]; have != nil {
		return have.made.UnixMilli()
	}
	return 0
}

// forgetStaleNews drops what the book no longer holds.
func (p *peer) forgetStaleNews() {
	known := map[kcptransport.PeerID]bool{}
	for _, id := range p.pg.knownPeers() {
		known[id] = true
	}
	p.newsMu.Lock()
	defer p.newsMu.Unlock()
	maps.DeleteFunc(p.news.tell, func(id kcptransport.PeerID, _ bool) bool { return !known[id] })
}

// askedRecord is a record that somebody who offered it was asked for.
type askedRecord struct {
	at time.Time
	of kcptransport.PeerID
}

// mayAsk returns from when on a peer may be asked for a record that it offers: another one may have been asked just now, and answer. If
// that is now, it counts as asked. Zero means that it is no news. Who was asked last comes after others who offer it, or one that never answers could
// keep it from us.
func (pg *Playground) mayAsk(peer, id kcptransport.PeerID, made int64, now time.Time) time.Time {
	pg.mu.Lock()
	defer pg.mu.Unlock()
	if have := pg.book.infos[id]; have != nil && have.made.UnixMilli() >= made {
		return time.Time{}
	}
	if a, ok := pg.asked[id]; ok {
		wait := a.at.Add(gossipPatience)
		if a.of == peer {
			wait = wait.Add(gossipPatience)
		}
		if now.Before(wait) {
			return wait
		}
	}
	if len(pg.asked) >= maxRecords { // hostile offers
		clear(pg.asked)
	}
	pg.asked[id] = askedRecord{now, peer}
	return now
}

// readPeers takes in what the peer tells, offers and asks for.
func (p *peer) readPeers(r io.Reader) error {
	for {
		var f gossipFrame
		if err := readFrame(r, maxGossipFrame, &f); err != nil {
			return err
		}
		if n := max(len(f.Records), len(f.Offers), len(f.Asks)); n > maxBatch {
			return fmt.Errorf("%w: %d peer records in one frame", errProtocol, n)
		}
		if len(f.Records) > 0 {
			p.pg.learn(p, f.Records)
		}
		if len(f.Offers) > 0 {
			p.readOffers(f.Offers, time.Now())
		}
		p.answerAsks(f.Asks)
	}
}

// learn checks records and passes on those that are news. Records that do not
// verify are dropped: the neighbour may have been fooled, too.
func (pg *Playground) learn(from *peer, records []record) {
	now := time.Now()
	var fresh, renewed []kcptransport.PeerID
	for _, r := range records {
		if id, ok := peerID(r.Peer); ok {
			from.hears(id, r.Time, false)
		}
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
		if !pg.book.newer(r.Peer, r.Time) { // another peer was faster
			pg.mu.Unlock()
			continue
		}
		old := pg.book.infos[info.Peer]
		if old != nil && !slices.Equal(old.Addrs, info.Addrs) {
			pg.contactMoved(info.Peer, now)
		}
		pg.book.put(info, now)
		delete(pg.asked, info.Peer)
		pg.mu.Unlock()
		if old != nil && r.repeats(old.raw) {
			renewed = append(renewed, info.Peer)
		} else {
			fresh = append(fresh, info.Peer)
		}
	}
	pg.spread(from, true, renewed...)
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

// spread has records told to every neighbour but the one that they came from: whole to all if they are our own, else to a few; the others are
// offered them. Renewed ones may wait.
func (pg *Playground) spread(from *peer, renewed bool, ids ...kcptransport.PeerID) {
	if len(ids) == 0 {
		return
	}
	peers := slices.DeleteFunc(pg.readyPeers(), func(p *peer) bool { return p == from })
	for _, id := range ids {
		var few []*peer
		if id != pg.ID() {
			var told []kcptransport.PeerID
			if info := pg.recordOf(id); info != nil && !renewed { // else there is time for its author to come first
				told = info.neighbours
			}
			few = eagerPeers(peers, told, pg.randomUint64())
		}
		for _, p := range peers {
			whole := id == pg.ID() || slices.Contains(few, p)
			switch {
			case renewed:
				p.tell(whole, pg.upTo(gossipRenewed), id)
			case whole:
				p.tell(true, 0, id)
			default:
				p.tell(false, pg.upTo(gossipOffers), id)
			}
		}
	}
}

// eagerPeers chooses up to gossipEager peers to be told a record whole, none of those whom its author tells it itself.
func eagerPeers(peers []*peer, told []kcptransport.PeerID, random uint64) (few []*peer) {
	n := uint64(len(peers))
	for i := range n {
		p := peers[(random%n+i)%n]
		if len(few) < gossipEager && !slices.Contains(told, p.id) {
			few = append(few, p)
		}
	}
	return few
}

// upTo returns a random time, of the last quarter of d.
func (pg *Playground) upTo(d time.Duration) time.Duration {
	return d - time.Duration(pg.randomUint64()%uint64(d/4))
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

// offersOf returns offers of what is known of peers.
func (pg *Playground) offersOf(ids []kcptransport.PeerID) (out []recordOffer) {
	for _, r := range pg.recordsOf(ids) {
		out = append(out, recordOffer{Peer: r.Peer, Time: r.Time})
	}
	return out
}
