package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/2xppg/xppg/api"
	"github.com/2xppg/xppg/kcptransport"
)

func (a *app) idCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "id",
		Short: "Print this node's peer ID",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			key, err := a.loadIdentity()
			if err != nil {
				return err
			}
			id := key.ID().String()
			a.print.emit(struct {
				Event string `json:"event"`
				Peer  string `json:"peer"`
			}{"id", id}, "%s", id)
			return nil
		},
	}
}

type readyEvent struct {
	Event  string   `json:"event"`
	Peer   string   `json:"peer"`
	Listen []string `json:"listen"`
	Ticket string   `json:"ticket"`
}

type messageEvent struct {
	Event   string `json:"event"`
	From    string `json:"from"`
	Kind    string `json:"kind"`
	Payload any    `json:"payload"`
}

func (a *app) nodeCommand() *cobra.Command {
	var allowBench bool
	var stateDir, relay string
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Run a node until interrupted",
		Long: `Run a node until interrupted. Others join it by its address or ticket, and it
introduces them to each other.

Lines on standard input are sent: plain text goes to everyone as a message of
kind "text"; a JSON object {"to":ID,"kind":K,"payload":P} goes as it says, to
everyone when "to" is left out.`,
		Example: `  xppg node
  xppg node --join host:7337 --json
  xppg node --relay on
  xppg node --state-dir ~/.local/share/xppg --allow-bench`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			mode, err := api.ParseRelayMode(relay)
			if err != nil {
				return fmt.Errorf("--relay: %s", strings.TrimPrefix(err.Error(), "api: "))
			}
			if stateDir != "" {
				if err := checkFolder(stateDir); err != nil {
					return fmt.Errorf("--state-dir: %w", err)
				}
			}
			return a.runNode(cmd.Context(), func(c *api.Config) { c.AllowBench, c.StateDir, c.Relay = allowBench, stateDir, mode })
		},
	}
	cmd.Flags().BoolVar(&allowBench, "allow-bench", false, "let peers measure throughput against this node")
	cmd.Flags().StringVar(&relay, "relay", "auto", "relay for others: on, off, or auto, once others have reached this node from outside")
	cmd.Flags().StringVar(&stateDir, "state-dir", "", "folder in which the replicated state is kept (default: memory)")
	return cmd
}

func (a *app) runNode(ctx context.Context, change func(*api.Config)) error {
	ready := make(chan struct{}) // "ready" is the first event
	pg, err := a.start(ctx, func(c *api.Config) {
		change(c)
		c.OnEvent = func(e api.Event) {
			<-ready
			a.print.playgroundEvent(e)
		}
	})
	if err != nil {
		return err
	}
	defer a.stop(pg)
	if _, err := pg.State(defaultMap); err != nil {
		close(ready)
		return err
	}
	pg.On("*", func(m *api.Message) {
		<-ready
		a.showMessage(m)
	})
	a.showReady(pg)
	close(ready)

	lines := make(chan string)
	go readLines(ctx, a.io.in, lines)
	for {
		select {
		case <-ctx.Done():
			return nil
		case line, ok := <-lines:
			if !ok {
				lines = nil // a closed input does not end a node
				continue
			}
			told := a.sendLine(ctx, pg, line) // a peer that does not answer holds up no other line
			go func() {
				if err := <-told; err != nil && ctx.Err() == nil {
					a.print.error(err)
				}
			}()
		}
	}
}

// showReady tells how the node can be reached.
func (a *app) showReady(pg *api.Playground) {
	ev := readyEvent{Event: "ready", Peer: pg.ID().String(), Listen: []string{}, Ticket: pg.Ticket().String()}
	for _, addr := range pg.Addrs() {
		ev.Listen = append(ev.Listen, addr.String())
	}
	a.print.emit(ev, "peer ID  %s\nlisten   %s\nticket   %s", ev.Peer, strings.Join(ev.Listen, " "), ev.Ticket)
}

func (a *app) showMessage(m *api.Message) {
	var payload any
	if err := m.Decode(&payload); err != nil {
		payload = fmt.Sprintf("(%d bytes that cannot be shown)", len(m.Raw()))
	}
	payload = jsonable(payload)
	text := m.Text()
	if text == "" {
		b, _ := json.Marshal(payload) // jsonable made sure that it can be
		text = string(b)
	}
	a.print.emit(messageEvent{"message", m.From.String(), m.Kind, payload}, "%s [%s] %s", m.From.Short(), m.Kind, printable(text))
}

// jsonable turns what CBOR can carry into what JSON can.
func jsonable(v any) any {
	switch v := v.(type) {
	case map[any]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[fmt.Sprint(k)] = jsonable(e)
		}
		return out
	case []any:
		for i := range v {
			v[i] = jsonable(v[i])
		}
		return v
	case float64, string, bool, nil, []byte, uint64, int64:
		if _, err := json.Marshal(v); err == nil {
			return v
		}
	}
	return fmt.Sprint(v)
}

// printable keeps what a stranger wrote from steering our terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || (r < ' ' && r != '\t') || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// sendLine sends what was typed. The channel tells what came of it.
func (a *app) sendLine(ctx context.Context, pg *api.Playground, line string) <-chan error {
	if !strings.HasPrefix(line, "{") {
		return pg.Post(ctx, "text", map[string]string{"text": line})
	}
	var msg struct {
		To      *kcptransport.PeerID `json:"to"`
		Kind    string               `json:"kind"`
		Payload any                  `json:"payload"`
	}
	told := make(chan error, 1)
	dec := json.NewDecoder(bytes.NewReader([]byte(line)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&msg); err != nil {
		told <- fmt.Errorf(`not sent: a line that begins with { must be {"to":ID,"kind":K,"payload":P}: %w`, err)
		return told
	}
	if msg.Kind == "" {
		told <- errors.New(`not sent: the message needs a "kind"`)
		return told
	}
	if msg.To == nil {
		return pg.Post(ctx, msg.Kind, msg.Payload)
	}
	return pg.Post(ctx, msg.Kind, msg.Payload, *msg.To)
}

// readLines reads lines that are not empty until the input or ctx ends. A read
// that blocks cannot be interrupted; it ends with the process.
func readLines(ctx context.Context, r io.Reader, lines chan<- string) {
	defer close(lines)
	in := bufio.NewScanner(r)
	in.Buffer(nil, api.MaxMessage)
	for in.Scan() {
		line := strings.TrimSpace(in.Text())
		if line == "" {
			continue
		}
		select {
		case lines <- line:
		case <-ctx.Done():
			return
		}
	}
}
