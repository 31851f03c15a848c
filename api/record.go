package api

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/relaymesh"
)

// Bounds of what peers tell each other about peers.
const (
	maxRecords      = 1024             // records kept; the oldest goes first
	maxBatch        = 64               // records in one gossip frame
	maxNeighbours   = 64               // links named in a record
	maxRelayLinks   = 8                // relays named in a record with their round trip
	recordLifetime  = 2 * time.Hour    // after this a record is forgotten
	recordRefresh   = 20 * time.Minute // how often we renew our own
	recordDrift     = 5 * time.Minute  // how far ahead of our clock a record may be
	maxGossipFrame  = 64 << 10
	recordSignature = "xppg peer record v1\x00"
)

// A record is what a peer says of itself, signed with its key: where it may be
// reached, and by which neighbours it can be introduced. The newest wins.
type record struct {
	Peer       []byte      `cbor:"0,keyasint"`
	Time       int64       `cbor:"1,keyasint"` // when it was made, in Unix milliseconds; also its sequence number
	Addrs      [][]byte    `cbor:"2,keyasint,omitempty"`
	Neighbours [][]byte    `cbor:"3,keyasint,omitempty"`
	Left       bool        `cbor:"4,keyasint,omitempty"` // the peer said goodbye
	Relay      bool        `cbor:"6,keyasint,omitempty"` // the peer relays for others
	URLs       []string    `cbor:"7,keyasint,omitempty"` // where it takes connections
	Relays     []relayLink `cbor:"8,keyasint,omitempty"` // by which it can be reached; of a relay: to which it has links
	Load       uint8       `cbor:"9,keyasint,omitempty"` // of a relay: how much of what it can do it does, in quarters
	Sig        []byte      `cbor:"5,keyasint,omitempty"` // over the application's name and all of the above
}

// relayLink is a link to a relay.
type relayLink struct {
	Relay []byte `cbor:"0,keyasint"`
	RTT   uint16 `cbor:"1,keyasint,omitempty"` // in ms, 0 when it is not known
}

// gossipFrame is what a peer tells of peers.
type gossipFrame struct {
	Records []record      `cbor:"0,keyasint,omitempty"`
	Offers  []recordOffer `cbor:"1,keyasint,omitempty"` // records that it has
	Asks    [][]byte      `cbor:"2,keyasint,omitempty"` // peers whose records it wants
}

// recordOffer names a record.
type recordOffer struct {
	_    struct{} `cbor:",toarray"`
	Peer []byte
	Time int64 // as in the record
}

// peerInfo is a record that was checked.
type peerInfo struct {
	Contact
	made       time.Time
	left       bool
	relay      bool
	neighbours []kcptransport.PeerID
	relays     []relaymesh.RelayLink
	load       float64 // 0 to 1
	raw        record
}

func (r record) signedBytes(app string) []byte {
	r.Sig = nil
	return append(append([]byte(recordSignature+app), 0), mustMarshal(r)...)
}

// makeRecord signs what we say of ourselves.
func makeRecord(id *kcptransport.Identity, app string, now time.Time, own ownRecord, left bool) record {
	c := packContact(Contact{Peer: id.ID(), Addrs: own.addrs, URLs: own.urls})
	r := record{Peer: c.Peer, Addrs: c.Addrs, URLs: c.URLs, Time: now.UnixMilli(), Left: left, Relay: own.relay, Load: uint8(own.load)}
	for _, n := range own.neighbours[:min(len(own.neighbours), maxNeighbours)] {
		r.Neighbours = append(r.Neighbours, bytes.Clone(n[:]))
	}
	for _, l := range own.relays[:min(len(own.relays), maxRelayLinks)] {
		ms := min(l.RTT.Milliseconds(), math.MaxUint16)
		r.Relays = append(r.Relays, relayLink{Relay: bytes.Clone(l.Relay[:]), RTT: uint16(ms)})
	}
	r.Sig = id.Sign(r.signedBytes(app))
	return r
}

// peerID returns the peer ID in some bytes, if they are as many as it has.
func peerID(b []byte) (id kcptransport.PeerID, ok bool) {
	if len(b) != len(id) {
		return id, false
	}
	return kcptransport.PeerID(b), true
}

var errMalformedRecord = errors.New("api: malformed peer record")

// check verifies a record that somebody passed on.
func (r record) check(app string, now time.Time) (*peerInfo, error) {
	if len(r.Neighbours) > maxNeighbours || len(r.Relays) > maxRelayLinks || r.Load > 4 || len(r.Sig) != 64 {
		return nil, errMalformedRecord
	}
	c, err := unpackContact(wireContact{Peer: r.Peer, Addrs: r.Addrs, URLs: r.URLs})
	if err != nil {
		return nil, fmt.Errorf("api: malformed peer record: %w", err)
	}
	info := &peerInfo{Contact: c, made: time.UnixMilli(r.Time), left: r.Left, relay: r.Relay, load: float64(r.Load) / 4, raw: r}
	if ofAnotherTime(r.Time, now) {
		return nil, errors.New("api: peer record of another time (check the clocks)")
	}
	for _, n := range r.Neighbours {
		id, ok := peerID(n)
		if !ok {
			return nil, errMalformedRecord
		}
		info.neighbours = append(info.neighbours, id)
	}
	for _, l := range r.Relays {
		id, ok := peerID(l.Relay)
		if !ok {
			return nil, errMalformedRecord
		}
		info.relays = append(info.relays, relaymesh.RelayLink{Relay: id, RTT: time.Duration(l.RTT) * time.Millisecond})
	}
	if !kcptransport.Verify(c.Peer, r.signedBytes(app), r.Sig) {
		return nil, errors.New("api: peer record with a wrong signature")
	}
	return info, nil
}

// ofAnotherTime reports whether a record says that it was made longer ago than records live, or later than clocks differ.
func ofAnotherTime(made int64, now time.Time) bool {
	at := time.UnixMilli(made)
	return at.After(now.Add(recordDrift)) || now.Sub(at) > recordLifetime
}

// book holds the newest record of every peer heard of. Not for concurrent use.
type book struct {
	infos map[kcptransport.PeerID]*peerInfo
}

// newer says whether a record is news, before the cost of verifying it.
func (b *book) newer(peer []byte, made int64) bool {
	id, ok := peerID(peer)
	have := b.infos[id]
	return ok && (have == nil || made > have.made.UnixMilli())
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
