package api

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"

	"github.com/2xppg/xppg/kcptransport"
)

func from(n byte) kcptransport.PeerID { return testIdentity(n).ID() }

func TestInboxKeepsOrderPerSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		got := map[kcptransport.PeerID][]byte{}
		in := newInbox(func(m *Message) {
			time.Sleep(time.Millisecond)
			mu.Lock()
			got[m.From] = append(got[m.From], m.payload[0])
			mu.Unlock()
		})
		const n = 50
		for i := range byte(n) {
			for s := range byte(3) {
				if err := in.push(t.Context(), &Message{From: from(s), payload: []byte{i}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		start := time.Now()
		in.wg.Wait()
		if took := time.Since(start); took != n*time.Millisecond {
			t.Errorf("took %v: senders wait for each other", took)
		}
		for id, bs := range got {
			for i, b := range bs {
				if int(b) != i || len(bs) != n {
					t.Fatalf("%s: got %v", id.Short(), bs)
				}
			}
		}
		if len(in.queues) != 0 || in.strangers != 0 {
			t.Errorf("%d queues and %d bytes left", len(in.queues), in.strangers)
		}
	})
}

func TestInboxBlockedHandlerBlocksItsSenderOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		done := 0
		in := newInbox(func(m *Message) {
			if m.From == from(1) {
				<-release
			} else {
				done++
			}
		})
		big := make([]byte, MaxMessage)
		for range inboxBytes/MaxMessage - 1 {
			if err := in.push(t.Context(), &Message{From: from(1), payload: big}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := in.push(ctx, &Message{From: from(1), payload: big}); err == nil {
			t.Error("a full inbox took more in")
		}
		if in.tryPush(&Message{From: from(1), payload: big}) {
			t.Error("a full inbox took in a broadcast")
		}
		if err := in.push(t.Context(), &Message{From: from(2), payload: big}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if done != 1 {
			t.Error("another sender was held up")
		}
		close(release)
		in.wg.Wait()
	})
}

// A link that was ended adds nothing more, though there is room: its successor may have pushed already.
func TestInboxTakesNothingFromEndedLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var got []byte
		in := newInbox(func(m *Message) {
			<-release
			got = append(got, m.payload[0])
		})
		fill := make([]byte, inboxBytes-messageCost)
		if err := in.push(t.Context(), &Message{From: from(1), payload: fill}); err != nil {
			t.Fatal(err)
		}
		ended, end := context.WithCancel(t.Context())
		blocked := make(chan error, 1)
		go func() { blocked <- in.push(ended, &Message{From: from(1), payload: []byte{1}}) }()
		synctest.Wait()
		end()
		if err := in.push(ended, &Message{From: from(2), payload: []byte{1}}); err == nil {
			t.Error("an ended link was heard, as there was room")
		}
		q, _ := in.enter(from(2))
		_ = q.room.Acquire(t.Context(), messageCost+1)
		if err := in.append(ended, q, &Message{From: from(2), payload: []byte{1}}); err == nil {
			t.Error("a link was heard that ended after it had got room")
		}
		if err := <-blocked; err == nil {
			t.Error("an ended link was heard when it had waited")
		}
		close(release)
		if err := in.push(t.Context(), &Message{From: from(1), payload: []byte{2}}); err != nil {
			t.Error(err)
		}
		in.wg.Wait()
		if string(got) != "\x00\x02" || len(in.queues) != 0 {
			t.Errorf("handled %v, %d queues left", got, len(in.queues))
		}
	})
}

// Whatever senders push, by the front door or by way of others, slowly or at once: what was taken in is handled once,
// in its sender's order, one at a time, and nothing stays counted.
func TestInboxProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type step struct {
			size  int
			try   bool
			pause time.Duration
		}
		steps := rapid.SliceOfN(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{
				rapid.SampledFrom([]int{1, 1000, MaxMessage}).Draw(t, "size"), rapid.Bool().Draw(t, "try"),
				time.Duration(rapid.IntRange(0, 3).Draw(t, "pause")) * time.Millisecond,
			}
		}), 0, 20), 1, 4).Draw(rt, "steps of each sender")
		slow := time.Duration(rapid.IntRange(0, 5).Draw(rt, "handler")) * time.Millisecond
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			busy, got := map[kcptransport.PeerID]bool{}, map[kcptransport.PeerID][]byte{}
			mark := func(id kcptransport.PeerID, b bool) {
				mu.Lock()
				defer mu.Unlock()
				if busy[id] == b {
					t.Error("two messages of one sender at a time")
				}
				busy[id] = b
			}
			in := newInbox(func(m *Message) {
				mark(m.From, true)
				time.Sleep(slow)
				mu.Lock()
				got[m.From] = append(got[m.From], m.payload[0])
				mu.Unlock()
				mark(m.From, false)
			})
			taken := make([][]byte, len(steps))
			var senders sync.WaitGroup
			for n, mine := range steps {
				senders.Go(func() {
					for i, s := range mine {
						time.Sleep(s.pause)
						payload := make(cbor.RawMessage, s.size)
						payload[0] = byte(i)
						m := &Message{From: from(byte(n)), payload: payload}
						if s.try && in.tryPush(m) || !s.try && in.push(t.Context(), m) == nil {
							taken[n] = append(taken[n], byte(i))
						}
					}
				})
			}
			senders.Wait()
			in.wg.Wait()
			for n := range steps {
				if have := got[from(byte(n))]; string(have) != string(taken[n]) {
					t.Errorf("sender %d: took in %v, handled %v", n, taken[n], have)
				}
			}
			if len(in.queues) != 0 || in.strangers != 0 {
				t.Errorf("%d queues and %d bytes left", len(in.queues), in.strangers)
			}
		})
	})
}
