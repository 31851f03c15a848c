// Command playground is the first quick start: start, on, join, send.
//
//	go run ./examples/playground                 prints a ticket and waits
//	go run ./examples/playground TICKET          joins, says hello and leaves
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	"github.com/2xppg/xppg/api"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, api.Config{App: "playground-example"}); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, targets []string, out io.Writer, cfg api.Config) error {
	pg, err := api.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer pg.Close()

	pg.On("text", func(m *api.Message) {
		fmt.Fprintf(out, "%s says: %s\n", m.From.Short(), m.Text())
	})

	if len(targets) == 0 {
		fmt.Fprintln(out, pg.Ticket())
		<-ctx.Done()
		return nil
	}
	for _, target := range targets {
		peer, err := pg.Join(ctx, target)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "joined %s\n", peer.Short())
	}
	return pg.SendText(ctx, "hello, everyone")
}
