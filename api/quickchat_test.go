package api

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

// Two people chat behind NATs; the one whose input ends leaves, and so does the one whose context ends.
func TestQuickChat(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		meeting := w.public()
		got := make(chan string, 8)
		chat := func(name string) (c *QuickChat, typed *io.PipeWriter, end context.CancelFunc, done chan error) {
			c = NewQuickChat(name)
			in, typed := io.Pipe()
			c.Input, c.Output = in, io.Discard
			home, _ := w.home(netsim.Presets["port-restricted"])
			c.Config = w.config(home)
			c.OnMessage(func(from, text string) { got <- name + " hears " + from[:strings.Index(from, " ")] + " say " + text })
			if err := c.Connect(meeting.addr); err != nil {
				t.Fatal(err)
			}
			ctx, end := context.WithCancel(t.Context())
			done = make(chan error, 1)
			go func() { done <- c.Run(ctx) }()
			return c, typed, end, done
		}
		alice, a, _, aDone := chat("alice")
		bob, b, end, bDone := chat("bob")
		time.Sleep(10 * time.Second)
		_, _ = io.WriteString(a, "hello\n")
		if s := <-got; s != "bob hears alice say hello" {
			t.Error(s)
		}
		_, _ = io.WriteString(b, "\n  \nhi\n")
		if s := <-got; s != "alice hears bob say hi" {
			t.Error(s)
		}
		if err := bob.Say(w.ctx(time.Second), "bye"); err != nil {
			t.Error(err)
		}
		if s := <-got; s != "alice hears bob say bye" {
			t.Error(s)
		}
		_ = a.Close()
		if err := <-aDone; err != nil {
			t.Error(err)
		}
		end()
		if err := <-bDone; err != nil {
			t.Error(err)
		}
		_ = b.Close()
		if err := alice.Connect("not a target"); err == nil {
			t.Error("nonsense was taken for a target")
		}
	})
}

// Who has another passphrase, or none, is refused, and says why.
func TestPassphrase(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		with := func(p string) func(*Config) { return func(c *Config) { c.Passphrase, c.MaxPeers = p, -1 } }
		a := w.public(with("open sesame"))
		b := w.public(with("open sesame"))
		a.meet(b)
		if err := b.SendText(w.ctx(time.Second), "in", a.ID()); err != nil {
			t.Error(err)
		}
		for _, wrong := range []string{"", "open barley"} {
			c := w.public(with(wrong))
			if _, err := c.Join(w.ctx(20*time.Second), a.addr); err == nil || !strings.Contains(err.Error(), "passphrase") {
				t.Errorf("with %q: %v", wrong, err)
			}
		}
		if n := len(a.Peers()); n != 1 {
			t.Errorf("%d peers", n)
		}
	})
}

func TestBench(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.link.Rate = 10_000_000
		a, b := w.public(noMesh), w.public(noMesh, func(c *Config) { c.AllowBench = true })
		id := a.meet(b)
		for _, reverse := range []bool{false, true} {
			r, err := a.Bench(w.ctx(time.Minute), id, 2<<20, 2, reverse)
			rate := float64(r.Bytes) * 8 / r.Elapsed.Seconds()
			if err != nil || r.Bytes != 2<<20 || rate > 10e6 || rate < 7e6 || r.WireBytes < uint64(r.Bytes) {
				t.Errorf("reverse %v: %+v, %.1f Mbit/s, %v", reverse, r, rate/1e6, err)
			}
		}
	})
}
