package api

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/netsim"
)

func TestJoinByAddressAndSend(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.public(), w.public()
		start := time.Now()
		id := a.join(b.addr)
		if id != b.ID() {
			t.Fatalf("joined %s, want %s", id, b.ID())
		}
		sent := make(chan error)
		go func() { sent <- a.SendText(w.ctx(5*time.Second), "hello", id) }()
		w.eventually("the message is there", 5*time.Second, func() bool { return len(b.texts()) == 1 })
		// Bar: join by address to first message delivered in 1.5 RTT + 20 ms; the round trip is 40 ms.
		if took := time.Since(start); took > 60*time.Millisecond+20*time.Millisecond {
			t.Errorf("join to delivery took %v, want at most 1.5 round trips (60 ms) + 20 ms", took)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		if peers := b.Peers(); len(peers) != 1 || peers[0].ID != a.ID() || !peers[0].Direct {
			t.Errorf("peers of b: %+v", peers)
		}
	})
}

func TestPunchThroughCommonPeer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.introduced("port-restricted", "address-restricted")
		if id := a.join(b.ID().String()); id != b.ID() {
			t.Fatalf("joined %s", id)
		}
		if err := a.SendText(w.ctx(5*time.Second), "through the hole", b.ID()); err != nil {
			t.Fatal(err)
		}
		w.eventually("b has the message", time.Second, func() bool { return slices.Equal(b.texts(), []string{"through the hole"}) })
		info, ok := a.PathTo(b.ID())
		if !ok || !info.Direct || info.Addr.Addr().String()[:5] != "20.0." {
			t.Errorf("path %+v", info)
		}
		x, ok := a.Explain(b.ID())
		if !ok || !strings.Contains(x.String(), info.Addr.String()) {
			t.Errorf("explanation:\n%s", x)
		}
	})
}

func TestPunchFailureSaysWhy(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.introduced("symmetric", "symmetric")
		_, err := a.Join(w.ctx(30*time.Second), b.ID().String())
		if err == nil {
			t.Fatal("two symmetric NATs were punched without prediction")
		}
		if !strings.Contains(err.Error(), b.ID().Short()) {
			t.Errorf("the error does not name the peer: %v", err)
		}
		if len(a.Peers()) != 1 {
			t.Errorf("peers %v", a.Peers())
		}
	})
}

func TestMeshFormsByItselfAndBroadcastReachesAllOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.public()
		nodes := []*node{r}
		for range 4 {
			n := w.behind(netsim.Presets["port-restricted"])
			n.meet(r)
			nodes = append(nodes, n)
		}
		w.eventually("everybody knows everybody", time.Minute, func() bool {
			for _, n := range nodes {
				if len(n.Peers()) != len(nodes)-1 {
					return false
				}
			}
			return true
		})
		for i := range 10 {
			if err := nodes[1].SendText(w.ctx(5*time.Second), fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		want := strings.Split("0123456789", "")
		for i, n := range nodes {
			if i != 1 && !slices.Equal(n.texts(), want) {
				t.Errorf("node %d got %v", i, n.texts())
			}
		}
	})
}

func TestBroadcastReachesPeersWithoutALink(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.introduced("symmetric", "symmetric")
		for i := range 20 {
			if err := a.SendText(w.ctx(5*time.Second), fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		w.eventually("b has all", 5*time.Second, func() bool { return len(b.texts()) == 20 })
		for i, s := range b.texts() {
			if s != fmt.Sprint(i) {
				t.Fatalf("out of order: %v", b.texts())
			}
		}
	})
}

func TestSendToNobodyIsAnError(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.public(noMesh), w.public(noMesh)
		if err := a.SendText(w.ctx(time.Second), "x"); !errors.Is(err, ErrNotConnected) {
			t.Errorf("broadcast: %v", err)
		}
		if err := a.SendText(w.ctx(time.Second), "x", b.ID()); !errors.Is(err, ErrNotConnected) {
			t.Errorf("to a stranger: %v", err)
		}
		a.meet(b)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		w.eventually("a knows that b is gone", time.Second, func() bool { return len(a.Peers()) == 0 })
		if err := a.SendText(w.ctx(time.Second), "x", b.ID()); !errors.Is(err, ErrNotConnected) {
			t.Errorf("after its close: %v", err)
		}
	})
}

func TestSendWhilePeerVanishes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.public(noMesh), w.public(noMesh)
		a.join(b.addr)
		w.net.Partition(a.host, b.host)
		if err := a.SendText(w.ctx(2*time.Minute), "x", b.ID()); err == nil {
			t.Error("a message to a peer that cannot be reached was acknowledged")
		}
	})
}

// What is posted arrives in order, also while one peer has vanished, and the channel tells what became of it.
func TestPost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b, gone := w.public(noMesh), w.public(noMesh), w.public(noMesh)
		a.meet(b)
		a.meet(gone)
		gone.host.Crash()
		var want []string
		var told []<-chan error
		for i := range 100 {
			want = append(want, fmt.Sprint(i))
			told = append(told, a.Post(w.ctx(time.Minute), "text", map[string]string{"text": want[i]}))
		}
		one := a.Post(w.ctx(time.Minute), "text", map[string]string{"text": "for one"}, b.ID())
		w.eventually("b has all", time.Second, func() bool { return len(b.texts()) == len(want)+1 })
		if got := b.texts(); !slices.Equal(got, append(want, "for one")) {
			t.Errorf("b got %q", got)
		}
		if err := <-one; err != nil {
			t.Error(err)
		}
		for _, c := range told {
			if err := <-c; err == nil || !strings.Contains(err.Error(), gone.ID().Short()) {
				t.Fatalf("of a message that the vanished peer cannot have: %v", err)
			}
		}
		for _, kind := range []string{"", "*"} {
			if err := <-a.Post(t.Context(), kind, 1); err == nil {
				t.Errorf("kind %q", kind)
			}
		}
		if err := <-a.Post(t.Context(), "text", 1, testIdentity(99).ID()); !errors.Is(err, ErrNotConnected) {
			t.Error(err)
		}
	})
}

func TestRequest(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.public(noMesh), w.public(noMesh)
		b.On("double", func(m *Message) {
			var n int
			if err := m.Decode(&n); err != nil {
				_ = m.ReplyError(err)
				return
			}
			_ = m.Reply(2 * n)
		})
		b.On("boom", func(*Message) { panic("on purpose") })
		id := a.join(b.addr)
		ctx := w.ctx(5 * time.Second)
		var n int
		if err := a.Request(ctx, id, "double", 21, &n); err != nil || n != 42 {
			t.Errorf("got %d, %v", n, err)
		}
		var remote *RemoteError
		for _, kind := range []string{"boom", "unheard of", "xppg/unknown"} {
			err := a.request(ctx, id, kind, nil, nil)
			if !errors.As(err, &remote) {
				t.Errorf("%s: %v, want a RemoteError", kind, err)
			}
		}
		if err := a.Request(ctx, id, "double", "not a number", &n); !errors.As(err, &remote) {
			t.Errorf("%v, want a RemoteError", err)
		}
		if err := a.Request(ctx, id, "double", 1, &n); err != nil || n != 2 {
			t.Errorf("after a panic: %d, %v", n, err)
		}
	})
}

func TestBlockedHandlerHarmsNobodyElse(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r, a, b := w.public(noMesh), w.public(noMesh), w.public(noMesh)
		release := make(chan struct{})
		r.On("block", func(*Message) { <-release })
		a.meet(r)
		b.meet(r)
		if err := a.Send(w.ctx(time.Second), "block", nil, r.ID()); err != nil {
			t.Fatal(err)
		}
		if err := a.SendText(w.ctx(time.Second), "behind it", r.ID()); err != nil {
			t.Fatal(err)
		}
		if err := b.SendText(w.ctx(time.Second), "beside it", r.ID()); err != nil {
			t.Fatal(err)
		}
		w.eventually("b's message is handled", time.Second, func() bool { return slices.Equal(r.texts(), []string{"beside it"}) })
		close(release)
		w.eventually("a's message is handled", time.Second, func() bool { return len(r.texts()) == 2 })
	})
}

func TestLargeMessages(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.public(noMesh), w.public(noMesh)
		sizes := make(chan int, 1)
		b.On("big", func(m *Message) { sizes <- len(m.Raw()) })
		id := a.join(b.addr)
		if err := a.Send(w.ctx(time.Minute), "big", make([]byte, MaxMessage-5), id); err != nil {
			t.Fatal(err)
		}
		if n := <-sizes; n != MaxMessage {
			t.Errorf("arrived with %d bytes", n)
		}
		if err := a.Send(w.ctx(time.Minute), "big", make([]byte, MaxMessage), id); err == nil || !strings.Contains(err.Error(), "files") {
			t.Errorf("a message beyond the limit: %v", err)
		}
	})
}

func TestOtherApplicationsAndPassphrasesAreRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.public()
		other := w.public(func(c *Config) { c.App = "another" })
		if _, err := other.Join(w.ctx(20*time.Second), r.addr); err == nil || !strings.Contains(err.Error(), "application") {
			t.Errorf("another application: %v", err)
		}
	})
}

func TestTicketNamesIntroducers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.public(noMesh)
		a := w.behind(netsim.Presets["port-restricted"], noMesh)
		b := w.behind(netsim.Presets["port-restricted"], noMesh)
		b.meet(r)
		// a has joined nobody: the ticket must say who can introduce it.
		if id := a.join(b.Ticket().String()); id != b.ID() {
			t.Errorf("joined %s", id)
		}
		rtt, err := a.Ping(w.ctx(time.Second), b.ID())
		if err != nil || rtt < 40*time.Millisecond || rtt > 42*time.Millisecond {
			t.Errorf("ping: %v, %v; the round trip is 40 ms", rtt, err)
		}
	})
}

func TestEventsTellOfPeers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.public(noMesh), w.public(noMesh)
		a.meet(b)
		_ = b.Close()
		w.eventually("both events are told", time.Second, func() bool {
			a.seenMu.Lock()
			defer a.seenMu.Unlock()
			var states []string
			for _, e := range a.events {
				if e.Type == EventPeer {
					states = append(states, e.State)
				}
			}
			return slices.Equal(states, []string{StateConnected, StateDisconnected})
		})
	})
}

// Who leaves does not tell the others that they did something wrong.
func TestLeavingIsNoError(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.public(noMesh)
		for range 20 {
			b := w.public(noMesh)
			a.meet(b)
			b.cancel() // as Close does, which on a real network has other things to end before the endpoint
			synctest.Wait()
			_ = b.Close()
			w.eventually("b has left", time.Second, func() bool { return len(a.Peers()) == 0 })
		}
		w.eventually("all is told", time.Second, func() bool { return len(a.left()) == 20 })
		for _, err := range a.left() {
			if why := (*kcptransport.PeerError)(nil); !errors.As(err, &why) || why.Code != codeClosed {
				t.Errorf("a peer that left is disconnected because of: %v", err)
			}
		}
	})
}

// left returns why peers were disconnected.
func (n *node) left() (errs []error) {
	n.seenMu.Lock()
	defer n.seenMu.Unlock()
	for _, e := range n.events {
		if e.Type == EventPeer && e.State == StateDisconnected {
			errs = append(errs, e.Err)
		}
	}
	return errs
}

func TestConfigJoinKeepsTrying(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.public(noMesh, func(c *Config) { c.Join = []string{"20.0.0.2:7337"} })
		time.Sleep(45 * time.Second)
		b := w.public(noMesh) // is 20.0.0.2
		w.eventually("a has joined b", 2*time.Minute, func() bool { return len(b.Peers()) == 1 && len(a.Peers()) == 1 })
	})
}
