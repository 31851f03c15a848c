package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"sync"

	"github.com/spf13/cobra"

	"github.com/2xppg/xppg/api"
)

const maxRoom = 48 // bytes of a room's name: "chat/" and it make a message kind

const maxChatName = 64 // bytes: it stands before every line

type chatPayload struct {
	Name string `cbor:"name"`
	Text string `cbor:"text"`
}

func (a *app) chatCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "chat ROOM",
		Short: "Talk to everyone in a room",
		Long: `Talk to everyone in a room. Peers of one application pass the lines on, so
joining anyone in it is enough; a room is private when --passphrase is given.`,
		Example: `  xppg chat lobby --join host:7337
  xppg chat lobby --join TICKET --passphrase "correct horse"`,
		Args: exactArgs(1, "a room"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "" || len(args[0]) > maxRoom {
				return fmt.Errorf("chat %q: a room's name has 1 to %d bytes", args[0], maxRoom)
			}
			if len(name) > maxChatName {
				return fmt.Errorf("--name: %d bytes, at most %d are possible", len(name), maxChatName)
			}
			return a.runChat(cmd.Context(), args[0], name)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "what to be called (default: your user name)")
	return cmd
}

func (a *app) runChat(ctx context.Context, room, name string) error {
	if name == "" {
		name = userName()
	}
	kind := "chat/" + room
	pg, err := a.start(ctx, func(c *api.Config) { c.OnEvent = a.print.playgroundEvent })
	if err != nil {
		return err
	}
	defer a.stop(pg)
	pg.On(kind, func(m *api.Message) {
		var p chatPayload
		if m.Decode(&p) != nil {
			return
		}
		a.print.emit(messageEvent{"message", m.From.String(), m.Kind, map[string]string{"name": p.Name, "text": p.Text}},
			"%s (%s): %s", printable(p.Name), m.From.Short(), printable(p.Text))
	})
	a.print.note("* room %s; others join with: xppg chat %s --join %s", room, room, pg.Ticket())
	lines := make(chan string)
	go readLines(ctx, a.io.in, lines)
	var sending sync.WaitGroup
	defer sending.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case line, ok := <-lines:
			if !ok {
				return nil
			}
			told := pg.Post(ctx, kind, chatPayload{Name: name, Text: line}) // a peer that does not answer holds up no other line
			sending.Go(func() {
				err := <-told
				if errors.Is(err, api.ErrNotConnected) {
					err = errors.New("nobody is here yet")
				}
				if err != nil && ctx.Err() == nil {
					a.print.error(err)
				}
			})
		}
	}
}

func userName() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	if h, err := os.Hostname(); err == nil {
		return h
	}
	return "somebody"
}
