package api

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/relaymesh"
)

// testOwnRecord has something in every field.
func testOwnRecord(addrs []netip.AddrPort) ownRecord {
	return ownRecord{
		addrs: addrs, neighbours: []kcptransport.PeerID{testIdentity(2).ID()}, relay: true, load: 3, urls: []string{"tcp://192.0.2.1:443", "wss://relay.example/"},
		relays: []relaymesh.RelayLink{{Relay: testIdentity(3).ID(), RTT: 40 * time.Millisecond}, {Relay: testIdentity(4).ID(), RTT: time.Hour}},
	}
}

func TestRecordCheck(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	id := testIdentity(1)
	addrs := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:7337")}
	good := makeRecord(id, "app", now, testOwnRecord(addrs), false)
	info, err := good.check("app", now)
	if err != nil {
		t.Fatal(err)
	}
	if info.Peer != id.ID() || info.Addrs[0] != addrs[0] || info.neighbours[0] != testIdentity(2).ID() || !info.relay || info.load != 0.75 || len(info.URLs) != 2 || info.URLs[1] != "wss://relay.example/" ||
		len(info.relays) != 2 || info.relays[0] != (relaymesh.RelayLink{Relay: testIdentity(3).ID(), RTT: 40 * time.Millisecond}) ||
		info.relays[1].RTT != 65535*time.Millisecond {
		t.Errorf("got %+v", info)
	}
	for name, check := range map[string]func() (*peerInfo, error){
		"another application": func() (*peerInfo, error) { return good.check("other", now) },
		"too old":             func() (*peerInfo, error) { return good.check("app", now.Add(recordLifetime+time.Second)) },
		"from the future":     func() (*peerInfo, error) { return good.check("app", now.Add(-recordDrift-time.Second)) },
		"changed": func() (*peerInfo, error) {
			r := good
			r.Left = true
			return r.check("app", now)
		},
		"of another author": func() (*peerInfo, error) {
			r := good
			other := testIdentity(3).ID()
			r.Peer = other[:]
			return r.check("app", now)
		},
		"another load": func() (*peerInfo, error) {
			r := good
			r.Load = 0
			return r.check("app", now)
		},
		"short ID": func() (*peerInfo, error) {
			r := good
			r.Peer = r.Peer[:31]
			return r.check("app", now)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := check(); err == nil {
				t.Error("the record was believed")
			}
		})
	}
}

func TestBookStaysBounded(t *testing.T) {
	var b book
	now := time.Unix(1_700_000_000, 0)
	for i := range maxRecords + 100 {
		var id kcptransport.PeerID
		id[0], id[1] = byte(i), byte(i>>8)
		b.put(&peerInfo{Contact: Contact{Peer: id}, made: now.Add(time.Duration(i) * time.Millisecond)}, now)
	}
	if len(b.infos) > maxRecords {
		t.Errorf("%d records kept, at most %d are allowed", len(b.infos), maxRecords)
	}
	var newest kcptransport.PeerID
	last := maxRecords + 99
	newest[0], newest[1] = byte(last), byte(last>>8)
	if b.infos[newest] == nil {
		t.Error("the newest record was forgotten")
	}
	if b.newer(newest[:], now.UnixMilli()) || !b.newer(newest[:], now.Add(time.Hour).UnixMilli()) {
		t.Error("newer is wrong about the newest record")
	}
}

// In a room of many, where each record names many neighbours and relays, a batch of records is told in frames that the other side
// takes.
func TestGossipFramesAreTaken(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	own := testOwnRecord([]netip.AddrPort{netip.MustParseAddrPort("1.2.3.4:5"), netip.MustParseAddrPort("[2001:db8::1]:7337")})
	for i := range maxNeighbours {
		own.neighbours = append(own.neighbours, testIdentity(byte(i)).ID())
	}
	for i := range maxRelayLinks {
		own.relays = append(own.relays, relaymesh.RelayLink{Relay: testIdentity(byte(i)).ID(), RTT: time.Minute})
	}
	for _, n := range []int{0, 1, maxBatch} {
		var records []record
		for i := range n {
			records = append(records, makeRecord(testIdentity(byte(i)), "test", now, own, false))
		}
		var b bytes.Buffer
		for _, f := range gossipFrames(records, nil, nil) {
			if err := writeFrame(&b, f); err != nil {
				t.Fatal(err)
			}
		}
		var got []record
		for b.Len() > 0 {
			var f gossipFrame
			if err := readFrame(&b, maxGossipFrame, &f); err != nil {
				t.Fatal(err)
			}
			if len(f.Records) == 0 || len(f.Records) > maxBatch {
				t.Fatalf("%d records in a frame", len(f.Records))
			}
			got = append(got, f.Records...)
		}
		if len(got) != n {
			t.Fatalf("%d of %d records", len(got), n)
		}
		for i, r := range got {
			if _, err := r.check("test", now); err != nil || !bytes.Equal(r.Sig, records[i].Sig) {
				t.Errorf("record %d: %v", i, err)
			}
		}
	}
}

// A record that is accepted says what its author signed, and stays within the bounds.
func FuzzRecordCheck(f *testing.F) {
	id, now := testIdentity(1), time.Unix(1_700_000_000, 0)
	good := makeRecord(id, "test", now, testOwnRecord([]netip.AddrPort{netip.MustParseAddrPort("1.2.3.4:5")}), false)
	f.Add(mustMarshal(gossipFrame{Records: []record{good}}))
	good.Sig = good.Sig[:63]
	f.Add(mustMarshal(gossipFrame{Records: []record{good, {}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var g gossipFrame
		if decMode.Unmarshal(b, &g) != nil {
			return
		}
		var k book
		for _, r := range g.Records[:min(len(g.Records), maxBatch)] {
			k.newer(r.Peer, r.Time)
			info, err := r.check("test", now)
			if err != nil {
				continue
			}
			if len(info.neighbours) > maxNeighbours || len(info.relays) > maxRelayLinks || info.load > 1 || info.made.After(now.Add(recordDrift)) || info.Peer.IsZero() {
				t.Errorf("accepted %+v", info)
			}
			k.put(info, now)
		}
	})
}
