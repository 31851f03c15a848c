package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/2xppg/xppg/internal/scenario"
)

func (a *app) netsimCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "netsim",
		Short: "Experiments in the simulated network",
	}
	oneOf(cmd, "matrix")
	cmd.AddCommand(a.matrixCommand())
	return cmd
}

type matrixOptions struct {
	seed    uint64
	runs    int
	html    string
	pcap    string
	rtt     time.Duration
	loss    float64
	timeout time.Duration
}

func (a *app) matrixCommand() *cobra.Command {
	var o matrixOptions
	cmd := &cobra.Command{
		Use:   "matrix",
		Short: "Which pairs of NATs connect directly, and how fast",
		Long: `Let two peers behind every pair of NATs call each other through a third, and
tell which pairs find a direct path and how long it takes them once both know of
each other. It runs in real time, many pairs at once.`,
		Example: `  xppg netsim matrix
  xppg netsim matrix --seed 7 --runs 10 --loss 0.05 --html matrix.html`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case o.runs < 1 || o.runs > 1000:
				return fmt.Errorf("--runs %d: 1 to 1000 are possible", o.runs)
			case !(o.loss >= 0 && o.loss <= 0.5): // nor what is no number
				return fmt.Errorf("--loss %g: a share between 0 and 0.5 is wanted", o.loss)
			case o.rtt < time.Millisecond || o.rtt > time.Second:
				return fmt.Errorf("--rtt %s: 1ms to 1s are possible", o.rtt)
			case o.timeout < time.Second || o.timeout > time.Hour:
				return fmt.Errorf("--timeout %s: 1s to 1h are possible", o.timeout)
			}
			if err := o.checkFiles(); err != nil {
				return err
			}
			a.started = true
			return a.runMatrix(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&o.seed, "seed", 1, "decides losses and random ports")
	f.IntVar(&o.runs, "runs", 3, "how often each pair is played, with seeds from --seed on")
	f.StringVar(&o.html, "html", "", "also write the matrix to this file as a web page")
	f.StringVar(&o.pcap, "pcap", "", "also write each run to a file in this directory, for Wireshark (pcapng)")
	f.DurationVar(&o.rtt, "rtt", 40*time.Millisecond, "round trip between the two")
	f.Float64Var(&o.loss, "loss", 0, "share of packets lost between the two")
	f.DurationVar(&o.timeout, "timeout", 3*time.Second, "how long a pair may punch")
	return cmd
}

// checkFiles returns why the results could not be written.
func (o matrixOptions) checkFiles() error {
	if o.html != "" {
		if fi, err := os.Stat(o.html); err == nil && !fi.Mode().IsRegular() {
			return fmt.Errorf("--html: %s is no file", o.html)
		}
		dir := filepath.Dir(o.html)
		if _, err := os.Stat(dir); err != nil {
			return fmt.Errorf("--html: %w", err)
		}
		if err := checkFolder(dir); err != nil {
			return fmt.Errorf("--html: %w", err)
		}
	}
	if o.pcap != "" {
		if err := checkFolder(o.pcap); err != nil {
			return fmt.Errorf("--pcap: %w", err)
		}
	}
	return nil
}

// matrixCell is what came of one pair of NATs, as it is shown.
type matrixCell struct {
	Event    string   `json:"event"`
	A        string   `json:"a"`
	B        string   `json:"b"`
	Runs     int      `json:"runs"`
	Direct   int      `json:"direct"`
	Possible bool     `json:"possible"` // without predicting ports, by RFC 4787 reasoning
	Median   *float64 `json:"median_ms"`
}

func newMatrixCell(c scenario.Cell) matrixCell {
	out := matrixCell{Event: "pair", A: c.A, B: c.B, Runs: c.Runs, Direct: c.Direct, Possible: c.Reachable}
	if len(c.After) > 0 {
		slices.Sort(c.After)
		ms := math.Round(float64(c.After[len(c.After)/2])/float64(100*time.Microsecond)) / 10
		out.Median = &ms
	}
	return out
}

// Text is how the cell is shown.
func (c matrixCell) Text() string {
	switch {
	case c.Direct == 0:
		return "no"
	case c.Direct < c.Runs:
		return fmt.Sprintf("%d/%d %.0f ms", c.Direct, c.Runs, *c.Median)
	}
	return fmt.Sprintf("%.0f ms", *c.Median)
}

// Class is the cell's style on the page.
func (c matrixCell) Class() string {
	switch {
	case c.Direct == c.Runs:
		return "all"
	case c.Direct > 0:
		return "some"
	}
	return "none"
}

func (a *app) runMatrix(ctx context.Context, o matrixOptions) error {
	if o.pcap != "" {
		if err := os.MkdirAll(o.pcap, 0o755); err != nil {
			return err
		}
	}
	cells, err := scenario.Matrix(ctx, scenario.MatrixConfig{
		Seed: o.seed, Runs: o.runs, RTT: o.rtt, Loss: o.loss, Timeout: o.timeout, PCAP: o.pcap,
	})
	if ctx.Err() != nil {
		return errReported
	}
	if err != nil {
		return err
	}
	kinds := scenario.Kinds()
	var rows [][]matrixCell
	for len(cells) > 0 {
		var row []matrixCell
		for _, c := range cells[:len(kinds)] {
			row = append(row, newMatrixCell(c))
		}
		rows, cells = append(rows, row), cells[len(kinds):]
	}
	a.showMatrix(kinds, rows, o)
	if o.html == "" {
		return nil
	}
	return writeMatrix(o.html, kinds, rows, o)
}

func (a *app) showMatrix(kinds []string, rows [][]matrixCell, o matrixOptions) {
	var text strings.Builder
	fmt.Fprintf(&text, "%-20s", `caller \ called`)
	for _, k := range kinds {
		fmt.Fprintf(&text, "%-20s", k)
	}
	for i, row := range rows {
		fmt.Fprintf(&text, "\n%-20s", kinds[i])
		for _, c := range row {
			fmt.Fprintf(&text, "%-20s", c.Text())
			if a.json {
				a.print.emit(c, "")
			}
		}
	}
	if !a.json {
		a.print.emit(nil, "%s\n\nmedian time to a direct path, from both knowing of each other; round trip %s, loss %g, %d runs a pair, seed %d",
			text.String(), o.rtt, o.loss, o.runs, o.seed)
	}
}

//go:embed matrix.html
var matrixPage string

// writeMatrix writes the page beside its place and moves it there when whole.
func writeMatrix(path string, kinds []string, cells [][]matrixCell, o matrixOptions) error {
	page, err := template.New("matrix").Parse(matrixPage)
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	f, err := os.Create(tmp)
	if err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	err = page.Execute(f, map[string]any{"Kinds": kinds, "Cells": cells, "RTT": o.rtt, "Loss": o.loss, "Runs": o.runs, "Seed": o.seed})
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}
