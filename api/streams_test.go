package api

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/2xppg/xppg/kcptransport"
)

func TestOpenStream(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.public(noMesh), w.public(noMesh)
		b.OnStream("upper", func(from kcptransport.PeerID, s *kcptransport.Stream) {
			text, err := io.ReadAll(s)
			if from != a.ID() || err != nil {
				t.Errorf("%s: %v", from.Short(), err)
			}
			_, _ = s.Write(append(text, '!'))
		})
		id := a.meet(b)
		s, err := a.OpenStream(w.ctx(time.Second), id, "upper")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = s.Write([]byte("hello"))
		_ = s.CloseWrite()
		if text, err := io.ReadAll(s); string(text) != "hello!" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
		_ = s.Close()
		s, err = a.OpenStream(w.ctx(time.Second), id, "unheard-of")
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := io.ReadAll(s); err == nil {
			t.Error("a stream of a kind that nobody handles ended as if it were served")
		}
	})
}

// Handlers that never return hold up neither Close nor the news that a peer is gone.
func TestHandlersThatNeverReturn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b, c := w.public(noMesh), w.public(noMesh), w.public(noMesh)
		release := make(chan struct{})
		b.OnStream("stuck", func(kcptransport.PeerID, *kcptransport.Stream) { <-release })
		b.On("stuck", func(*Message) { <-release })
		for _, n := range []*node{a, c} {
			id := n.meet(b)
			s, err := n.OpenStream(w.ctx(time.Second), id, "stuck")
			if err != nil {
				t.Fatal(err)
			}
			_, _ = s.Write([]byte("x"))
			if err := n.Send(w.ctx(time.Second), "stuck", nil, id); err != nil {
				t.Fatal(err)
			}
		}
		_ = c.Close()
		w.eventually("b knows that c is gone", 2*time.Second, func() bool { return len(b.Peers()) == 1 })
		began := time.Now()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("Close took %v", took)
		}
		close(release)
	})
}

// Several message streams of one peer, which this implementation never opens: what it was told is taken in comes first.
func TestSeveralMessageStreams(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.public(noMesh), w.public(noMesh)
		a.meet(b)
		p, err := a.peer(b.ID())
		if err != nil {
			t.Fatal(err)
		}
		var outs []*outbox
		ctx, cancel := context.WithCancel(t.Context())
		for range 3 {
			o := newOutbox(p.id, func(ctx context.Context) (stream, error) { return p.open(ctx, kindMessages) })
			go o.run(ctx, p.link.Err)
			outs = append(outs, o)
		}
		var want []string
		for i := range 60 {
			payload, _ := encodePayload(fmt.Sprint(i))
			e := envelope{Type: typeMessage, Kind: "text", Payload: payload}
			if _, err := outs[i%len(outs)].send(w.ctx(time.Second), e); err != nil {
				t.Fatal(err)
			}
			want = append(want, fmt.Sprint(i))
		}
		w.eventually("all were handled", time.Second, func() bool { return len(b.texts()) == len(want) })
		if !slices.Equal(b.texts(), want) {
			t.Errorf("got %v", b.texts())
		}
		cancel()
	})
}

// Two processes with one key: the one that came last is heard, and nothing of the one before it afterwards.
func TestTwoProcessesWithOneKey(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.public(noMesh)
		sameKey := func(c *Config) { c.Identity, c.MaxPeers = testIdentity(77), -1 }
		first, second := w.public(sameKey), w.public(sameKey)
		hold := make(chan struct{})
		var mu sync.Mutex
		var got []int
		b.On("number", func(m *Message) {
			<-hold
			var x struct{ N int }
			_ = m.Decode(&x)
			mu.Lock()
			defer mu.Unlock()
			got = append(got, x.N)
		})
		handled := func() []int {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(got)
		}
		id := first.meet(b)
		send := func(n *node, i, size int) error {
			v := map[string]any{"N": i, "pad": make([]byte, size)}
			return n.Send(w.ctx(30*time.Second), "number", v, id)
		}
		results := make(chan error, 8)
		for range cap(results) { // more than the inbox takes
			go func() { results <- send(first, 0, MaxMessage-100) }()
		}
		time.Sleep(10 * time.Second)
		if got := second.join(b.addr); got != id {
			t.Fatal(got)
		}
		sent := make(chan error, 1)
		go func() { sent <- send(second, 1, 0) }()
		time.Sleep(time.Second)
		close(hold)
		if err := <-sent; err != nil {
			t.Error(err)
		}
		taken := 0
		for range cap(results) {
			if err := <-results; err == nil {
				taken++
			}
		}
		w.eventually("all that was taken in is handled", time.Second, func() bool { return len(handled()) == taken+1 })
		time.Sleep(time.Second)
		if got := handled(); len(got) != taken+1 || taken == 0 || taken == cap(results) || got[taken] != 1 {
			t.Errorf("%d messages of the first were taken in; handled %v", taken, got)
		}
	})
}

// What a path says of its age is when it was taken into use, however often it proves itself afterwards.
func TestPeerInfoSince(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.public(noMesh), w.public(noMesh)
		id := a.meet(b)
		met := time.Now()
		for range 10 {
			time.Sleep(time.Minute)
			if err := a.SendText(w.ctx(time.Second), "x", id); err != nil {
				t.Fatal(err)
			}
		}
		info, ok := a.PathTo(id)
		if age := met.Sub(info.Since); !ok || age < 0 || age > time.Second {
			t.Errorf("in use since %v before they met", age)
		}
	})
}
