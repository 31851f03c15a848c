package relaymesh

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/internal/leaks"
	"github.com/2xppg/xppg/kcptransport"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

var alice, bob, carol = peerNumber(1), peerNumber(2), peerNumber(3)

// room is an introducer whose peers are connected by pipes.
type room struct {
	t      *testing.T
	ctx    context.Context
	stop   context.CancelFunc
	r      *Introducer
	wg     sync.WaitGroup
	offers chan *end // the target's ends of the streams that the introducer opened
	served chan error
}

func newRoom(t *testing.T, cfg IntroducerConfig) *room {
	m := &room{t: t, offers: make(chan *end, 100), served: make(chan error, 100)}
	m.ctx, m.stop = context.WithCancel(context.Background())
	if cfg.Open == nil {
		cfg.Open = func(_ context.Context, target kcptransport.PeerID) (Stream, error) {
			if target != bob {
				return nil, ErrUnknownPeer
			}
			mine, theirs := pipe(KindIntroduced, 64<<10)
			m.offers <- theirs
			return mine, nil
		}
	}
	m.r = NewIntroducer(cfg)
	return m
}

func (m *room) close() {
	m.stop()
	m.wg.Wait()
}

// opener opens streams of peer from to the introducer.
func (m *room) opener(from kcptransport.PeerID) Opener {
	return OpenerFunc(func(_ context.Context, kind string) (Stream, error) {
		mine, theirs := pipe(kind, 64<<10)
		m.wg.Go(func() { m.served <- m.r.Serve(m.ctx, from, theirs) })
		return mine, nil
	})
}

// introduced returns the two ends of an introduction of alice to bob.
func (m *room) introduced() (a, b *Channel) {
	m.t.Helper()
	a, err := Introduce(m.ctx, m.opener(alice), bob)
	if err != nil {
		m.t.Fatal(err)
	}
	b, from, err := Accept(<-m.offers)
	if err != nil {
		m.t.Fatal(err)
	}
	if from != alice {
		m.t.Fatalf("introduced to %v, want %v", from, alice)
	}
	return a, b
}

func (m *room) wantRecv(c *Channel, want string) {
	m.t.Helper()
	got, err := c.Recv()
	if err != nil || string(got) != want {
		m.t.Fatalf("received %q, error %v, want %q", got, err, want)
	}
}

func (m *room) wantRefused(err error, want RefuseCode) {
	m.t.Helper()
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Code != want {
		m.t.Fatalf("error %v, want a refusal: %v", err, want)
	}
}

func TestIntroduction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newRoom(t, IntroducerConfig{})
		defer m.close()
		a, err := Introduce(m.ctx, m.opener(alice), bob)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Send([]byte("before the answer")); err != nil {
			t.Fatal(err)
		}
		<-time.After(40 * time.Millisecond) // the way to bob and back
		b, from, err := Accept(<-m.offers)
		if err != nil || from != alice {
			t.Fatalf("introduced to %v, error %v", from, err)
		}
		m.wantRecv(b, "before the answer")
		_ = b.Send([]byte("hello alice"))
		m.wantRecv(a, "hello alice")
		if a.RTT() != 40*time.Millisecond || b.RTT() != 0 {
			t.Errorf("round trips %v and %v, want 40ms and 0", a.RTT(), b.RTT())
		}
		a.Close()
		if _, err := b.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("after the other side closed: %v", err)
		}
		b.Close()
		if err := <-m.served; err != nil {
			t.Errorf("served: %v", err)
		}
		if s := m.r.Stats(); s.Active != 0 || s.Introduced != 1 || s.Bytes == 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		target kcptransport.PeerID
		cfg    IntroducerConfig
		want   RefuseCode
	}{
		{name: "a peer without a link", target: carol, want: RefusedUnknown},
		{name: "itself", target: alice, want: RefusedRequest},
		{name: "a target that takes no stream", target: bob, want: RefusedByTarget, cfg: IntroducerConfig{
			Open: func(context.Context, kcptransport.PeerID) (Stream, error) { return nil, io.ErrClosedPipe }}},
		{name: "a target that hangs", target: bob, want: RefusedByTarget, cfg: IntroducerConfig{
			Open: func(ctx context.Context, _ kcptransport.PeerID) (Stream, error) { <-ctx.Done(); return nil, ctx.Err() }}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newRoom(t, c.cfg)
				defer m.close()
				a, err := Introduce(m.ctx, m.opener(alice), c.target)
				if err != nil {
					t.Fatal(err)
				}
				defer a.Close()
				_, err = a.Recv()
				m.wantRefused(err, c.want)
				m.wantRefused(<-m.served, c.want)
			})
		})
	}
}

func TestTooManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newRoom(t, IntroducerConfig{PerPeer: 1})
		defer m.close()
		a, b := m.introduced()
		second, _ := Introduce(m.ctx, m.opener(alice), bob)
		_, err := second.Recv()
		m.wantRefused(err, RefusedBusy)
		a.Close()
		b.Close()
		synctest.Wait()
		a, b = m.introduced()
		a.Close()
		b.Close()
	})
}

func TestLimitOfBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newRoom(t, IntroducerConfig{Bytes: 4 << 10})
		defer m.close()
		a, b := m.introduced()
		defer a.Close()
		defer b.Close()
		for range 5 {
			_ = a.Send(make([]byte, 1000))
		}
		for range 4 {
			m.wantRecv(b, string(make([]byte, 1000)))
		}
		_, err := b.Recv()
		m.wantRefused(err, RefusedLimit)
		_, err = a.Recv()
		m.wantRefused(err, RefusedLimit)
	})
}

func TestLimitOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newRoom(t, IntroducerConfig{Duration: 7 * time.Second})
		defer m.close()
		start := time.Now()
		a, b := m.introduced()
		defer a.Close()
		defer b.Close()
		_, err := b.Recv()
		m.wantRefused(err, RefusedLimit)
		if d := time.Since(start); d != 7*time.Second {
			t.Errorf("ended after %v, want 7s", d)
		}
	})
}

func TestChannelHasItsOwnLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newRoom(t, IntroducerConfig{Bytes: -1, Duration: -1})
		defer m.close()
		a, b := m.introduced()
		defer b.Close()
		if err := a.Send(make([]byte, MaxPacket+1)); err == nil {
			t.Error("a packet too large was sent")
		}
		n := 0
		for a.Send(make([]byte, 1000)) == nil {
			n++
		}
		if n != 16 {
			t.Errorf("%d packets of 1,000 bytes sent, want 16", n)
		}
		if err := a.Send(make([]byte, 1000)); !errors.Is(err, ErrChannelFull) {
			t.Errorf("sending more: %v", err)
		}
		if _, err := a.Recv(); !errors.Is(err, os.ErrDeadlineExceeded) { // after the accept frame
			t.Errorf("waiting without end: %v", err)
		}
		a.Close()
	})
}

// A hostile introducer that sends without end is cut off.
func TestChannelOfHostileIntroducer(t *testing.T) {
	mine, theirs := pipe(KindIntroduce, 1<<20)
	a, err := Introduce(context.Background(), OpenerFunc(func(context.Context, string) (Stream, error) { return mine, nil }), bob)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for range 100 {
		_, _ = theirs.Write(appendFrame(nil, framePacket, make([]byte, 1000)...))
	}
	for err == nil {
		_, err = a.Recv()
	}
	if !errors.Is(err, ErrChannelFull) {
		t.Errorf("error %v", err)
	}
}

func TestHostileRequests(t *testing.T) {
	for name, b := range map[string][]byte{
		"silence":         nil,
		"half a frame":    {0, 34, 1, 1},
		"a frame of 64 k": {0xff, 0xff},
		"zeros":           make([]byte, 100),
		"an offer":        appendGreeting(nil, frameOffer, bob),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newRoom(t, IntroducerConfig{})
				defer m.close()
				s, _ := m.opener(alice).OpenStream(m.ctx, KindIntroduce)
				defer s.Close()
				_, _ = s.Write(b)
				start := time.Now()
				if err := <-m.served; err == nil {
					t.Error("no error")
				}
				if d := time.Since(start); d > acceptTimeout+refuseTimeout {
					t.Errorf("took %v", d)
				}
			})
		})
	}
}

// A target that stops reading holds the introducer for the introduction's time and not longer, and nobody else.
func TestStalledTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var theirs *end
		m := newRoom(t, IntroducerConfig{Open: func(context.Context, kcptransport.PeerID) (Stream, error) {
			var mine *end
			mine, theirs = pipe(KindIntroduced, 100)
			return mine, nil
		}})
		defer m.close()
		start := time.Now()
		a, _ := Introduce(m.ctx, m.opener(alice), bob)
		defer a.Close()
		_ = a.Send(make([]byte, 1000))
		if _, err := a.Recv(); err == nil {
			t.Error("received something")
		}
		m.wantRefused(<-m.served, RefusedLimit)
		if d := time.Since(start); d > channelDuration+2*refuseTimeout {
			t.Errorf("took %v", d)
		}
		theirs.Close()
	})
}

func TestIntroducerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newRoom(t, IntroducerConfig{})
		a, b := m.introduced()
		synctest.Wait()
		start := time.Now()
		m.close()
		if err := <-m.served; err == nil {
			t.Error("no error")
		}
		if d := time.Since(start); d > 0 {
			t.Errorf("took %v", d)
		}
		for _, c := range []*Channel{a, b} {
			for {
				if _, err := c.Recv(); err != nil {
					break
				}
			}
			c.Close()
		}
	})
}

func TestAcceptOfNonsense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, b := range [][]byte{nil, {0, 0}, bytes.Repeat([]byte{9}, 50), appendGreeting(nil, frameRequest, alice)} {
			mine, theirs := pipe(KindIntroduced, 1000)
			_, _ = theirs.Write(b)
			start := time.Now()
			if _, _, err := Accept(mine); err == nil {
				t.Errorf("accepted % x", b)
			}
			if d := time.Since(start); d > acceptTimeout {
				t.Errorf("took %v", d)
			}
		}
	})
}
