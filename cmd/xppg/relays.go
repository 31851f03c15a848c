package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/2xppg/xppg/api"
)

const relaysQuiet = time.Second // without news after which the list is taken for complete

type relayEvent struct {
	Event     string   `json:"event"`
	Peer      string   `json:"peer"`
	Addrs     []string `json:"addrs"`
	Connected bool     `json:"connected"`
	RTT       *float64 `json:"rtt_ms"` // null: not measured
	Age       float64  `json:"age_s"`
	Load      float64  `json:"load"` // 0 to 1, as it says
	Peers     int      `json:"peers"`
	Circuits  int      `json:"circuits"`
}

func (a *app) relaysCommand() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "relays",
		Short: "List the relays that a room knows, with round trip, load and age",
		Long: `List the relays that a room knows: the round trip to each, its load in quarters of
what it can do and to how many peers it has links, as it says itself, and how old that is. Name a node of the
room with --join. Exit code 1 means that no relay is known.`,
		Example: `  xppg relays --join host:7337
  xppg relays --join host:7337 --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(a.join) == 0 {
				return errors.New("xppg relays needs a node of the room: --join host:port, ticket or peer ID")
			}
			if err := checkSpan("timeout", timeout, longestWait); err != nil {
				return err
			}
			return a.runRelays(cmd.Context(), timeout)
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", lookTimeout, "how long to look")
	return cmd
}

func (a *app) runRelays(ctx context.Context, timeout time.Duration) error {
	pg, err := a.start(ctx, func(c *api.Config) { c.Relay = api.RelayOff })
	if err != nil {
		return err
	}
	defer a.stop(pg)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if _, err := pg.Join(ctx, a.join[0]); err != nil {
		return err
	}
	list := waitRelays(ctx, pg)
	if len(list) == 0 {
		return errors.New("no relay is known there")
	}
	for _, r := range list {
		a.showRelay(r)
	}
	return nil
}

// waitRelays returns the relays once nothing new has been heard for a moment, each of them is connected, or ctx ends.
func waitRelays(ctx context.Context, pg *api.Playground) []api.RelayInfo {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	known, connected, since := 0, 0, time.Now()
	for {
		list := pg.Relays()
		n := 0
		for _, r := range list {
			if r.Connected {
				n++
			}
		}
		if len(list) != known || n != connected {
			known, connected, since = len(list), n, time.Now()
		}
		if known > 0 && time.Since(since) > relaysQuiet {
			return list
		}
		select {
		case <-ctx.Done():
			return list
		case <-tick.C:
		}
	}
}

func (a *app) showRelay(r api.RelayInfo) {
	ev := relayEvent{Event: "relay", Peer: r.ID.String(), Addrs: []string{}, Connected: r.Connected,
		Age: r.Age.Round(time.Millisecond).Seconds(), Load: r.Load, Peers: r.Peers, Circuits: r.Circuits}
	for _, addr := range r.Addrs {
		ev.Addrs = append(ev.Addrs, addr.String())
	}
	rtt := "not connected"
	if r.Connected && r.RTT > 0 {
		ms := millis(r.RTT)
		ev.RTT, rtt = &ms, "rtt "+showDuration(r.RTT)
	}
	a.print.emit(ev, "%s  %s  load %.0f%%, %d peers  age %s", r.ID, rtt, 100*r.Load, r.Peers, r.Age.Round(time.Second))
}
