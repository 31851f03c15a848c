package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/2xppg/xppg/api"
	"github.com/2xppg/xppg/chunks"
)

type shareEvent struct {
	Event  string `json:"event"`
	Ticket string `json:"ticket"`
	Root   string `json:"root"`
	Bytes  int64  `json:"bytes"`
	Chunks int    `json:"chunks"`
}

func (a *app) shareCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "share PATH…",
		Short: "Share files and folders: print a ticket and serve until interrupted",
		Example: `  xppg share report.pdf
  xppg share holiday/ notes.txt --join host:7337   also reachable through that node's introduction`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("xppg share takes the files and folders to share (see xppg share --help)")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkShared(args); err != nil {
				return err
			}
			return a.runShare(cmd.Context(), args)
		},
	}
}

func (a *app) runShare(ctx context.Context, paths []string) error {
	pg, err := a.start(ctx, func(c *api.Config) {
		c.Join = nil
		c.OnEvent = func(e api.Event) {
			if a.json || a.verbose || e.Type != api.EventPath {
				a.print.playgroundEvent(e)
			}
		}
	})
	if err != nil {
		return err
	}
	defer a.stop(pg)
	if err := a.joinAll(ctx, pg); err != nil {
		return err
	}
	s, err := pg.Share(ctx, paths...)
	if err != nil {
		return err
	}
	for _, p := range s.Skipped {
		a.print.note("left out, neither a file nor a folder: %s", p)
	}
	ticket := s.Ticket.String()
	a.print.emit(shareEvent{"share", ticket, s.Root.String(), s.Bytes, s.Chunks}, "%s", ticket)
	a.print.note("sharing %s; fetch it with: xppg get TICKET   (Ctrl-C ends)", showBytes(s.Bytes))
	<-ctx.Done()
	return nil
}

// joinAll joins the peers of --join, so that they are named in tickets.
func (a *app) joinAll(ctx context.Context, pg *api.Playground) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	for _, t := range a.join {
		if _, err := pg.Join(ctx, t); err != nil {
			return fmt.Errorf("--join %s: %w", t, err)
		}
	}
	return nil
}

type progressEvent struct {
	Event string `json:"event"`
	Have  int64  `json:"have"`
	Total int64  `json:"total"`
	Rate  int64  `json:"rate"`
	Peers int    `json:"peers"`
}

type doneEvent struct {
	Event   string  `json:"event"`
	Path    string  `json:"path"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
}

func (a *app) getCommand() *cobra.Command {
	var dir string
	var overwrite bool
	cmd := &cobra.Command{
		Use:   "get TICKET",
		Short: "Fetch what a ticket names",
		Long: `Fetch what a ticket names, from everyone who has it. Run it again after a
crash and it goes on where it was; files get their names when they are whole.`,
		Example: `  xppg get xppg1… -o ~/Downloads`,
		Args:    exactArgs(1, "a ticket"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := api.ParseTicket(args[0])
			if err != nil {
				return err
			}
			if t.Root == nil {
				return errors.New("this ticket names a peer but no content (use the one that xppg share printed)")
			}
			if err := checkFolder(dir); err != nil {
				return fmt.Errorf("--output: %w", err)
			}
			return a.runGet(cmd.Context(), args[0], dir, overwrite)
		},
	}
	cmd.Flags().StringVarP(&dir, "output", "o", ".", "folder to put it in")
	cmd.Flags().BoolVar(&overwrite, "overwrite", false, "replace what is there")
	return cmd
}

func (a *app) runGet(ctx context.Context, ticket, dir string, overwrite bool) error {
	pg, err := a.start(ctx, func(c *api.Config) {
		c.Join = nil
		if a.verbose {
			c.OnEvent = a.verboseEvent
		}
	})
	if err != nil {
		return err
	}
	defer a.stop(pg)
	if err := a.joinAll(ctx, pg); err != nil {
		return err
	}
	start := time.Now()
	bar := a.newProgress()
	r, err := pg.Fetch(ctx, ticket, dir, api.FetchOptions{Overwrite: overwrite, Progress: bar.update})
	bar.end(err == nil)
	for _, bad := range r.Bad {
		a.print.note("peer %s sent bad data and was dropped", bad.Short())
	}
	if err != nil {
		if ctx.Err() != nil {
			a.print.note("interrupted; run it again to go on")
			return errReported
		}
		return err
	}
	sec := math.Round(time.Since(start).Seconds()*1000) / 1000
	for _, p := range r.Paths {
		a.print.emit(doneEvent{"done", p, r.Bytes, sec}, "%s (%s in %.1f s)", p, showBytes(r.Bytes), sec)
	}
	return nil
}

// progress shows a download: a bar on a terminal, JSON lines with --json,
// nothing elsewhere.
type progress struct {
	a    *app
	bars *mpb.Progress
	bar  *mpb.Bar
	last chunks.Progress
}

func (a *app) newProgress() *progress {
	p := &progress{a: a}
	if !a.json && isTerminal(a.io.err) {
		p.bars = mpb.New(mpb.WithOutput(a.io.err), mpb.WithWidth(40))
	}
	return p
}

func (p *progress) update(now chunks.Progress) {
	p.last = now
	if p.a.json {
		p.a.print.emit(progressEvent{"progress", now.Have, now.Total, int64(now.Rate), now.Peers}, "")
		return
	}
	if p.bars == nil || now.Total == 0 {
		return
	}
	if p.bar == nil {
		p.bar = p.bars.AddBar(now.Total,
			mpb.PrependDecorators(decor.CountersKibiByte("% .1f / % .1f")),
			mpb.AppendDecorators(decor.Percentage(), decor.Any(func(decor.Statistics) string {
				return fmt.Sprintf("  %s/s  ", showBytes(int64(p.last.Rate)))
			})),
		)
	}
	p.bar.SetCurrent(now.Have)
}

func (p *progress) end(whole bool) {
	if p.bars == nil {
		return
	}
	if p.bar != nil && !whole {
		p.bar.Abort(false)
	} else if p.bar != nil {
		p.bar.SetCurrent(p.last.Total)
	}
	p.bars.Wait()
}
