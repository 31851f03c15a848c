package relaymesh

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// A circuit, a peer and the whole switch carry what their limits say, each of them, and not much less.
func TestSwitchRates(t *testing.T) {
	const lasts = 4 * time.Second
	cases := []struct {
		name string
		cfg  SwitchConfig
		l    Limits
		want [3]float64 // bytes a second of two circuits of one peer and one of another
	}{
		{"no limit", SwitchConfig{}, Limits{}, [3]float64{4e6, 4e6, 4e6}},
		{"circuit", SwitchConfig{}, Limits{BytesPerSecond: 1e6}, [3]float64{1e6, 1e6, 1e6}},
		{"peer", SwitchConfig{BytesPerSecondPerPeer: 3e6}, Limits{}, [3]float64{1.5e6, 1.5e6, 3e6}},
		{"total", SwitchConfig{BytesPerSecond: 4e6}, Limits{}, [3]float64{1e6, 1e6, 2e6}},
		{"total and circuit", SwitchConfig{BytesPerSecond: 4e6}, Limits{BytesPerSecond: 1.5e6}, [3]float64{1.25e6, 1.25e6, 1.5e6}},
		{"slower than a packet in 20 ms", SwitchConfig{}, Limits{BytesPerSecond: 20e3}, [3]float64{20e3, 20e3, 20e3}},
	}
	for _, tc := range cases {
		synctest.Test(t, func(t *testing.T) {
			c := newCrossing(t, tc.cfg)
			stop := c.run()
			defer stop()
			var sources []*source
			var got []*arrivals
			for _, from := range []int{2, 2, 3} {
				conn, a := c.connect(from, 1, tc.l)
				got, sources = append(got, a), append(sources, &source{conn: conn, size: 1000, rate: 4e6})
			}
			c.play(lasts, sources...)
			for i, a := range got {
				rate := float64(a.bytes) / lasts.Seconds()
				if rate < 0.98*tc.want[i] || rate > 1.02*tc.want[i]+bucketBytes/lasts.Seconds() {
					t.Errorf("%s: circuit %d got %.0f bytes a second, want %.0f", tc.name, i, rate, tc.want[i])
				}
				if a.late > 0 || tc.want[i] >= 1e6 && a.longest > queueTime+drainPause {
					t.Errorf("%s: circuit %d: %+v", tc.name, i, *a)
				}
			}
		})
	}
}

// Small packets of the other direction do not wait behind what fills the queue of a circuit.
func TestSwitchDirections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrossing(t, SwitchConfig{})
		stop := c.run()
		defer stop()
		conn, _ := c.connect(2, 3, Limits{BytesPerSecond: 1e6})
		back := &arrivals{}
		c.got[99] = back
		conn.SetRemote(SideA, 99)
		acks := &Connection{entries: [2]*entry{conn.entries[SideB]}}
		c.play(time.Second, &source{conn: conn, size: 1200, rate: 3e6}, &source{conn: acks, size: 50, rate: 5000})
		if back.packets < 98 || back.longest > 3*time.Millisecond {
			t.Errorf("%+v", *back)
		}
	})
}

// A circuit ends when it has carried as many bytes, or lasted as long, as it may. What waits is dropped when it is closed.
func TestSwitchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrossing(t, SwitchConfig{})
		bytes, got := c.connect(2, 1, Limits{Bytes: 3000})
		old, _ := c.connect(2, 1, Limits{Duration: time.Minute})
		closed, _ := c.connect(3, 1, Limits{BytesPerSecond: 1000})
		for range 4 {
			c.send(bytes, 1000)
		}
		if <-bytes.Done(); !errors.Is(bytes.Err(), ErrLimit) || got.bytes != 3000 {
			t.Errorf("ended with %v after %d bytes", bytes.Err(), got.bytes)
		}
		for range 20 {
			c.send(closed, 1000)
		}
		stats := c.s.Stats()
		if p := stats.Peers[peerNumber(3)]; stats.Queued != 4 || p.Queued != 4000 || p.Packets != 16 || p.Circuits != 1 {
			t.Errorf("stats %+v", stats)
		}
		if closed.Err() != nil {
			t.Errorf("ended with %v before it was closed", closed.Err())
		}
		closed.Close()
		closed.Close()
		if !errors.Is(closed.Err(), net.ErrClosed) || c.s.Stats().Queued != 0 || c.s.total.queued != 0 {
			t.Errorf("closed: %v, %+v", closed.Err(), c.s.Stats())
		}
		start := time.Now()
		if <-old.Done(); time.Since(start) != time.Minute || !errors.Is(old.Err(), ErrLimit) {
			t.Errorf("ended after %v with %v", time.Since(start), old.Err())
		}
		if s := c.s.Stats(); s.Circuits != 0 || len(s.Peers) != 0 || len(c.s.peers)+len(c.s.networks) != 0 {
			t.Errorf("left: %+v", s)
		}
	})
}

// Whatever waits, it takes no more buffers than it may, and the one who fills them loses.
func TestSwitchBuffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrossing(t, SwitchConfig{BytesPerSecond: 100e6, QueuePackets: 16})
		modest, _ := c.connect(2, 1, Limits{BytesPerSecond: 10_000})
		blast, _ := c.connect(3, 1, Limits{})
		for range 13 + 1 {
			c.send(modest, 1200) // the last one waits
		}
		for range 1000 {
			c.send(blast, 1200)
		}
		s := c.s.Stats()
		if s.Queued != 16 || c.s.made != 16 || s.Peers[peerNumber(2)].Dropped != 0 || s.Overflow != s.Peers[peerNumber(3)].Dropped {
			t.Errorf("stats %+v", s)
		}
		stop := c.run()
		defer stop()
		time.Sleep(time.Second)
		if s = c.s.Stats(); s.Queued != 0 || s.Late != 0 || s.Packets+s.Overflow != 14+1000 {
			t.Errorf("stats %+v", s)
		}
	})
}

// batchFor makes a batch of packets of a connection, and what gives them their labels back.
func batchFor(conn *Connection, n, size int) (packets [][]byte, from []netip.AddrPort, restore func()) {
	first := append(packetFor(conn.LabelFor(SideA), ""), make([]byte, size-relayPrefix)...)
	for range n {
		packets = append(packets, append([]byte(nil), first...))
		from = append(from, conn.entries[SideA].from.Addr())
	}
	return packets, from, func() {
		for _, p := range packets {
			copy(p, first[:relayPrefix])
		}
	}
}

// Neither a packet that passes nor one that waits allocates anything.
func TestSwitchAllocatesNothing(t *testing.T) {
	for _, l := range []Limits{{}, {BytesPerSecond: 100e6}} {
		s, conn := openSwitch(t, SwitchConfig{QueuePackets: 128}, l)
		packets, from, restore := batchFor(conn, 64, 1200)
		var d departure
		round := func() {
			restore()
			s.Forward(packets, from)
			s.drain(&d)
		}
		for range 100 {
			round()
		}
		if n := testing.AllocsPerRun(100, round); n != 0 {
			t.Errorf("limits %+v: %v allocations for 64 packets", l, n)
		}
		if waited := s.Stats().Overflow > 0; waited != (l.BytesPerSecond > 0) {
			t.Errorf("limits %+v: %+v", l, s.Stats())
		}
	}
}

// openSwitch makes a switch that sends nothing, with one circuit.
func openSwitch(tb testing.TB, cfg SwitchConfig, l Limits) (*Switch, *Connection) {
	tb.Helper()
	cfg.Write = func(bufs [][]byte, _ []netip.AddrPort) (int, error) { return len(bufs), nil }
	s, err := NewSwitch(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	conn, err := s.Connect(testNeighbor(alice), testNeighbor(bob), l)
	if err != nil {
		tb.Fatal(err)
	}
	conn.SetRemote(SideB, 5)
	return s, conn
}

// What a packet costs a relay beside the system calls: with no limit, with one that is not reached, and with one that is.
func BenchmarkSwitch(b *testing.B) {
	for name, l := range map[string]Limits{"free": {}, "limited": {BytesPerSecond: 1e15}, "overload": {BytesPerSecond: 1e6}} {
		b.Run(name, func(b *testing.B) {
			s, conn := openSwitch(b, SwitchConfig{}, l)
			packets, from, restore := batchFor(conn, 64, 1200)
			b.ReportAllocs()
			for b.Loop() {
				restore()
				s.Forward(packets, from)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/packet")
		})
	}
}

// A bucket that was idle lets no more pass at once than the queue behind it would let wait, but for the first time.
func TestBucketRoom(t *testing.T) {
	for _, tc := range []struct{ rate, first, later int }{
		{125_000, bucketBytes, 2 * maxTransit},
		{625_000, bucketBytes, 3125},
		{12_500_000, 62_500, 62_500},
	} {
		b, now := newBucket(uint64(tc.rate)), epoch
		if n := b.has(now); n != tc.first {
			t.Errorf("%d bytes a second: %d pass at first, want %d", tc.rate, n, tc.first)
		}
		if now = now.Add(time.Second); b.has(now) != tc.first {
			t.Errorf("%d bytes a second: what a new one holds is lost", tc.rate)
		}
		b.take(tc.first)
		if n := b.has(now.Add(time.Second)); n != tc.later {
			t.Errorf("%d bytes a second: %d pass after a pause, want %d", tc.rate, n, tc.later)
		}
	}
}

// Where one packet takes longer than 5 ms, those are marked that waited for another one.
func TestSwitchMarksSlow(t *testing.T) {
	for _, tc := range []struct {
		part   float64 // of the limit that is sent
		marked bool
	}{{0.95, false}, {1.3, true}} {
		synctest.Test(t, func(t *testing.T) {
			c := newCrossing(t, SwitchConfig{})
			stop := c.run()
			defer stop()
			const rate = 125_000
			conn, got := c.connect(2, 3, Limits{BytesPerSecond: rate})
			c.play(4*time.Second, &source{conn: conn, size: 1200, rate: tc.part * rate})
			if part := float64(got.marked) / float64(got.packets); (part > 0.5) != tc.marked || !tc.marked && part > 0 {
				t.Errorf("%v of the limit: %d of %d packets are marked", tc.part, got.marked, got.packets)
			}
			if got.longest > 2*queueTime+drainPause {
				t.Errorf("one waited %v", got.longest)
			}
		})
	}
}
