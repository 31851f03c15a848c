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

// longest returns the result of a run that lacks nothing: the last ones are left out where no processor time was seen.
func longest(runs []result) result {
	return slices.MaxFunc(runs, func(a, b result) int { return cmp.Compare(len(a), len(b)) })
}

func (r *row) figures() result { return longest(r.runs) }

// units returns a result with a figure for each column: no row need have all of them.
func units(rows []*row) result {
	var all []result
	for _, r := range rows {
		all = append(all, r.figures())
	}
	return longest(all)
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
	columns := units(rows)
	for _, f := range columns {
		fmt.Fprintf(tw, "%s\tratio\t", f.unit)
	}
	fmt.Fprintln(tw)
	for _, r := range rows {
		fmt.Fprintf(tw, "%s\t", r.contender)
		for i := range columns {
			m := median(r.values(i))
			ratio := "-"
			if x, ok := ratioTo(rows[0], i, m); ok {
				ratio = fmt.Sprintf("%.2f", x)
			}
			fmt.Fprintf(tw, "%s\t%s\t", number(m), ratio)
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// ratioTo returns how m relates to the i-th figure of the first contender, false when that has none.
func ratioTo(first *row, i int, m float64) (float64, bool) {
	x := m / median(first.values(i))
	return x, !math.IsNaN(x) && !math.IsInf(x, 0)
}

// number prints three or four digits that matter; "-" stands for what was not seen.
func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "-"
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
				Ratio     *float64  `json:"ratio"` // to the first contender; null when that has no such figure
				Runs      []float64 `json:"runs"`
			}{b.name, r.contender, f.unit, median(r.values(i)), nil, r.values(i)}
			if x, ok := ratioTo(rows[0], i, line.Median); ok {
				line.Ratio = &x
			}
			if err := enc.Encode(line); err != nil {
				return err
			}
		}
	}
	return nil
}
