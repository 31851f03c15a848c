package relayops

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/2xppg/xppg/internal/units"
)

// What was given on the command line stays, what the file says anew counts, what it no longer says is the default again, and
// what counts at the start only is read past.
func TestReloadReadsTheFilesAgain(t *testing.T) {
	dir := t.TempDir()
	conf, deny := filepath.Join(dir, "relay.conf"), filepath.Join(dir, "deny.txt")
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var o Options
	fs := pflag.NewFlagSet("relay", pflag.ContinueOnError)
	o.AddFlags(fs)
	listen := fs.String("listen", ":7337", "")
	fs.StringArray("join", nil, "")
	if err := fs.Parse([]string{"--config", conf, "--limit-peer", "1Mbit"}); err != nil {
		t.Fatal(err)
	}
	given := Given(fs)
	write(deny, "192.0.2.0/24\n")
	write(conf, "limit-total 10Mbit\nlimit-peer 5Mbit\nlimit-circuit 0.5Mbit\ncircuit-bytes 10MB\ncircuit-time 2m\nlisten :1\njoin a:1\njoin b:2\ndeny "+deny)
	l, lists, err := Reload(fs, given)
	if err != nil || l.Total != 1_250_000 || l.Peer != 125_000 || l.Circuits != defaultCircuits || lists.Deny.Len() != 1 || lists.Allow != nil {
		t.Errorf("%+v, %+v, %v", l, lists, err)
	}
	if l.Circuit != 62_500 || l.CircuitBytes != 10e6 || l.CircuitTime != units.Time(2*time.Minute) {
		t.Errorf("limits of a circuit: %+v", l)
	}
	if *listen != ":7337" || o.Limits.Total != 0 {
		t.Error("the flags of the command were changed")
	}
	write(conf, "circuits 5")
	if l, lists, err = Reload(fs, given); err != nil || l.Total != 0 || l.Circuits != 5 || lists.Deny != nil {
		t.Errorf("%+v, %+v, %v", l, lists, err)
	}
	for text, want := range map[string]string{
		"circuits 0":                             "--circuits",
		"circuit-bytes 1kB":                      "--circuit-bytes 1000B",
		"circuit-bytes lots":                     conf + ":1:",
		"circuit-time 1s":                        "--circuit-time 1s",
		"circuit-time -1h":                       conf + ":1:",
		"circuit-time 721h":                      "--circuit-time 721h0m0s",
		"limit-circuit 2Mbit":                    "--limit-peer 1Mbit",
		"limit-total 1Mbit\nlimit-circuit 2Mbit": "--limit-total 1Mbit",
		"nonsense":                               conf + ":1:",
		"listen :1\nlisten :2":                   conf + ":2:",
		"deny " + conf:                           conf + ":1:",
	} {
		write(conf, text)
		if l, lists, err := Reload(fs, given); err == nil || !strings.Contains(err.Error(), want) || l != (Limits{}) || lists != (Lists{}) {
			t.Errorf("%q: %+v, %v", text, l, err)
		}
	}
}
