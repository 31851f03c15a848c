package api

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/relaymesh"
)

// claim has a hostile node ask a relay for circuits to a target in the name of somebody, again and again.
func (n *node) claim(ctx context.Context, relay *node, origin, target kcptransport.PeerID, all *sync.WaitGroup) {
	p, err := n.peer(relay.ID())
	if err != nil {
		n.w.t.Fatal(err)
	}
	me := n.ID()
	body := slices.Concat([]byte{0x10, 1}, target[:], []byte{0, 0, 0, 9}, []byte{2}, origin[:], me[:], []byte{0})
	for range 20 {
		all.Go(func() {
			for ctx.Err() == nil {
				s, err := p.open(ctx, relaymesh.KindCircuit)
				if err != nil {
					return
				}
				stop := context.AfterFunc(ctx, func() { s.Reset(0) })
				_, _ = s.Write(relayFrame(body))
				for err, b := error(nil), make([]byte, 1000); err == nil; {
					_, err = s.Read(b)
				}
				stop()
				s.Reset(0)
				pause(ctx, 2*time.Second)
			}
		})
	}
}

// Who asks a relay in the name of two peers for circuits between them does not keep them from having real ones.
func TestClaimedOrigins(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b, rs := w.relayed("symmetric", "symmetric", 1)
		m := w.public(noMesh)
		m.meet(rs[0])
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		m.claim(ctx, rs[0], b.ID(), a.ID(), &all)
		m.claim(ctx, rs[0], a.ID(), b.ID(), &all)
		time.Sleep(10 * time.Second)
		start := time.Now()
		if err := talk(t.Context(), a, b); err != nil {
			t.Error(err)
		} else if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
		cancel()
		all.Wait()
	})
}

// spreadConn is the socket of a relay that puts half of what it carries to a peer on circuits that it has made up.
type spreadConn struct {
	kcptransport.PacketConn
	mu     sync.Mutex
	labels []uint32
	n      int
}

func (c *spreadConn) WriteBatch(bufs [][]byte, addrs []netip.AddrPort) (int, error) {
	c.mu.Lock()
	for _, b := range bufs {
		if b[0]&^1 != 0xd0 || len(c.labels) == 0 {
			continue
		}
		if c.n++; c.n%2 == 0 {
			binary.BigEndian.PutUint32(b[1:], c.labels[c.n/2%len(c.labels)])
		}
	}
	c.mu.Unlock()
	return c.PacketConn.WriteBatch(bufs, addrs)
}

// A relay that carries packets of a peer, and says that they came by ways of which each is another one, does not take all circuits to it.
func TestRelayThatMakesUpWays(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var conn *spreadConn
		h := w.public(relays, func(c *Config) { conn = &spreadConn{PacketConn: c.Conn}; c.Conn = conn })
		a, b, _ := w.relayed("symmetric", "symmetric", 0)
		a.meet(h)
		b.meet(h)
		time.Sleep(3 * time.Second)
		a.join(b.ID().String())
		time.Sleep(time.Second)
		p, err := h.peer(a.ID())
		if err != nil {
			t.Fatal(err)
		}
		for i := range 6 {
			for j := range maxOffered { // from each of those who, as it says, have asked it
				s, err := p.open(t.Context(), relaymesh.KindRelayed)
				if err != nil {
					t.Fatal(err)
				}
				b, me, other := b.ID(), h.ID(), testIdentity(byte(200+i)).ID()
				body := slices.Concat([]byte{0x11, 1}, b[:], []byte{0x80, 0, 0, byte(1 + j)}, make([]byte, 24), []byte{2}, other[:], me[:])
				_, _ = s.Write(relayFrame(body))
				answer := make([]byte, 7) // granted, and the label
				if _, err := io.ReadFull(s, answer); err == nil && answer[2] == 0x12 {
					conn.mu.Lock()
					conn.labels = append(conn.labels, binary.BigEndian.Uint32(answer[3:]))
					conn.mu.Unlock()
				}
			}
			for range 20 {
				_ = b.SendText(w.ctx(time.Second), "hello", a.ID())
			}
		}
		r := w.public(relays)
		a.meet(r)
		b.meet(r)
		time.Sleep(3 * time.Second)
		if by := func(c heldCircuit) bool { return c.wire.Via[0] == r.ID() }; slices.ContainsFunc(a.trustedTo(b.ID()), by) {
			return // they have set one up already, to have a second one
		}
		if _, err := a.relayTo(t.Context(), b.ID()); err != nil {
			t.Errorf("by another relay: %v", err)
		}
	})
}

// Two relays that grant circuits and carry nothing do not cost peers the circuit that is about to end.
func TestMovingToRelaysThatCarryNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for range 2 {
			w.public(relays, func(c *Config) { c.Conn = holeConn{c.Conn} })
		}
		holes := slices.Clone(w.nodes)
		a, b, _ := w.relayed("symmetric", "symmetric", 1, func(r *node) { r.SetRelayRules(RelayRules{TimePerCircuit: 2 * time.Minute}) })
		a.join(b.ID().String())
		p, err := a.peer(b.ID())
		if err != nil {
			t.Fatal(err)
		}
		w.eventually("one circuit is about to end", 5*time.Minute, func() bool {
			staying, moving := p.circuits()
			return len(moving) == 0 && len(staying) == 1 && time.Since(staying[0].since) > 88*time.Second
		})
		for _, h := range holes {
			a.meet(h)
			b.meet(h)
		}
		info, _ := a.PathTo(b.ID())
		if gap := w.countBoth(a, b, 20*time.Second); gap > info.RTT+5*time.Millisecond {
			t.Errorf("the longest gap was %v, a round trip is %v", gap, info.RTT)
		}
	})
}

// A direct path that takes over from a relay with a low limit is as fast as one that takes over from another relay: marks
// for what went by the relay do not count for it.
func TestMarksOfThePathBefore(t *testing.T) {
	took := func(rate uint64) (d time.Duration) {
		inWorld(t, func(t *testing.T, w *world) {
			w.link.Delay, w.link.Rate = 40*time.Millisecond, 200_000_000
			a, b, rs := w.relayed("port-restricted", "port-restricted", 1)
			b.cfg.AllowBench = true
			rs[0].SetRelayRules(RelayRules{BytesPerSecond: rate})
			a.join(b.ID().String())
			start := time.Now()
			if _, err := a.Bench(w.ctx(time.Minute), b.ID(), 32<<20, 1, false); err != nil {
				t.Fatal(err)
			}
			d = time.Since(start)
		})
		return d
	}
	if free, limited := took(0), took(125_000); limited > free*5/4 {
		t.Errorf("it took %v after a relay with a limit, %v after one without", limited, free)
	}
}

// muteStream takes all and never says anything.
type muteStream struct {
	stream
	ctx context.Context
}

func (s muteStream) Write(b []byte) (int, error) { return len(b), nil }
func (s muteStream) Read([]byte) (int, error)    { <-s.ctx.Done(); return 0, context.Canceled }
func (s muteStream) Close() error                { return nil }
func (s muteStream) Reset(uint32)                {}

// newMute returns an outbox to a peer that never says anything, which runs until ctx ends, and a payload of that many bytes.
func newMute(ctx context.Context, t *testing.T, run *sync.WaitGroup, size int) (*outbox, []byte) {
	t.Helper()
	o := newOutbox(testIdentity(1).ID(), func(context.Context) (stream, error) { return muteStream{ctx: ctx}, nil })
	run.Go(func() { o.run(ctx, func() error { return nil }) })
	payload, err := encodePayload(bytes.Repeat([]byte{0}, size))
	if err != nil {
		t.Fatal(err)
	}
	return o, payload
}

// What a peer reads and does not acknowledge counts as in line: Post waits.
func TestPostToMutePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		o, payload := newMute(ctx, t, &run, 1<<20-100)
		var err error
		n := 0
		for ; n < 64 && err == nil; n++ {
			c, stop := context.WithTimeout(ctx, 10*time.Millisecond)
			_, err = postAll(c, []*peer{{out: o}}, envelope{Type: typeMessage, Kind: "x", Payload: payload})
			stop()
			synctest.Wait()
		}
		if !errors.Is(err, context.DeadlineExceeded) || n > outboxBytes>>20+1 {
			t.Errorf("after %d messages: %v", n, err)
		}
		cancel()
		run.Wait()
	})
}

// What a mute peer was sent takes up room until those who wait for it have given up, or the peer is gone. What it is asked takes up none.
func TestMutePeerGivesRoomBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		o, payload := newMute(ctx, t, &run, 1<<20-1000)
		send := func(ctx context.Context, n int, kind uint8) {
			for range n {
				run.Go(func() { _, _ = o.send(ctx, envelope{Type: kind, Kind: "x", Payload: payload}) })
			}
			synctest.Wait()
		}
		want := func(waiting, room int) {
			t.Helper()
			synctest.Wait()
			if !o.room.TryAcquire(int64(room) << 20) {
				t.Errorf("there is no room for %d", room)
			} else {
				o.room.Release(int64(room) << 20)
			}
			if len(o.waiting) != waiting {
				t.Errorf("%d wait, want %d", len(o.waiting), waiting)
			}
		}
		send(ctx, 8, typeRequest)
		want(8, 4)
		short, stop := context.WithCancel(ctx)
		send(short, 3, typeMessage)
		want(11, 1)
		stop()
		want(8, 4)
		send(t.Context(), 2, typeMessage)
		cancel()
		run.Wait()
		want(0, 4)
	})
}
