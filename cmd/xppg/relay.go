package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/2xppg/xppg/api"
	"github.com/2xppg/xppg/internal/relayops"
)

func (a *app) relayCommand() *cobra.Command {
	var o relayops.Options
	var given map[string]bool
	cmd := &cobra.Command{
		Use:   "relay",
		Short: "Run a relay: carry packets between peers that cannot reach each other",
		Long: `Run a relay until interrupted. It introduces peers to each other, and carries
packets between those that cannot reach each other directly. It cannot read
what it carries.

A hang-up signal (SIGHUP) reloads limits and lists; when a file is bad,
everything stays as it was. An interrupt (or SIGTERM) asks the peers to move to
other relays and waits for that; a second one ends at once. See
docs/operators.md.`,
		Example: `  xppg relay
  xppg relay --join other-relay.example.org:7337 --metrics 127.0.0.1:9337
  xppg relay --limit-total 100Mbit --limit-peer 10Mbit --deny deny.txt
  xppg relay --limit-circuit 5Mbit --circuit-bytes 10GB --circuit-time 12h
  xppg relay --config /etc/xppg/relay.conf`,
		Args: noArgs,
		PersistentPreRunE: func(cmd *cobra.Command, args []string) error {
			a.print.io, a.print.json = a.io, a.json
			given = relayops.Given(cmd.Flags())
			if o.Config != "" {
				settings, err := relayops.ReadSettings(o.Config)
				if err == nil {
					err = relayops.Apply(cmd.Flags(), settings, func(name string) bool { return given[name] })
				}
				if err != nil {
					return fmt.Errorf("--config: %w", err)
				}
			}
			return a.prepare(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.runRelay(cmd.Context(), o, cmd.Flags(), given)
		},
	}
	o.AddFlags(cmd.Flags())
	return cmd
}

func (a *app) runRelay(ctx context.Context, o relayops.Options, flags *pflag.FlagSet, given map[string]bool) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // from here on the signals are ours
	if err := o.Check(); err != nil {
		return err
	}
	lists, err := relayops.ReadLists(o.Allow, o.Deny)
	if err != nil {
		return err
	}
	a.listenSet = true           // a relay at another port is of no use to those who know it
	ready := make(chan struct{}) // "ready" is the first event
	begin := sync.OnceFunc(func() { close(ready) })
	defer begin()
	pg, err := a.start(ctx, func(c *api.Config) {
		c.Relay, c.ListenTCP, c.ListenWS, c.URLs = api.RelayOn, o.TCP, o.WS, o.URLs()
		c.OnEvent = func(e api.Event) {
			<-ready
			if a.verbose { // else a relay keeps no record of who met whom
				a.print.playgroundEvent(e)
			}
		}
	})
	if err != nil {
		return err
	}
	defer a.stop(pg)
	op := &relayops.Operator{
		Node: relayops.ForPlayground(pg), DrainTimeout: o.DrainTimeout, Log: a.operatorEvent,
		Load: func() (relayops.Limits, relayops.Lists, error) { return relayops.Reload(flags, given) },
	}
	if err := op.Start(o.Limits, lists); err != nil {
		return err
	}
	if o.Metrics == "" {
		a.showReady(pg)
	} else {
		server, err := op.Serve(ctx, o.Metrics, version())
		if err != nil {
			return err
		}
		defer server.Close()
		a.showReady(pg)
		a.print.emit(metricsEvent{"metrics", server.Addr.String()}, "metrics  http://%s/metrics", server.Addr)
	}
	a.showStreams(pg)
	begin()
	op.Run(ctx, signals)
	return nil
}

type streamsEvent struct {
	Event string `json:"event"`
	TCP   string `json:"tcp,omitempty"`
	WS    string `json:"ws,omitempty"`
}

// showStreams tells where peers can come by TCP and WebSocket, if anywhere.
func (a *app) showStreams(pg *api.Playground) {
	ev, text := streamsEvent{Event: "streams"}, ""
	tcp, ws := pg.StreamAddrs()
	if tcp != nil {
		ev.TCP = tcp.String()
		text += " tcp://" + ev.TCP
	}
	if ws != nil {
		ev.WS = ws.String()
		text += " ws://" + ev.WS
	}
	if text != "" {
		a.print.emit(ev, "streams %s", text)
	}
}

type metricsEvent struct {
	Event string `json:"event"`
	Addr  string `json:"addr"`
}

type operatorEvent struct {
	Event    string `json:"event"` // "reloaded", "draining" or "drained"
	Total    uint64 `json:"limit_total_bytes_per_second"`
	Peer     uint64 `json:"limit_peer_bytes_per_second"`
	Circuits int    `json:"limit_circuits"`
	Circuit  uint64 `json:"limit_circuit_bytes_per_second"`
	Bytes    uint64 `json:"limit_circuit_bytes"`
	Seconds  uint64 `json:"limit_circuit_s"`
	Allow    int    `json:"allow_entries"`
	Deny     int    `json:"deny_entries"`
}

// operatorEvent tells what became of a signal.
func (a *app) operatorEvent(e relayops.Event) {
	s := e.State
	l := &s.Limits
	ev := operatorEvent{
		Event: e.What, Total: uint64(l.Total), Peer: uint64(l.Peer), Circuits: l.Circuits,
		Circuit: uint64(l.Circuit), Bytes: uint64(l.CircuitBytes), Seconds: uint64(time.Duration(l.CircuitTime).Seconds()),
		Allow: s.Lists.Allow.Len(), Deny: s.Lists.Deny.Len(),
	}
	switch {
	case e.Err != nil && e.What == "reloaded":
		a.print.error(fmt.Errorf("reload: %w (what was before stays in force)", e.Err))
	case e.What == "reloaded":
		a.print.emit(ev, "reloaded: limit-total %s, limit-peer %s, circuits %d, limit-circuit %s, circuit-bytes %s, circuit-time %s; %d entries allow, %d deny",
			&l.Total, &l.Peer, ev.Circuits, &l.Circuit, &l.CircuitBytes, &l.CircuitTime, ev.Allow, ev.Deny)
	case e.What == "draining":
		a.print.emit(ev, "draining: peers are asked to move to other relays")
	case e.What == "cut":
		a.print.error(errors.New("some circuits were cut: their peers have no other relay, or had no time"))
	default:
		a.print.emit(ev, "drained")
	}
}
