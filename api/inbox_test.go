package api

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
