package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/2xppg/xppg/api"
	"github.com/2xppg/xppg/punch"
	"github.com/2xppg/xppg/stunclient"
)

func (a *app) netcheckCommand() *cobra.Command {
	var lifetime time.Duration
	cmd := &cobra.Command{
		Use:   "netcheck",
		Short: "Tell what this network's NAT does, and which peers can be reached directly",
		Long: `Tell what this network's NAT does, and which peers can be reached directly.

STUN servers are asked from the node's socket, and from spare ones. What is told
of filters and of the lifetime of mappings takes a server with two addresses (RFC
5780), as coturn is one when it is given two. Exit code 1 means that no server
answered. UDP is told to be blocked when nothing comes back by it while TCP gets
through, to a peer (--join) or to a STUN server.`,
		Example: `  xppg netcheck
  xppg netcheck --stun stun.example.org:3478 --lifetime 20m`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if lifetime < 0 || lifetime > longestWait {
				return fmt.Errorf("--lifetime %v: 0 to %v is wanted", lifetime, longestWait)
			}
			return a.runNetcheck(cmd.Context(), lifetime)
		},
	}
	cmd.Flags().DurationVar(&lifetime, "lifetime", 0, "also measure how long an idle mapping lives, for up to this long (20m tells most)")
	return cmd
}

type netcheckEvent struct {
	Event   string          `json:"event"`
	Local   []string        `json:"local"`
	Public  []string        `json:"public"`
	Mapping punch.Behaviour `json:"mapping"` // the same as nat.mapping.is
	NAT     punch.NAT       `json:"nat"`
	Meaning string          `json:"meaning"`
	Servers []string        `json:"servers_answered"`
	IPv6    bool            `json:"ipv6"`
	Ports   []string        `json:"port_mapping,omitempty"` // the mapping, then each protocol at each gateway
	UDP     api.UDPState    `json:"udp"`                    // works, blocked or unknown
	Errors  []string        `json:"errors,omitempty"`
}

func (a *app) runNetcheck(ctx context.Context, lifetime time.Duration) error {
	// Who knows everybody finds no third peer to test whether others come through.
	pg, err := a.start(ctx, func(c *api.Config) { c.MaxPeers = -1 })
	if err != nil {
		return err
	}
	defer a.stop(pg)
	ctx, cancel := context.WithTimeout(ctx, lookTimeout+lifetime)
	defer cancel()
	var o api.NetCheckOptions
	if lifetime > 0 {
		o.Lifetime = &stunclient.LifetimeLimits{Within: lifetime}
	}
	r, err := pg.NetCheck(ctx, o)
	if err != nil {
		return err
	}
	ev := netcheckEvent{
		Event: "netcheck", Local: texts(r.Local), Public: texts(r.Public), Mapping: r.NAT.Mapping.Is, NAT: r.NAT,
		Meaning: r.NAT.Meaning(), Servers: texts(r.Answered), IPv6: r.IPv6, UDP: r.UDP,
	}
	if r.UDP == api.UDPBlocked {
		ev.Meaning = "UDP is blocked here: peers are reached by TCP or WebSocket, by way of relays that take it (--tcp, --ws)."
	}
	ev.Ports = append(texts(r.Ports.Mappings), texts(r.Ports.Attempts)...)
	if r.Ports.Err != nil {
		ev.Ports = append(ev.Ports, oneLine(r.Ports.Err))
	}
	for _, e := range r.Errors {
		ev.Errors = append(ev.Errors, oneLine(e))
	}
	a.print.emit(ev, "%s", ev.text())
	for _, e := range ev.Errors {
		a.print.note("  %s", e)
	}
	if len(r.Answered) == 0 && len(ev.Errors) > 0 {
		return errReported
	}
	return nil
}

// text is the report for people. What few can know is left out when it is unknown.
func (ev netcheckEvent) text() string {
	var b strings.Builder
	line := func(name, value string) { fmt.Fprintf(&b, "%-18s %s\n", name, value) }
	line("local addresses", orNone(ev.Local))
	line("public addresses", orNone(ev.Public))
	line("IPv6", yesNo(ev.IPv6))
	line("STUN servers", fmt.Sprintf("%d answered", len(ev.Servers)))
	line("UDP", string(ev.UDP))
	n := ev.NAT
	line("mapping", n.Mapping.String())
	line("filtering", n.Filtering.String())
	line("port", n.Ports.String())
	if n.Step.Confidence > 0 {
		line("next port", fmt.Sprintf("%+d (%.0f %% sure)", n.Step.Is, 100*n.Step.Confidence))
	}
	if n.Block.Confidence > 0 {
		line("block of ports", n.Block.String())
	}
	if n.Addresses.Is > 1 {
		line("address pool", fmt.Sprintf("at least %d addresses", n.Addresses.Is))
	}
	if n.Lifetime.Confidence > 0 {
		line("idle mapping lives", n.Lifetime.Is.String())
	}
	if n.Hairpin.Confidence > 0 {
		line("hairpinning", fmt.Sprintf("%s (%.0f %% sure)", yesNo(n.Hairpin.Is), 100*n.Hairpin.Confidence))
	}
	for _, p := range ev.Ports {
		line("port mapping", p)
	}
	line("what this means", ev.Meaning)
	return strings.TrimSuffix(b.String(), "\n")
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
