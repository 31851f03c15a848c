package relayops

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/2xppg/xppg/internal/units"
)

func testFlags() (*pflag.FlagSet, *units.Rate, *[]string) {
	fs := pflag.NewFlagSet("relay", pflag.ContinueOnError)
	var rate units.Rate
	fs.Var(&rate, "limit-total", "")
	join := fs.StringArray("join", nil, "")
	fs.Bool("json", false, "")
	fs.String("config", "", "")
	return fs, &rate, join
}

func TestSettingsBecomeFlags(t *testing.T) {
	settings, err := parseSettings("relay.conf", strings.NewReader(
		"# a comment\n\n  limit-total   100Mbit # and another\njoin a:1\njoin b:2\njson\n"))
	if err != nil {
		t.Fatal(err)
	}
	fs, rate, join := testFlags()
	if err := Apply(fs, settings, func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if *rate != 12_500_000 || !slices.Equal(*join, []string{"a:1", "b:2"}) || fs.Lookup("json").Value.String() != "true" {
		t.Errorf("rate %d, join %q", *rate, *join)
	}
	if settings[3].Line != 6 {
		t.Errorf("json is said to be in line %d", settings[3].Line)
	}
}

func TestTheCommandLineWins(t *testing.T) {
	fs, rate, _ := testFlags()
	*rate = 7
	settings := []Setting{{"f", 1, "limit-total", "1Mbit"}}
	if err := Apply(fs, settings, func(name string) bool { return name == "limit-total" }); err != nil || *rate != 7 {
		t.Errorf("rate %d, %v", *rate, err)
	}
}

func TestSettingsThatMakeNoSense(t *testing.T) {
	for text, want := range map[string]string{
		"\nnonsense 1":                         "f:2:",
		"config other":                         "f:1:",
		"--json":                               "f:1:",
		"limit-total=1Mbit":                    "f:1:",
		"limit-total":                          "f:1:",
		"limit-total lots":                     "f:1:",
		"limit-total 1Mbit\nlimit-total 1Mbit": "f:2:",
		"json\n" + strings.Repeat("x", 1<<17):  "f:2:",
	} {
		fs, _, _ := testFlags()
		settings, err := parseSettings("f", strings.NewReader(text))
		if err == nil {
			err = Apply(fs, settings, func(string) bool { return false })
		}
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

// FuzzSettings checks that whatever a file says is read or refused with a line number.
func FuzzSettings(f *testing.F) {
	f.Add("limit-total 1Mbit # x\njoin a\njson")
	f.Fuzz(func(t *testing.T, text string) {
		fs, _, _ := testFlags()
		settings, err := parseSettings("f", strings.NewReader(text))
		if err == nil {
			err = Apply(fs, settings, func(string) bool { return false })
		}
		if err != nil && !strings.HasPrefix(err.Error(), "f:") {
			t.Fatal(err)
		}
	})
}
