package main

import (
	"context"
	"fmt"
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

func (a *app) netcheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "netcheck",
		Short: "Tell what this network's NAT does",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.runNetcheck(cmd.Context())
		},
	}
}

type netcheckEvent struct {
	Event   string   `json:"event"`
	Local   []string `json:"local"`
	Public  []string `json:"public"`
	Mapping string   `json:"mapping"`
	Servers []string `json:"servers_answered"`
	IPv6    bool     `json:"ipv6"`
	Errors  []string `json:"errors,omitempty"`
}

func (a *app) runNetcheck(ctx context.Context) error {
	pg, err := a.start(ctx, nil)
	if err != nil {
		return err
	}
	defer a.stop(pg)
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	r, err := pg.NetCheck(ctx)
	if err != nil {
		return err
	}
	ev := netcheckEvent{Event: "netcheck", Local: texts(r.Local), Public: texts(r.Public), Mapping: r.Mapping, Servers: texts(r.Answered), IPv6: r.IPv6}
	for _, e := range r.Errors {
		ev.Errors = append(ev.Errors, oneLine(e))
	}
	a.print.emit(ev, "local addresses    %s\npublic addresses   %s\nmapping            %s\nIPv6               %s\nSTUN servers       %d answered",
		orNone(ev.Local), orNone(ev.Public), ev.Mapping, yesNo(ev.IPv6), len(ev.Servers))
	for _, e := range ev.Errors {
		a.print.note("  %s", e)
	}
	if len(r.Answered) == 0 && len(ev.Errors) > 0 {
		return errReported
	}
	return nil
}

func texts[T fmt.Stringer](in []T) []string {
	out := make([]string, len(in))
	for i, v := range in {
		out[i] = v.String()
	}
	return out
}

func orNone(s []string) string {
	if len(s) == 0 {
		return "none"
	}
	out := s[0]
	for _, t := range s[1:] {
		out += " " + t
	}
	return out
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
