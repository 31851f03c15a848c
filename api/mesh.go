package api

import (
	"cmp"
	"context"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/relaymesh"
)

const (
	meshPause      = time.Second      // between looks at the book
	meshDials      = 4                // at the same time
	meshTimeout    = 20 * time.Second // of one of our own tries
	contactFirst   = 48 * time.Second // pause after the first failure, doubled each time, an eighth more or less (Linux keeps a port for 30 s)
	contactMost    = 10 * time.Minute
	contactYield   = 3 * time.Second // the peer with the larger ID lets the other one try first
	stunEvery      = 5 * time.Minute
	stunRetryEvery = 30 * time.Second
	stunTimeout    = 10 * time.Second
	maxTold        = 16 // that a record names, at most, of who does not relay
)

// contactState is what we know of our tries to connect to a peer of the book.
type contactState struct {
	next   time.Time // not before
	tried  time.Time // last
	fails  int
	trying bool
}

// mesh renews our own record and connects to peers we hear of. It sleeps until
// something changes.
func (pg *Playground) mesh() {
	var told ownRecord
	slots := make(chan struct{}, meshDials)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for woken(pg.ctx, timer, pg.meshWake) {
		now := time.Now()
		if own := pg.ownRecord(told); !own.equal(told) || now.Sub(told.made) >= recordRefresh {
			renewed := own.equal(told)
			own.made = now
			told = own
			pg.announce(own, now, renewed)
		}
		next := pg.dialContacts(now, slots)
		next = sooner(next, told.made.Add(recordRefresh))
		if told.relay {
			next = sooner(next, now.Add(loadEvery))
		}
		// Looking at most once a pause gathers what changes together.
		if !pause(pg.ctx, meshPause) {
			return
		}
		timer.Reset(max(0, time.Until(next)))
	}
}

func (pg *Playground) wakeMesh() { wake(pg.meshWake) }

// ownRecord is what we say of ourselves.
type ownRecord struct {
	made       time.Time
	addrs      []netip.AddrPort
	urls       []string
	neighbours []kcptransport.PeerID
	relay      bool
	relays     []relaymesh.RelayLink
	load       int // in quarters
}

func (r ownRecord) equal(o ownRecord) bool {
	return slices.Equal(r.addrs, o.addrs) && slices.Equal(r.urls, o.urls) && slices.Equal(r.neighbours, o.neighbours) && slices.Equal(r.relays, o.relays) &&
		r.relay == o.relay && r.load == o.load
}

// ownRecord returns what there is to say now, after what was told last.
func (pg *Playground) ownRecord(told ownRecord) ownRecord {
	r := ownRecord{addrs: pg.toldAddrs(), relay: pg.Relaying()}
	r.urls = pg.urls(r.addrs)
	r.neighbours = pg.toldNeighbours(r.relay)
	for _, l := range pg.relayLinks(r.relay) {
		i := slices.IndexFunc(told.relays, func(o relaymesh.RelayLink) bool { return o.Relay == l.Relay })
		if i >= 0 {
			l.RTT = tellRTT(told.relays[i].RTT, l.RTT)
		} else {
			l.RTT = tellRTT(0, l.RTT)
		}
		r.relays = append(r.relays, l)
	}
	if r.relay {
		r.load = pg.load.look(time.Now(), pg.sw.Stats(), pg.rules.Load())
		work := pg.load.work
		pg.workNow.Store(&work)
	}
	return r
}

// toldNeighbours returns the peers to name as neighbours. A relay names all: to them it leads. Others name a few who can introduce them,
// relays first: where all name all, and many have links to each other, each that comes or goes would change the record of everybody.
func (pg *Playground) toldNeighbours(relay bool) (ids []kcptransport.PeerID) {
	for _, p := range pg.readyPeers() {
		ids = append(ids, p.id)
	}
	if relay || len(ids) <= maxTold {
		return ids
	}
	self, rank := pg.ID(), map[kcptransport.PeerID]uint64{}
	for _, id := range ids {
		h := fnv.New64a() // each node names others, and the same ones while they are there (rendezvous hashing)
		_, _ = h.Write(append(self[:], id[:]...))
		if rank[id] = h.Sum64() >> 1; !pg.knownToRelay(id) {
			rank[id] |= 1 << 63
		}
	}
	slices.SortFunc(ids, func(a, b kcptransport.PeerID) int { return cmp.Compare(rank[a], rank[b]) })
	ids = ids[:maxTold]
	slices.SortFunc(ids, kcptransport.PeerID.Compare)
	return ids
}

// relayLinks returns the relays by which others can reach us; of a relay: the nearest ones to which it has links.
func (pg *Playground) relayLinks(relay bool) (links []relaymesh.RelayLink) {
	held := pg.Reservations()
	for _, r := range pg.nearRelays() {
		if relay || slices.ContainsFunc(held, func(h Reservation) bool { return h.Relay == r.ID }) {
			links = append(links, relaymesh.RelayLink{Relay: r.ID, RTT: r.RTT})
		}
	}
	if len(links) > maxRelayLinks {
		slices.SortFunc(links, func(a, b relaymesh.RelayLink) int { return cmp.Or(cmp.Compare(a.RTT, b.RTT), a.Relay.Compare(b.Relay)) })
		links = links[:maxRelayLinks]
	}
	slices.SortFunc(links, func(a, b relaymesh.RelayLink) int { return a.Relay.Compare(b.Relay) })
	return links
}

// announce signs our record anew and spreads it. renewed tells that it says the same as before.
func (pg *Playground) announce(own ownRecord, now time.Time, renewed bool) {
	r := makeRecord(pg.cfg.Identity, pg.cfg.App, now, own, false)
	info, err := r.check(pg.cfg.App, now)
	if err != nil {
		pg.note(pg.ID(), err)
		return
	}
	pg.mu.Lock()
	pg.book.put(info, now)
	pg.mu.Unlock()
	pg.spread(nil, renewed, pg.ID())
}

// dialContacts connects to peers of the book that are due, up to the limit, and
// returns when to look again (zero: only after a change).
func (pg *Playground) dialContacts(now time.Time, slots chan struct{}) (next time.Time) {
	if pg.cfg.MaxPeers < 0 {
		return time.Time{}
	}
	pg.mu.Lock()
	defer pg.mu.Unlock()
	maps.DeleteFunc(pg.contacts, func(id kcptransport.PeerID, _ *contactState) bool { return pg.book.infos[id] == nil })
	room := pg.cfg.MaxPeers - len(pg.peers)
	for _, info := range pg.book.sorted() {
		if room <= 0 {
			break
		}
		due := pg.contactDue(info, now)
		if due.IsZero() {
			continue
		}
		if due.After(now) {
			next = sooner(next, due)
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			return now.Add(meshPause)
		}
		room--
		pg.contacts[info.Peer].trying = true
		pg.wg.Go(func() {
			pg.tryContact(info)
			<-slots
			pg.wakeMesh()
		})
	}
	return next
}

// contactDue returns when to try a peer; zero means not at all. pg.mu is held.
func (pg *Playground) contactDue(info *peerInfo, now time.Time) time.Time {
	if info.Peer == pg.ID() || info.left || pg.peers[info.Peer] != nil || now.Sub(info.made) > recordLifetime {
		return time.Time{}
	}
	c := pg.contacts[info.Peer]
	if c == nil {
		c = &contactState{next: now}
		if pg.ID().Compare(info.Peer) > 0 {
			c.next = now.Add(contactYield)
		}
		pg.contacts[info.Peer] = c
	}
	if c.trying {
		return time.Time{}
	}
	return c.next
}

func (pg *Playground) tryContact(info *peerInfo) {
	ctx, cancel := context.WithTimeout(pg.ctx, meshTimeout)
	defer cancel()
	_, err := pg.reach(ctx, Ticket{Contact: info.told()})
	pg.mu.Lock()
	defer pg.mu.Unlock()
	c := pg.contacts[info.Peer]
	if err == nil || c == nil {
		delete(pg.contacts, info.Peer)
		return
	}
	c.trying = false
	c.failed(time.Now(), pg.randomUint64())
}

// failed counts a failure, whoever of the two tried, once: the end of a try is
// heard of in two ways.
func (c *contactState) failed(now time.Time, random uint64) {
	if now.Sub(c.tried) < contactYield {
		return
	}
	c.tried = now
	pause := min(contactFirst<<min(c.fails, 10), contactMost)
	c.fails++
	c.next = now.Add(pause - pause/8 + time.Duration(random%uint64(pause/4)))
}

// contactMoved begins anew with a peer that says that it is elsewhere now. One
// that says so all the time has us try no more often than after a first
// failure. pg.mu is held.
func (pg *Playground) contactMoved(id kcptransport.PeerID, now time.Time) {
	if c := pg.contacts[id]; c != nil && !c.trying {
		c.fails, c.next = 0, now
		if again := c.tried.Add(contactFirst); again.After(now) {
			c.next = again
		}
	}
}
