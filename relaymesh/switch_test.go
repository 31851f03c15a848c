package relaymesh

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/internal/seeded"
)

// crossing is a switch with circuits whose packets carry the time at which they were sent.
type crossing struct {
	t *testing.T
	s *Switch

	mu   sync.Mutex
	got  map[uint32]*arrivals // by the label that the far side wants
	last uint32
}

// arrivals is what came out of one circuit.
type arrivals struct {
	packets, bytes, marked int
	late                   int // packets that took more than 5 ms and have no mark
	longest                time.Duration
	latest                 time.Time // when the last one was sent
}

func newCrossing(t *testing.T, cfg SwitchConfig) *crossing {
	t.Helper()
	c := &crossing{t: t, got: map[uint32]*arrivals{}}
	cfg.Rand, cfg.Write = seeded.New([32]byte{1}), c.write
	var err error
	if c.s, err = NewSwitch(cfg); err != nil {
		t.Fatal(err)
	}
	return c
}

// run lets the switch drain until the returned function is called.
func (c *crossing) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- c.s.Run(ctx) }()
	return func() {
		c.t.Helper()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			c.t.Errorf("Run ended with %v", err)
		}
	}
}

// connect makes a circuit from one peer to another that carries packets from the first to the second.
func (c *crossing) connect(from, to int, l Limits) (*Connection, *arrivals) {
	c.t.Helper()
	conn, err := c.s.Connect(testNeighbor(peerNumber(from)), testNeighbor(peerNumber(to)), l)
	if err != nil {
		c.t.Fatal(err)
	}
	a := &arrivals{}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	c.got[c.last] = a
	conn.SetRemote(SideB, c.last)
	return conn, a
}

const sentAt = relayPrefix + 8 // the size of the smallest packet that send makes

// send makes a packet of n bytes arrive from side A.
func (c *crossing) send(conn *Connection, n int) {
	p := make([]byte, n)
	p[0] = typeRelayed
	binary.BigEndian.PutUint32(p[1:], conn.LabelFor(SideA))
	binary.BigEndian.PutUint64(p[relayPrefix:], uint64(time.Now().UnixNano()))
	c.s.Forward([][]byte{p}, []netip.AddrPort{conn.entries[SideA].from.Addr()})
}

func (c *crossing) write(bufs [][]byte, addrs []netip.AddrPort) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, b := range bufs {
		a := c.got[binary.BigEndian.Uint32(b[1:])]
		if a == nil || len(b) < sentAt || !addrs[i].IsValid() {
			c.t.Fatalf("sent %x to %v", b, addrs[i])
		}
		sent := time.Unix(0, int64(binary.BigEndian.Uint64(b[relayPrefix:])))
		if sent.Before(a.latest) {
			c.t.Errorf("a packet overtook another")
		}
		a.latest = sent
		d := time.Since(sent)
		a.packets++
		a.bytes += len(b)
		a.longest = max(a.longest, d)
		if b[0] == typeRelayedMarked {
			a.marked++
		} else if d > markAfter {
			a.late++
		}
	}
	return len(bufs), nil
}

// source sends packets of one size at one rate into a circuit.
type source struct {
	conn *Connection
	size int
	rate float64 // bytes a second
	due  time.Time
}

// play has sources send for a while, in virtual time, and returns when all has arrived.
func (c *crossing) play(lasts time.Duration, sources ...*source) {
	end := time.Now().Add(lasts)
	for i, s := range sources { // not all in the same moment
		s.due = time.Now().Add(time.Duration(i) * 37 * time.Microsecond)
	}
	for {
		first := slices.MinFunc(sources, func(a, b *source) int { return a.due.Compare(b.due) })
		if first.due.After(end) {
			break
		}
		time.Sleep(time.Until(first.due))
		c.send(first.conn, first.size)
		first.due = first.due.Add(time.Duration(float64(first.size) / first.rate * float64(time.Second)))
	}
	for c.s.Stats().Queued > 0 {
		time.Sleep(time.Millisecond)
	}
	synctest.Wait()
}

// One circuit at full blast and 20 modest ones share a total limit: each modest one gets at least 90 % of its fair share, none
// waits for more than 20 ms, and nothing of the limit stays unused. The bar of issue 4. It holds, too, when the peer that
// blasts has ten circuits to do it on.
func TestSwitchFairness(t *testing.T) {
	for _, circuits := range []int{1, 10} {
		synctest.Test(t, func(t *testing.T) {
			const (
				total  = 5_000_000
				modest = 20
				fair   = total / (modest + 1)
				lasts  = 5 * time.Second
				size   = 1200
			)
			c := newCrossing(t, SwitchConfig{BytesPerSecond: total})
			stop := c.run()
			defer stop()
			var all []*arrivals
			var sources []*source
			add := func(from int, rate float64) {
				conn, a := c.connect(from, 1, Limits{})
				all, sources = append(all, a), append(sources, &source{conn: conn, size: size, rate: rate})
			}
			for i := range modest {
				add(10+i, fair)
			}
			for range circuits {
				add(2, 3*total/float64(circuits))
			}
			c.play(lasts, sources...)
			bytes := 0
			for i, a := range all {
				bytes += a.bytes
				if share := float64(a.bytes) / (fair * lasts.Seconds()); i < modest && share < 0.9 {
					t.Errorf("%d circuits: modest circuit %d got %.3f of its share", circuits, i, share)
				}
				if a.longest > queueTime+drainPause || a.late > 0 {
					t.Errorf("%d circuits: circuit %d: %+v", circuits, i, *a)
				}
			}
			if used := float64(bytes) / (total * lasts.Seconds()); used < 0.99 || used > 1.01 {
				t.Errorf("%d circuits: %.3f of the limit was used", circuits, used)
			}
			if blast := all[modest]; blast.marked < blast.packets*3/4 || c.s.Stats().Peers[peerNumber(2)].Dropped == 0 {
				t.Errorf("%d circuits: the blast was marked in %d of %d packets", circuits, blast.marked, blast.packets)
			}
		})
	}
}

// A host that has a hundred keys gets the shares of sixteen peers, and those elsewhere get theirs, without waiting longer.
func TestSwitchSharesByNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			total  = 5_000_000
			keys   = 100
			others = 4
			fair   = total / (networkShares + others)
			lasts  = 5 * time.Second
		)
		c := newCrossing(t, SwitchConfig{BytesPerSecond: total, Where: func(n Neighbor) netip.Addr {
			if id := n.Peer(); id[3] <= others+10 {
				return netip.AddrFrom4([4]byte{198, 51, id[3], 1})
			}
			return netip.AddrFrom4([4]byte{192, 0, 2, 1})
		}})
		stop := c.run()
		defer stop()
		var sources []*source
		var elsewhere []*arrivals
		for i := range keys + others {
			from, rate := 10+i, float64(fair)
			conn, a := c.connect(from, 1, Limits{})
			if i < others {
				elsewhere = append(elsewhere, a)
			}
			sources = append(sources, &source{conn: conn, size: 1200, rate: rate})
		}
		c.play(lasts, sources...)
		bytes := c.s.Stats().Bytes
		for i, a := range elsewhere {
			if share := float64(a.bytes) / (fair * lasts.Seconds()); share < 0.9 || a.longest > queueTime+drainPause {
				t.Errorf("peer %d got %.3f of its share: %+v", i, share, *a)
			}
		}
		if used := float64(bytes) / (total * lasts.Seconds()); used < 0.99 || used > 1.01 {
			t.Errorf("%.3f of the limit was used", used)
		}
	})
}
