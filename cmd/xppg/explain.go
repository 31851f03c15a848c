package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
)

const lookTimeout = 20 * time.Second

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain TARGET",
		Short: "Connect to a peer and tell how: what was tried, what answered, which path won",
		Example: `  xppg explain TICKET
  xppg explain PEERID --join host:7337`,
		Args: exactArgs(1, "a target"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runExplain(cmd.Context(), args[0])
		},
	}
}

func (a *app) runExplain(ctx context.Context, target string) error {
	a.verbose = a.verbose || !a.json // a failure is to be explained, too
	pg, id, start, cancel, err := a.joinOne(&ctx, target, lookTimeout)
	if err != nil {
		return err
	}
	defer cancel()
	defer a.stop(pg)
	took := time.Since(start)
	path, _ := pg.PathTo(id)
	x, punched := pg.Explain(id)
	text := "no hole punching was needed: the address that was given answered"
	if punched {
		text = x.String()
	}
	var detail any
	if punched {
		detail = x
	}
	a.print.emit(struct {
		Event       string  `json:"event"`
		Peer        string  `json:"peer"`
		Path        string  `json:"path"`
		Addr        string  `json:"addr"`
		RTT         float64 `json:"rtt_ms"`
		After       float64 `json:"after_ms"`
		Explanation any     `json:"explanation"`
	}{"explain", id.String(), path.Path, path.Addr.String(), millis(path.RTT), millis(took), detail},
		"peer %s: %s path over %s, round trip %s, connected after %s\n%s",
		id.Short(), path.Path, path.Addr, showDuration(path.RTT), showDuration(took), text)
	return nil
}
