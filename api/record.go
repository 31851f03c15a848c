package api

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

// Bounds of what peers tell each other about peers.
const (
	maxRecords      = 1024             // records kept; the oldest goes first
	maxBatch        = 64               // records in one gossip frame
	maxNeighbours   = 64               // links named in a record
	recordLifetime  = 2 * time.Hour    // after this a record is forgotten
	recordRefresh   = 20 * time.Minute // how often we renew our own
	recordDrift     = 5 * time.Minute  // how far ahead of our clock a record may be
	maxGossipFrame  = 64 << 10
	recordSignature = "xppg peer record v1\x00"
)

// A record is what a peer says of itself, signed with its key: where it may be
// reached, and by which neighbours it can be introduced. The newest wins.
type record struct {
	Peer       []byte   `cbor:"0,keyasint"`
	Time       int64    `cbor:"1,keyasint"` // when it was made, in Unix milliseconds; also its sequence number
	Addrs      [][]byte `cbor:"2,keyasint,omitempty"`
	Neighbours [][]byte `cbor:"3,keyasint,omitempty"`
	Left       bool     `cbor:"4,keyasint,omitempty"` // the peer said goodbye
	Relay      bool     `cbor:"6,keyasint,omitempty"` // the peer relays for others
	Sig        []byte   `cbor:"5,keyasint,omitempty"` // over the application's name and all of the above
}

type gossipFrame struct {
	Records []record `cbor:"0,keyasint"`
}

// peerInfo is a record that was checked.
type peerInfo struct {
	Contact
	made       time.Time
	left       bool
	relay      bool
	neighbours []kcptransport.PeerID
	raw        record
}

func (r record) signedBytes(app string) []byte {
	r.Sig = nil
	return append(append([]byte(recordSignature+app), 0), mustMarshal(r)...)
}

func makeRecord(id *kcptransport.Identity, app string, now time.Time, addrs []netip.AddrPort, neighbours []kcptransport.PeerID, left, relay bool) record {
	c := packContact(Contact{Peer: id.ID(), Addrs: addrs})
	r := record{Peer: c.Peer, Addrs: c.Addrs, Time: now.UnixMilli(), Left: left, Relay: relay}
	for _, n := range neighbours[:min(len(neighbours), maxNeighbours)] {
		r.Neighbours = append(r.Neighbours, bytes.Clone(n[:]))
	}
	r.Sig = id.Sign(r.signedBytes(app))
	return r
}

// check verifies a record that somebody passed on.
func (r record) check(app string, now time.Time) (*peerInfo, error) {
	if len(r.Neighbours) > maxNeighbours || len(r.Sig) != 64 {
		return nil, errors.New("api: malformed peer record")
	}
	c, err := unpackContact(wireContact{Peer: r.Peer, Addrs: r.Addrs})
	if err != nil {
		return nil, fmt.Errorf("api: malformed peer record: %w", err)
	}
	info := &peerInfo{Contact: c, made: time.UnixMilli(r.Time), left: r.Left, relay: r.Relay, raw: r}
	if info.made.After(now.Add(recordDrift)) || now.Sub(info.made) > recordLifetime {
		return nil, errors.New("api: peer record of another time (check the clocks)")
	}
	for _, n := range r.Neighbours {
		var id kcptransport.PeerID
		if len(n) != len(id) {
			return nil, errors.New("api: malformed peer record")
		}
		copy(id[:], n)
		info.neighbours = append(info.neighbours, id)
	}
	if !kcptransport.Verify(c.Peer, r.signedBytes(app), r.Sig) {
		return nil, errors.New("api: peer record with a wrong signature")
	}
	return info, nil
}

// book holds the newest record of every peer heard of. Not for concurrent use.
type book struct {
	infos map[kcptransport.PeerID]*peerInfo
}

// newer says whether a record is news, before the cost of verifying it.
func (b *book) newer(peer []byte, made int64) bool {
	var id kcptransport.PeerID
	if len(peer) != len(id) {
		return false
	}
	copy(id[:], peer)
	have := b.infos[id]
	return have == nil || made > have.made.UnixMilli()
}

func (b *book) put(info *peerInfo, now time.Time) {
	if b.infos == nil {
		b.infos = map[kcptransport.PeerID]*peerInfo{}
	}
	b.infos[info.Peer] = info
	if len(b.infos) > maxRecords {
		b.prune(now)
	}
}

// prune forgets what expired, then the oldest records until the bound holds.
func (b *book) prune(now time.Time) {
	for id, i := range b.infos {
		if now.Sub(i.made) > recordLifetime {
			delete(b.infos, id)
		}
	}
	if len(b.infos) <= maxRecords {
		return
	}
	for _, i := range b.sorted()[maxRecords:] {
		delete(b.infos, i.Peer)
	}
}

// sorted returns the records, newest first.
func (b *book) sorted() []*peerInfo {
	all := make([]*peerInfo, 0, len(b.infos))
	for _, i := range b.infos {
		all = append(all, i)
	}
	slices.SortFunc(all, func(x, y *peerInfo) int {
		return cmp.Or(y.made.Compare(x.made), x.Peer.Compare(y.Peer))
	})
	return all
}
