package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/2xppg/xppg/api"
	"github.com/2xppg/xppg/kcptransport"
)

type pongEvent struct {
	Event string  `json:"event"`
	Seq   int     `json:"seq"`
	RTT   float64 `json:"rtt_ms"`
	Path  string  `json:"path"`
	Addr  string  `json:"addr"`

	Via []string `json:"via,omitempty"`
}

type summaryEvent struct {
	Event       string   `json:"event"`
	Sent        int      `json:"sent"`
	Received    int      `json:"received"`
	Path        string   `json:"path"`
	DirectAfter *float64 `json:"direct_after_ms"`
}

// saw takes in what path there is. The first direct one counts.
func (s *summaryEvent) saw(path api.PeerInfo, start time.Time) {
	s.Path = path.Path
	if path.Direct && s.DirectAfter == nil {
		ms := max(0, millis(path.Since.Sub(start))) // a path that was there before took no time
		s.DirectAfter = &ms
	}
}

type pingOptions struct {
	count    int
	counted  bool // it was asked for, not left to the default
	until    string
	timeout  time.Duration
	interval time.Duration
}

func (a *app) pingCommand() *cobra.Command {
	var o pingOptions
	cmd := &cobra.Command{
		Use:   "ping TARGET",
		Short: "Measure the round trip to a peer, and see which path it takes",
		Long: `Measure the round trip to a peer, and see which path it takes.

Exit code 0 means that what was asked came true: every ping was answered, or
with --until direct that a direct path was found in time.`,
		Example: `  xppg ping host:7337
  xppg ping TICKET --until direct --timeout 10s
  xppg ping PEERID --join host:7337`,
		Args: exactArgs(1, "a target"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			o.counted = cmd.Flags().Changed("count")
			return a.runPing(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.IntVarP(&o.count, "count", "c", 4, "how many pings to send; with --until, at most, and without end if not given")
	f.StringVar(&o.until, "until", "", `go on until the path is "direct"`)
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long to try in all")
	f.DurationVar(&o.interval, "interval", time.Second, "pause between pings")
	return cmd
}

func (o pingOptions) check() error {
	switch {
	case o.count < 1:
		return fmt.Errorf("--count %d: at least one ping is needed", o.count)
	case o.until != "" && o.until != "direct":
		return fmt.Errorf(`--until %q: only "direct" can be waited for`, o.until)
	}
	if err := checkSpan("timeout", o.timeout, longestWait); err != nil {
		return err
	}
	return checkSpan("interval", o.interval, longestWait)
}

func (a *app) runPing(ctx context.Context, target string, o pingOptions) error {
	pg, id, start, cancel, err := a.joinOne(&ctx, target, o.timeout)
	if err != nil {
		return err
	}
	defer cancel()
	defer a.stop(pg)

	sum := summaryEvent{Event: "summary"}
	if path, ok := pg.PathTo(id); ok { // before the first ping, which may be lost
		sum.saw(path, start)
	}
	last := ""
	for ctx.Err() == nil {
		if sum.Sent > 0 && !wait(ctx, o.interval) {
			break
		}
		sum.Sent++
		rtt, err := pingOnce(ctx, pg, id, pongWait)
		path, ok := pg.PathTo(id)
		if !ok || (err != nil && ctx.Err() == nil) {
			a.print.note("no answer to ping %d: %v", sum.Sent, err)
		}
		if ok {
			sum.saw(path, start)
		}
		if err == nil {
			sum.Received++
			a.print.emit(pongEvent{"pong", sum.Sent, millis(rtt), path.Path, path.Addr.String(), ids(path.Via)},
				"pong from %s: seq=%d time=%s %s %s%s%s", id.Short(), sum.Sent, showDuration(rtt), path.Path, path.Addr, byWay(path.Via), changed(last, path))
			last = pathText(path)
		}
		if o.until == "direct" && sum.DirectAfter != nil && sum.Received > 0 {
			break
		}
		if (o.until == "" || o.counted) && sum.Sent >= o.count {
			break
		}
	}
	return a.pingSummary(sum, o)
}

func changed(last string, p api.PeerInfo) string {
	if last == "" || last == pathText(p) {
		return ""
	}
	return " (path changed)"
}

func pathText(p api.PeerInfo) string { return p.Path + p.Addr.String() + byWay(p.Via) }

const pongWait = 3 * time.Second // for an answer: neither it nor the question is sent again

func pingOnce(ctx context.Context, pg *api.Playground, id kcptransport.PeerID, timeout time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return pg.Ping(ctx, id)
}

func (a *app) pingSummary(sum summaryEvent, o pingOptions) error {
	direct := "never direct"
	if sum.DirectAfter != nil {
		direct = fmt.Sprintf("direct after %.1f ms", *sum.DirectAfter)
	}
	a.print.emit(sum, "%d sent, %d answered, %s", sum.Sent, sum.Received, direct)
	cameTrue := sum.Received == sum.Sent
	if o.until == "direct" { // a ping that was lost on the way there does not matter
		cameTrue = sum.Received > 0 && sum.DirectAfter != nil
	}
	if !cameTrue {
		return errReported
	}
	return nil
}

// wait pauses for d and reports whether it was not interrupted.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// joinOne starts a node that joins one target, after the peers of --join, which
// may be needed to introduce it. The new ctx ends after timeout.
func (a *app) joinOne(ctx *context.Context, target string, timeout time.Duration) (*api.Playground, kcptransport.PeerID, time.Time, context.CancelFunc, error) {
	none := kcptransport.PeerID{}
	if err := api.CheckTarget(target); err != nil {
		return nil, none, time.Time{}, nil, err
	}
	pg, err := a.start(*ctx, func(c *api.Config) {
		c.Join = nil
		if a.verbose {
			c.OnEvent = a.verboseEvent
		}
	})
	if err != nil {
		return nil, none, time.Time{}, nil, err
	}
	tctx, cancel := context.WithTimeout(*ctx, timeout)
	fail := func(err error) (*api.Playground, kcptransport.PeerID, time.Time, context.CancelFunc, error) {
		cancel()
		a.stop(pg)
		return nil, none, time.Time{}, nil, err
	}
	for _, t := range a.join {
		if _, err := pg.Join(tctx, t); err != nil {
			return fail(fmt.Errorf("--join %s: %w", t, err))
		}
	}
	start := time.Now()
	id, err := pg.Join(tctx, target)
	if err != nil {
		a.explainFailure(pg, id)
		return fail(err)
	}
	*ctx = tctx
	return pg, id, start, cancel, nil
}

func (a *app) verboseEvent(e api.Event) {
	if e.Type == api.EventError {
		a.print.note("xppg: %s", oneLine(e.Err))
		return
	}
	a.print.note("* %s %s %s %s %s", e.Peer.Short(), e.Type, e.State, e.Path, e.Addr)
}

// explainFailure says, when asked to say more, what was tried to reach a peer.
func (a *app) explainFailure(pg *api.Playground, id kcptransport.PeerID) {
	if x, ok := pg.Explain(id); ok && a.verbose {
		a.print.note("%s", x)
	}
}
