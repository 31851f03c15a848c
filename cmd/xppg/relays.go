package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/2xppg/xppg/api"
	"github.com/2xppg/xppg/internal/units"
)

const relaysQuiet = time.Second // without news after which the list is taken for complete

type relayEvent struct {
	Event     string   `json:"event"`
	Peer      string   `json:"peer"`
	Addrs     []string `json:"addrs"`
	Connected bool     `json:"connected"`
	RTT       *float64 `json:"rtt_ms"` // null: not measured
	Age       float64  `json:"age_s"`
	Load      float64  `json:"load"` // 0 to 1, as it says: the highest of what is told of it
	Peers     int      `json:"peers"`
	Circuits  int      `json:"circuits"` // of ours through it

	// What it told when asked; null: it was not, or did not. The shares are null where there is no limit.
	BandwidthLoad *float64 `json:"bandwidth_load"`         // share of the limit in use, 0 to 1
	CircuitsLoad  *float64 `json:"circuits_load"`          // the same of circuits
	Overloaded    *bool    `json:"overloaded"`             // it drops packets
	BytesLimit    *uint64  `json:"limit_bytes_per_second"` // 0: none
	CircuitsLimit *int     `json:"limit_circuits"`         // 0: none
}

// told takes in what the relay says, and returns it for people.
func (ev *relayEvent) told(l api.RelayLoad) string {
	ev.Load, ev.Overloaded, ev.BytesLimit, ev.CircuitsLimit = l.Load(), &l.Overloaded, &l.BytesPerSecond, &l.MaxCircuits
	var parts []string
	if rate := units.Rate(l.BytesPerSecond); rate > 0 {
		ev.BandwidthLoad = &l.Bandwidth
		parts = append(parts, fmt.Sprintf("%.0f%% of %v", 100*l.Bandwidth, &rate))
	}
	if l.MaxCircuits > 0 {
		ev.CircuitsLoad = &l.Circuits
		parts = append(parts, fmt.Sprintf("%.0f%% of %d circuits", 100*l.Circuits, l.MaxCircuits))
	}
	if l.Overloaded {
		parts = append(parts, "drops packets")
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func (a *app) relaysCommand() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "relays",
		Short: "List the relays that a room knows, with round trip, load and age",
		Long: `List the relays that a room knows: the round trip to each, how much of what it
can do it does and to how many peers it has links, as it says itself, and how
old that is. Name nodes of the room with --join: one that answers is enough.
Exit code 1 means that no relay is known.

A relay that is connected is asked for its load: which share of its bandwidth
limit was in use during the last half minute, and of the circuits that it takes,
in steps of 5 %. Of others the load is that of their records, in quarters.
With --json:
  load                    0 to 1, the highest of the shares; 1 when it drops packets
  bandwidth_load          share of limit_bytes_per_second in use; null: no limit, or not told
  circuits_load           share of limit_circuits in use; null: no limit, or not told
  limit_bytes_per_second  most that it carries; 0: no limit; null: not told
  limit_circuits          most circuits that it takes; 0: no limit; null: not told
  overloaded              whether it drops more than 2 % of the packets; null: not told
  peers                   to how many peers it has links
  circuits                how many of this command's own circuits go through it
  rtt_ms, age_s           round trip to it (null: not connected), and the age of its record`,
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
	join := func(ctx context.Context, target string) error {
		_, err := pg.Join(ctx, target)
		return err
	}
	if err := joinAny(ctx, a.join, join); err != nil {
		return err
	}
	list := waitRelays(ctx, pg)
	if len(list) == 0 {
		return errors.New("no relay is known there")
	}
	loads := askLoads(ctx, pg, list)
	for i, r := range list {
		a.showRelay(r, loads[i])
	}
	return nil
}

// joinAny joins all targets at the same time, and returns when the first one is joined, or with what is wrong with each. The rest
// are given up then; the node goes on trying them by itself.
func joinAny(ctx context.Context, targets []string, join func(ctx context.Context, target string) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(targets))
	var joined atomic.Bool
	var joining sync.WaitGroup
	for i, t := range targets {
		joining.Go(func() {
			if err := join(ctx, t); err != nil {
				errs[i] = fmt.Errorf("--join %s: %w", t, err)
				return
			}
			joined.Store(true)
			cancel()
		})
	}
	joining.Wait()
	if joined.Load() {
		return nil
	}
	return errors.Join(errs...)
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

const loadTimeout = 3 * time.Second // for a relay to tell its load

// askLoads asks all connected relays at the same time; nil is one that did not tell.
func askLoads(ctx context.Context, pg *api.Playground, list []api.RelayInfo) []*api.RelayLoad {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	out := make([]*api.RelayLoad, len(list))
	var asking sync.WaitGroup
	for i, r := range list {
		if r.Connected {
			asking.Go(func() {
				if l, err := pg.RelayLoad(ctx, r.ID); err == nil {
					out[i] = &l
				}
			})
		}
	}
	asking.Wait()
	return out
}

func (a *app) showRelay(r api.RelayInfo, load *api.RelayLoad) {
	ev := relayEvent{Event: "relay", Peer: r.ID.String(), Addrs: []string{}, Connected: r.Connected,
		Age: r.Age.Round(time.Millisecond).Seconds(), Load: r.Load, Peers: r.Peers, Circuits: r.Circuits}
	for _, addr := range r.Addrs {
		ev.Addrs = append(ev.Addrs, addr.String())
	}
	detail := ""
	if load != nil {
		detail = ev.told(*load)
	}
	rtt := "not connected"
	if r.Connected && r.RTT > 0 {
		ms := millis(r.RTT)
		ev.RTT, rtt = &ms, "rtt "+showDuration(r.RTT)
	}
	a.print.emit(ev, "%s  %s  load %.0f%%%s, %d peers  age %s", r.ID, rtt, 100*ev.Load, detail, r.Peers, r.Age.Round(time.Second))
}
