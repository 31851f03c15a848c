package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/2xppg/xppg/kcptransport"
)

const kindChat = "chat"

type chatLine struct {
	Name string `cbor:"name"`
	Text string `cbor:"text"`
}

// QuickChat is a chat in a few lines: name yourself, say what to do with
// messages, connect to somebody and run.
//
//	chat := api.NewQuickChat("alice")
//	chat.OnMessage(func(from, text string) { fmt.Println(from+":", text) })
//	chat.Connect("192.0.2.7:7337")
//	chat.Run(context.Background())
//
// The exported fields may be set before Connect and Run.
type QuickChat struct {
	Config Config    // of the playground below it; the zero value will do
	Input  io.Reader // lines to send; default standard input
	Output io.Writer // where notices go; default standard error

	name      string
	mu        sync.Mutex
	onMessage func(from, text string)
	pg        *Playground
}

// NewQuickChat returns a chat for a person of this name. The name is what the
// person says it is; only the key behind it is proven.
func NewQuickChat(name string) *QuickChat {
	return &QuickChat{name: name, Input: os.Stdin, Output: os.Stderr}
}

// OnMessage sets what is done with a message. from is the name its author gave
// and the beginning of the author's peer ID, which cannot be forged.
func (c *QuickChat) OnMessage(f func(from, text string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onMessage = f
}

// Connect names somebody to chat with: a host:port, a ticket or a peer ID. It
// may be called several times before Run, which does the connecting.
func (c *QuickChat) Connect(target string) error {
	if _, err := parseTarget(target); err != nil {
		return err
	}
	c.Config.Join = append(c.Config.Join, target)
	return nil
}

// Say sends a line to everyone. It works while Run runs.
func (c *QuickChat) Say(ctx context.Context, text string) error {
	c.mu.Lock()
	pg := c.pg
	c.mu.Unlock()
	if pg == nil {
		return errors.New("api: the chat is not running")
	}
	return pg.Send(ctx, kindChat, chatLine{Name: c.name, Text: text})
}

// Run starts the node, prints a ticket for others to connect to, and sends
// every line of Input to everyone until the input or ctx ends.
func (c *QuickChat) Run(ctx context.Context) error {
	pg, err := Start(ctx, c.Config)
	if err != nil {
		return err
	}
	defer pg.Close()
	c.mu.Lock()
	c.pg = pg
	c.mu.Unlock()
	pg.On(kindChat, c.receive)
	pg.OnEvent(func(e Event) {
		if e.Type == EventPeer {
			c.notice("* %s %s", e.Peer.Short(), e.State)
		}
	})
	c.notice("* others connect with: %s", pg.Ticket())

	lines := make(chan string)
	go c.readLines(ctx, lines)
	for {
		select {
		case <-ctx.Done():
			return nil
		case line, ok := <-lines:
			if !ok {
				return nil
			}
			if err := c.Say(ctx, line); err != nil {
				c.notice("* not sent: %v", err)
			}
		}
	}
}

// readLines ends with the input or, when that blocks for ever, with the
// process: a read of standard input cannot be interrupted.
func (c *QuickChat) readLines(ctx context.Context, lines chan<- string) {
	defer close(lines)
	in := bufio.NewScanner(c.Input)
	in.Buffer(nil, MaxMessage/2)
	for in.Scan() {
		text := strings.TrimSpace(in.Text())
		if text == "" {
			continue
		}
		select {
		case lines <- text:
		case <-ctx.Done():
			return
		}
	}
}

func (c *QuickChat) receive(m *Message) {
	var line chatLine
	if err := m.Decode(&line); err != nil {
		return
	}
	c.mu.Lock()
	f := c.onMessage
	c.mu.Unlock()
	if f != nil {
		f(chatName(line.Name, m.From), line.Text)
	}
}

// chatName shows the name a peer gave itself, cut and cleaned, beside its key.
func chatName(name string, id kcptransport.PeerID) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, name)
	if r := []rune(clean); len(r) > 32 {
		clean = string(r[:32])
	}
	return fmt.Sprintf("%s (%s)", clean, id.Short())
}

func (c *QuickChat) notice(format string, args ...any) {
	fmt.Fprintf(c.Output, format+"\n", args...)
}
