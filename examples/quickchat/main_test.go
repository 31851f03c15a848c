package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/2xppg/xppg/api"
)

// lineWriter passes on what is written to it.
type lineWriter chan string

func (w lineWriter) Write(b []byte) (int, error) {
	w <- string(b)
	return len(b), nil
}

func TestTwoPeopleChat(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	config := api.Config{App: "chat-test", Listen: "127.0.0.1:0", STUN: []string{}}
	start := func(name string, targets ...string) (*api.QuickChat, lineWriter, chan string, io.Writer) {
		chat := api.NewQuickChat(name)
		notices, heard := make(lineWriter, 100), make(chan string, 10)
		in, keyboard := io.Pipe()
		chat.Config, chat.Input, chat.Output = config, in, notices
		chat.OnMessage(func(from, text string) { heard <- from + ": " + text })
		for _, target := range targets {
			if err := chat.Connect(target); err != nil {
				t.Fatal(err)
			}
		}
		done := make(chan error, 1)
		go func() { done <- chat.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			in.Close()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		return chat, notices, heard, keyboard
	}
	wait := func(c <-chan string, part string) string {
		for {
			select {
			case s := <-c:
				if strings.Contains(s, part) {
					return s
				}
			case <-ctx.Done():
				t.Fatalf("nothing with %q came", part)
			}
		}
	}
	_, notices, heard, _ := start("alice")
	ticket := strings.Fields(wait(notices, "xppg1"))
	_, bobNotices, _, keyboard := start("bob", ticket[len(ticket)-1])
	wait(bobNotices, "connected")
	if _, err := io.WriteString(keyboard, "hello, alice\n"); err != nil {
		t.Fatal(err)
	}
	if line := wait(heard, "hello"); !strings.HasPrefix(line, "bob (") || !strings.HasSuffix(line, "): hello, alice") {
		t.Errorf("alice heard %q", line)
	}
}
