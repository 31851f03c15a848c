package relaymesh

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// arrival is a packet on its way to a relay.
type arrival struct {
	circuit  int // -1 for one that there is not
	size     int
	stranger bool
	marked   bool
}

// exit is what a switch sends.
type exit struct {
	to     netip.AddrPort
	bytes  int
	marked bool
}

// replay is a switch with circuits of every kind of limit.
type replay struct {
	s     *Switch
	conns []*Connection
	sent  map[uint32][]exit // by label
}

func newReplay(t *testing.T, rng *rand.Rand) *replay {
	r := &replay{sent: map[uint32][]exit{}}
	c := newCrossing(t, SwitchConfig{
		BytesPerSecond: pick(rng, 0, 0, 3e6), BytesPerSecondPerPeer: pick(rng, 0, 0, 1e6), QueuePackets: 64,
	})
	c.s.cfg.Write = func(bufs [][]byte, addrs []netip.AddrPort) (int, error) {
		for i, b := range bufs {
			label := binary.BigEndian.Uint32(b[1:])
			r.sent[label] = append(r.sent[label], exit{addrs[i], len(b), b[0] == typeRelayedMarked})
		}
		return len(bufs), nil
	}
	r.s = c.s
	for i := range 6 {
		conn, _ := c.connect(2+i/2, 9, Limits{BytesPerSecond: pick(rng, 0, 0, 5e5), Bytes: pick(rng, 0, 0, 40_000)})
		if i == 5 {
			conn.SetRemote(SideB, 0)
		}
		r.conns = append(r.conns, conn)
	}
	return r
}

func pick(rng *rand.Rand, of ...uint64) uint64 { return of[rng.IntN(len(of))] }

// arrive makes packets arrive, at most batch of them at once.
func (r *replay) arrive(batch int, list []arrival) {
	for part := range slices.Chunk(list, batch) {
		var packets [][]byte
		var from []netip.AddrPort
		for _, a := range part {
			p, addr := make([]byte, a.size), testNeighbor(peerNumber(100)).Addr()
			p[0] = typeRelayed
			if a.marked {
				p[0] = typeRelayedMarked
			}
			if a.circuit >= 0 {
				conn := r.conns[a.circuit]
				binary.BigEndian.PutUint32(p[1:], conn.LabelFor(SideA))
				if !a.stranger {
					addr = conn.entries[SideA].from.Addr()
				}
			}
			packets, from = append(packets, p), append(from, addr)
		}
		r.s.Forward(packets, from)
	}
}

// randomArrivals makes a batch in which packets of a circuit often come one after the other.
func randomArrivals(rng *rand.Rand) (list []arrival) {
	a := arrival{size: 1000}
	for range 1 + rng.IntN(64) {
		if rng.IntN(4) == 0 {
			a = arrival{circuit: rng.IntN(7) - 1, size: 6 + rng.IntN(1400), stranger: rng.IntN(10) == 0, marked: rng.IntN(10) == 0}
		}
		list = append(list, a)
	}
	return list
}

// What comes of packets does not depend on how many arrive at once: those of a batch are judged as if each came alone, by every
// limit, and counted so.
func TestSwitchRuns(t *testing.T) {
	var all SwitchStats
	ended := 0
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			together := newReplay(t, rand.New(rand.NewPCG(seed, 1)))
			alone := newReplay(t, rand.New(rand.NewPCG(seed, 1)))
			rng := rand.New(rand.NewPCG(seed, 2))
			var d departure
			for range 30 {
				list := randomArrivals(rng)
				together.arrive(len(list), list)
				alone.arrive(1, list)
				if a, b := together.s.Stats(), alone.s.Stats(); !reflect.DeepEqual(a, b) {
					t.Fatalf("seed %d: after %d packets\n%+v at once\n%+v one by one", seed, len(list), a, b)
				}
				for i, c := range together.conns {
					if other := alone.conns[i]; c.packets != other.packets || c.bytes != other.bytes || !errors.Is(c.err, other.err) {
						t.Fatalf("seed %d: circuit %d: %d packets, %v; %d, %v", seed, i, c.packets, c.err, other.packets, other.err)
					}
				}
				time.Sleep(time.Duration(rng.IntN(8)) * time.Millisecond)
				together.s.drain(&d)
				alone.s.drain(&d)
			}
			if !reflect.DeepEqual(together.sent, alone.sent) {
				t.Fatalf("seed %d: different packets left", seed)
			}
			stats := together.s.Stats()
			all.Packets += stats.Packets
			all.Strange += stats.Strange
			all.Unknown += stats.Unknown
			all.Unready += stats.Unready
			all.Overflow += stats.Overflow
			all.Marked += stats.Marked
			ended += 6 - stats.Circuits
		})
	}
	if min(all.Packets, all.Strange, all.Unknown, all.Unready, all.Overflow, all.Marked) == 0 || ended == 0 {
		t.Errorf("something never happened: %+v, %d circuits ended", all, ended)
	}
}
