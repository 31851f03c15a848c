package api

import (
	"bytes"
	"math"
	"slices"
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
	want(time.Second, nil, nil)
	want(2*time.Second, nil, ids[:2])
	want(3*time.Second, nil, nil)

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

// Of several peers that offer a record one is asked, and the next one when that one does not answer; not for what is known, for what cannot be, or for
// our own.
func TestOffersAreAskedFor(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.public()
		var peers []*peer
		for range 3 {
			b := w.public()
			b.meet(a)
			peers = append(peers, newPeer(a.Playground, a.ep.Link(b.ID())))
		}
		time.Sleep(5 * time.Second) // the real peers have told each other all
		asks := func(p *peer) (asks [][]byte, next time.Time) {
			frames, next := p.nextFrames(time.Now())
			for _, f := range frames {
				asks = append(asks, f.Asks...)
			}
			return asks, next
		}
		unknown, other := testIdentity(77).ID(), testIdentity(78).ID()
		now := time.Now()
		offer := func(p *peer, id kcptransport.PeerID, at time.Time) {
			p.readOffers([]recordOffer{{Peer: id[:], Time: at.UnixMilli()}, {Peer: []byte("short"), Time: at.UnixMilli()}}, now)
		}
		for _, p := range peers {
			offer(p, unknown, now)
			offer(p, a.ID(), now.Add(time.Minute))
			offer(p, peers[0].id, now.Add(-time.Minute))
			offer(p, other, now.Add(recordDrift+time.Second))
			offer(p, other, now.Add(-recordLifetime-time.Second))
		}
		if got, next := asks(peers[0]); len(got) != 1 || !bytes.Equal(got[0], unknown[:]) || !next.IsZero() {
			t.Errorf("asks the first for %x, and looks again at %v", got, next)
		}
		if got, next := asks(peers[1]); len(got) != 0 || !next.Equal(now.Add(gossipPatience)) {
			t.Errorf("asks the second at once for %x, and looks again at %v", got, next)
		}
		time.Sleep(gossipPatience)
		if got, _ := asks(peers[1]); len(got) != 1 {
			t.Errorf("asks the second for %x", got)
		}
		a.learn(peers[1], []record{makeRecord(testIdentity(77), a.cfg.App, now, ownRecord{}, false)})
		time.Sleep(gossipPatience)
		if got, next := asks(peers[2]); len(got) != 0 || !next.IsZero() {
			t.Errorf("asks the third for %x, which is known, and looks again at %v", got, next)
		}
		peers[0].answerAsks([][]byte{unknown[:], other[:], []byte("short")})
		frames, _ := peers[0].nextFrames(time.Now())
		if len(frames) != 1 || len(frames[0].Records) != 1 {
			t.Errorf("answers with %+v", frames)
		}
		for i := range 2 * maxRecords { // hostile
			id := kcptransport.PeerID{1, byte(i >> 8), byte(i)}
			offer(peers[0], id, now)
			asks(peers[0])
		}
		if n := len(a.asked); n > maxRecords {
			t.Errorf("%d records are noted as asked for", n)
		}
	})
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
