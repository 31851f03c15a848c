package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// tiny proves that everything works, and measures nothing.
var tiny = sizes{loopback: 1 << 20, lossy: 128 << 10, echoes: 20, spacedEchoes: 10, limit: 10 * time.Second, forward: 100 * time.Millisecond}

func TestEveryContenderTakesPart(t *testing.T) {
	for _, b := range benchmarks {
		t.Run(b.name, func(t *testing.T) {
			rows, err := measure(t.Context(), b, options{runs: 1, sizes: tiny})
			if err != nil {
				t.Fatal(err)
			}
			want := len(b.among)
			if strings.HasPrefix(b.name, "lossy") {
				want-- // TCP is the system's, it cannot leave through a simulated network
			}
			if len(rows) != want {
				t.Fatalf("%d contenders, want %d", len(rows), want)
			}
			for _, r := range rows {
				for i, f := range r.runs[0] {
					if v := r.values(i)[0]; v <= 0 {
						t.Errorf("%s: %g %s", r.contender, v, f.unit)
					}
				}
			}
		})
	}
}

// A contender that is too slow is stopped, and what it managed counts.
func TestLimit(t *testing.T) {
	s := tiny
	s.lossy, s.limit = 64<<20, 500*time.Millisecond
	for _, c := range contenders[:3] {
		r, err := benchLossy(0.02)(t.Context(), c, s)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if part := r[0].value; part <= 0 || part > 1 {
			t.Errorf("%s: %g of the link", c.name, part)
		}
	}
}

func TestPrinting(t *testing.T) {
	rows := []*row{
		{contender: "a", runs: []result{{{"Mbit/s", 30}}, {{"Mbit/s", 10}}, {{"Mbit/s", 20}}}},
		{contender: "b", runs: []result{{{"Mbit/s", 5}}, {{"Mbit/s", 5}}, {{"Mbit/s", 500}}}},
	}
	var table, lines strings.Builder
	if err := printTable(&table, benchmark{title: "title"}, rows); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"title", "20.0", "1.00", "5.000", "0.25"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in the table\n%s", want, table.String())
		}
	}
	if err := printJSON(&lines, benchmark{name: "n"}, rows); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(lines.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

// Runs in which no processor time was seen, be it those of the first contender, leave their figures out and nothing else.
func TestPrintingWithoutSomeFigures(t *testing.T) {
	whole, part := result{{"Mbit/s", 40}, {"CPU s/GB", 2}}, result{{"Mbit/s", 20}}
	for name, c := range map[string]struct {
		rows  []*row
		table []string
		lines int
	}{
		"a later run":         {[]*row{{"a", []result{whole, part}}, {"b", []result{whole, whole}}}, []string{"CPU s/GB", "1.33"}, 4},
		"the first run":       {[]*row{{"a", []result{part, whole}}, {"b", []result{whole, part}}}, []string{"CPU s/GB", "2.000"}, 4},
		"all of the first":    {[]*row{{"a", []result{part, part}}, {"b", []result{whole, whole}}}, []string{"CPU s/GB", "2.00", "2.000", "-"}, 3},
		"all of the last one": {[]*row{{"a", []result{whole, whole}}, {"b", []result{part, part}}}, []string{"CPU s/GB", "0.50"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			var table, lines strings.Builder
			if err := printTable(&table, benchmark{title: "title"}, c.rows); err != nil {
				t.Fatal(err)
			}
			for _, want := range c.table {
				if !strings.Contains(table.String(), want) {
					t.Errorf("no %q in the table", want)
				}
			}
			if strings.Contains(table.String(), "NaN") {
				t.Error("NaN in the table")
			}
			t.Log(table.String())
			if err := printJSON(&lines, benchmark{name: "n"}, c.rows); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(lines.String(), "\n"); n != c.lines {
				t.Errorf("%d lines of JSON, want %d", n, c.lines)
			}
		})
	}
}

func TestQuantile(t *testing.T) {
	times := []time.Duration{1, 2, 3, 4}
	if got := quantile(times, 0.5); got != 2 {
		t.Errorf("median %d, want 2", got)
	}
	if got := quantile(times, 0.99); got != 4 {
		t.Errorf("99 %% %d, want 4", got)
	}
}

func TestNothingToRun(t *testing.T) {
	if err := measureAll(t.Context(), options{runs: 1, only: "nonsense", sizes: tiny}, &strings.Builder{}); err == nil {
		t.Error("no error for a benchmark that does not exist")
	}
}
