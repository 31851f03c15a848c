package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
)

// A figure is one number that was measured.
type figure struct {
	unit  string
	value float64
}

// A result is what one measurement found; the units are the same in all measurements of a benchmark.
type result []figure

// A row is all that was measured of one contender.
type row struct {
	contender string
	runs      []result
}

// figures returns the result of a run that lacks nothing: the last ones are left out where no processor time was seen.
func (r *row) figures() result {
	return slices.MaxFunc(r.runs, func(a, b result) int { return cmp.Compare(len(a), len(b)) })
}

// values returns what the runs that have an i-th figure found for it, in order.
func (r *row) values(i int) (v []float64) {
	for _, run := range r.runs {
		if i < len(run) {
			v = append(v, run[i].value)
		}
	}
	return v
}

// median is the middle value, the mean of the two in the middle when there is none. Of nothing it is not a number.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// printTable prints medians, and beside each how it relates to the first contender's.
func printTable(w io.Writer, b benchmark, rows []*row) error {
	fmt.Fprintf(w, "\n%s\n", b.title)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tw, "\t")
	for _, f := range rows[0].figures() {
		fmt.Fprintf(tw, "%s\tratio\t", f.unit)
	}
	fmt.Fprintln(tw)
	for _, r := range rows {
		fmt.Fprintf(tw, "%s\t", r.contender)
		for i := range r.figures() {
			m := median(r.values(i))
			fmt.Fprintf(tw, "%s\t%.2f\t", number(m), m/median(rows[0].values(i)))
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// number prints three or four digits that matter.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.3f", v)
	}
}

// printJSON prints one object for each figure, with the values of all runs.
func printJSON(w io.Writer, b benchmark, rows []*row) error {
	enc := json.NewEncoder(w)
	for _, r := range rows {
		for i, f := range r.figures() {
			line := struct {
				Bench     string    `json:"bench"`
				Contender string    `json:"contender"`
				Unit      string    `json:"unit"`
				Median    float64   `json:"median"`
				Ratio     float64   `json:"ratio"` // to the first contender
				Runs      []float64 `json:"runs"`
			}{b.name, r.contender, f.unit, median(r.values(i)), 0, r.values(i)}
			line.Ratio = line.Median / median(rows[0].values(i))
			if err := enc.Encode(line); err != nil {
				return err
			}
		}
	}
	return nil
}
