package api

import (
	"bytes"
	"context"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

func testPeerIDs(n int) (ids []kcptransport.PeerID) {
	for i := range n {
		ids = append(ids, kcptransport.PeerID{byte(i >> 8), byte(i)})
	}
	return ids
}

// What may wait is told with what may not, at the latest when it is due, a batch at a time.
func TestTidingsTell(t *testing.T) {
	ids, now := testPeerIDs(maxBatch+1), time.Unix(1_700_000_000, 0)
	news := newTidings()
	want := func(at time.Duration, wantWhole, wantOffers []kcptransport.PeerID) {
		t.Helper()
		if whole, offers := news.take(now.Add(at)); !slices.Equal(whole, wantWhole) || !slices.Equal(offers, wantOffers) {
			t.Errorf("after %v: told %v and offered %v, want %v and %v", at, whole, offers, wantWhole, wantOffers)
		}
	}
	news.add(ids[0], false, now.Add(2*time.Second))
	news.add(ids[1], false, now.Add(3*time.Second))
	news.add(ids[2], false, now.Add(time.Minute))
	want(time.Second, nil, nil)
	want(2*time.Second, nil, ids[:3]) // one packet for all
	want(time.Hour, nil, nil)

	news.add(ids[0], false, now.Add(time.Minute))
	news.add(ids[1], true, now)
	news.add(ids[1], false, now.Add(time.Second)) // whole it stays
	want(0, ids[1:2], ids[:1])

	news.add(ids[0], true, now)
	news.known(ids[0], 5)
	want(0, nil, nil)

	for _, id := range ids {
		news.add(id, true, now)
	}
	want(0, ids[:maxBatch], nil)
	if news.due != now {
		t.Errorf("the rest is due at %v", news.due)
	}
	want(0, ids[maxBatch:], nil)
	if !news.due.IsZero() {
		t.Errorf("nothing is due at %v", news.due)
	}
}

// What is offered is asked for when it may be, once, a batch at a time.
func TestTidingsAsk(t *testing.T) {
	ids, now := testPeerIDs(maxRecords+1), time.Unix(1_700_000_000, 0)
	news := newTidings()
	at := now
	mayAsk := func(kcptransport.PeerID, int64) time.Time { return at }
	want := func(want []kcptransport.PeerID, wantAgain time.Time) {
		t.Helper()
		if asks, again := news.takeAsks(now, mayAsk); !slices.Equal(asks, want) || again != wantAgain {
			t.Errorf("asks for %d, and again at %v, want %d and %v", len(asks), again, len(want), wantAgain)
		}
	}
	never := time.Time{}
	news.offer(ids[0], 5)
	news.offer(ids[0], 4)
	if news.offered[ids[0]] != 5 {
		t.Error("an older offer took the place of a newer one")
	}
	news.known(ids[0], 4)
	at = now.Add(time.Second)
	want(nil, at)
	at = now
	want(ids[:1], never)
	want(nil, never)

	news.offer(ids[0], 5)
	at = never // known meanwhile
	want(nil, never)
	news.offer(ids[0], 5)
	news.known(ids[0], 5)
	at = now
	want(nil, never)

	for _, id := range ids {
		news.offer(id, 5)
	}
	if len(news.offered) != maxRecords {
		t.Errorf("%d offers are kept, at most %d are allowed", len(news.offered), maxRecords)
	}
	want(ids[:maxBatch], now)
	want(ids[maxBatch:2*maxBatch], now)
}

// testPeers returns a node without a network, and peers of it without links.
func testPeers(n int) (*Playground, []*peer) {
	pg := &Playground{
		cfg: Config{App: "test", Identity: testIdentity(200)}, asked: map[kcptransport.PeerID]askedRecord{}, peers: map[kcptransport.PeerID]*peer{},
		meshWake: make(chan struct{}, 1), reserveWake: make(chan struct{}, 1),
	}
	var peers []*peer
	for i := range n {
		p := &peer{pg: pg, id: testIdentity(byte(201 + i)).ID(), ready: make(chan struct{}), gossipWake: make(chan struct{}, 1), news: newTidings()}
		close(p.ready)
		pg.peers[p.id] = p
		peers = append(peers, p)
	}
	return pg, peers
}

func (p *peer) asks(now time.Time) (asks [][]byte, next time.Time) {
	frames, next := p.nextFrames(now)
	for _, f := range frames {
		asks = append(asks, f.Asks...)
	}
	return asks, next
}

func (p *peer) offers(id kcptransport.PeerID, made, now time.Time) {
	p.readOffers([]recordOffer{{Peer: id[:], Time: made.UnixMilli()}, {Peer: []byte("short"), Time: made.UnixMilli()}}, now)
}

// Of several peers that offer a record one is asked, and the next one when that one does not answer; not for what is known, for what cannot be, or for
// our own.
func TestOffersAreAskedFor(t *testing.T) {
	pg, peers := testPeers(3)
	unknown, other, now := testIdentity(77).ID(), testIdentity(78).ID(), time.Now()
	known := makeRecord(testIdentity(79), "test", now, ownRecord{}, false)
	pg.learn(peers[0], []record{known})
	for _, p := range peers {
		p.nextFrames(now.Add(gossipOffers)) // tells what is known
		p.offers(unknown, now, now)
		p.offers(pg.ID(), now.Add(time.Minute), now)
		p.offers(testIdentity(79).ID(), now.Add(-time.Second), now)
		p.offers(other, now.Add(recordDrift+time.Second), now)
		p.offers(other, now.Add(-recordLifetime-time.Second), now)
	}
	if got, next := peers[0].asks(now); len(got) != 1 || !bytes.Equal(got[0], unknown[:]) || !next.IsZero() {
		t.Errorf("asks the first for %x, and looks again at %v", got, next)
	}
	if got, next := peers[1].asks(now); len(got) != 0 || !next.Equal(now.Add(gossipPatience)) {
		t.Errorf("asks the second at once for %x, and looks again at %v", got, next)
	}
	now = now.Add(gossipPatience)
	peers[0].offers(unknown, now, now) // who was asked comes after the others, whatever it offers
	if got, _ := peers[0].asks(now); len(got) != 0 {
		t.Errorf("asks the first again for %x", got)
	}
	if got, _ := peers[1].asks(now); len(got) != 1 {
		t.Errorf("asks the second for %x", got)
	}
	now = now.Add(gossipPatience)
	pg.learn(peers[1], []record{makeRecord(testIdentity(77), "test", now, ownRecord{}, false)})
	for _, p := range peers {
		if got, next := p.asks(now.Add(gossipOffers)); len(got) != 0 || !next.IsZero() {
			t.Errorf("asks for %x, which is known, and looks again at %v", got, next)
		}
	}
	peers[0].answerAsks([][]byte{unknown[:], other[:], []byte("short")})
	if frames, _ := peers[0].nextFrames(time.Now()); len(frames) != 1 || len(frames[0].Records) != 1 {
		t.Errorf("answers with %+v", frames)
	}
	for i := range 2 * maxRecords { // hostile
		peers[0].offers(kcptransport.PeerID{1, byte(i >> 8), byte(i)}, now, now)
		peers[0].asks(now)
	}
	if n := len(pg.asked); n > maxRecords {
		t.Errorf("%d records are noted as asked for", n)
	}
}

// A peer that offers ever newer records, and sends none, does not keep what others have from us.
func TestEmptyOffers(t *testing.T) {
	_, peers := testPeers(2)
	id, start := testIdentity(77).ID(), time.Now()
	peers[1].offers(id, start, start)
	for at := time.Duration(0); at <= 3*gossipPatience; at += gossipEvery {
		now := start.Add(at)
		peers[0].offers(id, now.Add(time.Second), now)
		peers[0].asks(now)
		if got, _ := peers[1].asks(now); len(got) == 1 {
			return
		}
	}
	t.Error("the other one is not asked")
}

// Of two records of a peer that come at once the newer one stays.
func TestNewerRecordStays(t *testing.T) {
	pg, peers := testPeers(2)
	author, now := testIdentity(77), time.Now()
	older, newer := makeRecord(author, "test", now, ownRecord{}, false), makeRecord(author, "test", now.Add(time.Second), ownRecord{}, false)
	for range 200 {
		pg.book.infos = nil
		var all sync.WaitGroup
		all.Go(func() { pg.learn(peers[0], []record{older}) })
		all.Go(func() { pg.learn(peers[1], []record{newer}) })
		all.Wait()
		if pg.recordTime(author.ID()) != newer.Time {
			t.Fatal("the older record took the place of the newer one")
		}
	}
}

// The leaves of a star learn of each other by a clock that runs, too.
func TestStarLearns(t *testing.T) {
	start := func(i int) *Playground {
		pg, err := Start(t.Context(), Config{App: "test", Listen: "127.0.0.1:0", Identity: testIdentity(byte(i)), STUN: []string{}, Relay: RelayOff, MaxPeers: -1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = pg.Close() })
		return pg
	}
	hub := start(1)
	var leaves []*Playground
	for i := range 2 * gossipFew {
		l := start(2 + i)
		if _, err := l.Join(t.Context(), hub.LocalAddr().String()); err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, l)
	}
	missing := func() (n int) {
		for _, l := range leaves {
			for _, o := range leaves {
				if l.recordOf(o.ID()) == nil {
					n++
				}
			}
		}
		return n
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for missing() > 0 && pause(ctx, 50*time.Millisecond) {
	}
	if n := missing(); n > 0 {
		t.Errorf("%d of %d records are missing", n, len(leaves)*len(leaves))
	}
}

// A record is passed on whole to a few peers, to others each time, and to none of those whom its author tells it.
func TestEagerPeers(t *testing.T) {
	ids := testPeerIDs(40)
	var peers []*peer
	for _, id := range ids {
		peers = append(peers, &peer{id: id})
	}
	chosen := map[kcptransport.PeerID]bool{}
	for random := range uint64(1000) {
		few := eagerPeers(peers, ids[:20], math.MaxUint64-500+random)
		if len(few) != gossipEager {
			t.Fatalf("%d were chosen", len(few))
		}
		for i, p := range few {
			if chosen[p.id] = true; slices.Contains(ids[:20], p.id) || slices.Contains(few[:i], p) {
				t.Fatalf("%v was chosen", p.id)
			}
		}
	}
	if len(chosen) != 20 {
		t.Errorf("%d were ever chosen", len(chosen))
	}
	if few := eagerPeers(peers[:3], nil, 5); len(few) != 3 {
		t.Errorf("of three %d were chosen", len(few))
	}
	if few := eagerPeers(nil, nil, 5); few != nil {
		t.Errorf("of none %d were chosen", len(few))
	}
}

// In a room of many a newcomer knows all and is known to all within seconds.
func TestRoomOfMany(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var room []*node
		for range 2 * gossipFew {
			n := w.public(noMesh)
			n.meet(w.public(noMesh)) // whom nobody else has a link to
			for _, o := range room {
				n.meet(o)
			}
			room = append(room, n)
		}
		time.Sleep(time.Minute)
		n := w.public(noMesh)
		n.meet(room[0])
		w.eventually("everybody knows everybody", 5*time.Second, func() bool {
			for _, o := range room {
				for _, id := range room[1].knownPeers() {
					if o.recordOf(n.ID()) == nil || n.recordOf(id) == nil {
						return false
					}
				}
			}
			return true
		})
	})
}
