package api_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/2xppg/xppg/api"
	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/state"
)

// pair starts two nodes on this machine, the second of which has joined the first. Real ones are on two machines, have a
// Config without Listen and STUN, and give each other the text of a Ticket.
func pair(ctx context.Context) (alice, bob *api.Playground) {
	config := api.Config{App: "example", Listen: "127.0.0.1:0", STUN: []string{}}
	alice, err := api.Start(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	if bob, err = api.Start(ctx, config); err != nil {
		log.Fatal(err)
	}
	if _, err := bob.Join(ctx, alice.LocalAddr().String()); err != nil {
		log.Fatal(err)
	}
	return alice, bob
}

// Two nodes, one message: on, join, send.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	alice, bob := pair(ctx)
	defer alice.Close()
	defer bob.Close()

	heard := make(chan string)
	alice.On("text", func(m *api.Message) { heard <- m.Text() })
	if err := bob.SendText(ctx, "hello, peer", alice.ID()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-heard)
	// Output: hello, peer
}

// A request has one answer, which may be an error.
func ExamplePlayground_Request() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	alice, bob := pair(ctx)
	defer alice.Close()
	defer bob.Close()

	alice.On("divide", func(m *api.Message) {
		var q struct{ A, B int }
		if err := m.Decode(&q); err != nil || q.B == 0 {
			_ = m.ReplyError(fmt.Errorf("cannot divide %d by %d", q.A, q.B))
			return
		}
		_ = m.Reply(q.A / q.B)
	})
	var result int
	err := bob.Request(ctx, alice.ID(), "divide", map[string]int{"A": 42, "B": 6}, &result)
	fmt.Println(result, err)
	err = bob.Request(ctx, alice.ID(), "divide", map[string]int{"A": 42}, &result)
	fmt.Println(err != nil)
	// Output:
	// 7 <nil>
	// true
}

// A file is shared where it lies; the ticket names its content and who has it.
func ExamplePlayground_Share() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	alice, bob := pair(ctx)
	defer alice.Close()
	defer bob.Close()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "poem.txt")
	if err := os.WriteFile(path, []byte("roses are red\n"), 0o600); err != nil {
		log.Fatal(err)
	}

	shared, err := alice.Share(ctx, path)
	if err != nil {
		log.Fatal(err)
	}
	inbox := filepath.Join(dir, "inbox")
	result, err := bob.Fetch(ctx, shared.Ticket.String(), inbox, api.FetchOptions{})
	if err != nil {
		log.Fatal(err)
	}
	poem, _ := os.ReadFile(filepath.Join(inbox, "poem.txt"))
	fmt.Printf("%d bytes: %s", result.Bytes, poem)
	// Output: 14 bytes: roses are red
}

// Everybody writes to their own copy of a map, and the copies become equal.
func ExamplePlayground_State() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	alice, bob := pair(ctx)
	defer alice.Close()
	defer bob.Close()

	scores := func(pg *api.Playground) *state.Map {
		m, err := pg.State("scores")
		if err != nil {
			log.Fatal(err)
		}
		return m
	}
	changes := scores(bob).Watch(ctx, "")
	if err := scores(alice).Set("alice", 3); err != nil {
		log.Fatal(err)
	}
	<-changes
	var points int
	known, err := scores(bob).Get("alice", &points)
	fmt.Println(points, known, err)
	// Output: 3 true <nil>
}

// A stream is for what does not fit into messages. Its kind chooses the handler.
func ExamplePlayground_OpenStream() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	alice, bob := pair(ctx)
	defer alice.Close()
	defer bob.Close()

	alice.OnStream("count", func(_ kcptransport.PeerID, s *kcptransport.Stream) {
		n, _ := io.Copy(io.Discard, s)
		fmt.Fprintf(s, "%d bytes", n)
	})
	s, err := bob.OpenStream(ctx, alice.ID(), "count")
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	_, _ = s.Write(make([]byte, 1<<20))
	_ = s.CloseWrite()
	answer, err := io.ReadAll(s)
	fmt.Println(string(answer), err)
	// Output: 1048576 bytes <nil>
}

// Events tell what no call returns.
func ExamplePlayground_OnEvent() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	events := make(chan api.Event, 16)
	alice, err := api.Start(ctx, api.Config{
		App: "example", Listen: "127.0.0.1:0", STUN: []string{}, OnEvent: func(e api.Event) { events <- e },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Close()
	bob, err := api.Start(ctx, api.Config{
		App: "example", Listen: "127.0.0.1:0", STUN: []string{}, Join: []string{alice.LocalAddr().String()},
	})
	if err != nil {
		log.Fatal(err)
	}
	for e := range events {
		if e.Type != api.EventPeer {
			continue
		}
		fmt.Println(e.State, e.Path, e.Peer == bob.ID())
		if e.State == api.StateDisconnected {
			break
		}
		bob.Close()
	}
	// Output:
	// connected direct true
	// disconnected  true
}
