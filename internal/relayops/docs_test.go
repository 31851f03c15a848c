package relayops

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

const docs = "../../docs/"

func readDoc(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(docs + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// known returns the metrics that there are, with their labels.
func known(t *testing.T) map[string]map[string]bool {
	t.Helper()
	reg, err := NewRegistry("v1", func() Snapshot { return Snapshot{} }, func() State { return State{} })
	if err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string]bool{}
	for _, f := range families {
		labels := map[string]bool{}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				labels[l.GetName()+"="+l.GetValue()] = true
			}
		}
		out[f.GetName()] = labels
	}
	return out
}

var (
	metricName = regexp.MustCompile(`\b(?:xppg|go|process)_[a-z0-9_]+`)
	selector   = regexp.MustCompile(`\b((?:xppg|go|process)_[a-z0-9_]+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`([a-z_]+)=~?"([^"]*)"`)
	grouping   = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right) ?\(([^)]*)\)`)
	legend     = regexp.MustCompile(`\{\{ ?([a-z_]+) ?\}\}`)
)

// checkLabel checks that all metrics in an expression have a label, of ours or one that Prometheus adds.
func checkLabel(t *testing.T, expr, label string, known map[string]map[string]bool) {
	t.Helper()
	if label == "instance" || label == "job" {
		return
	}
	for _, name := range metricName.FindAllString(expr, -1) {
		has := false
		for l := range known[name] {
			has = has || strings.HasPrefix(l, label+"=")
		}
		if !has {
			t.Errorf("%s has no label %s: %q", name, label, expr)
		}
	}
}

// checkExpr checks that an expression names only metrics, and labels and their values, that there are. Whether Prometheus takes
// it is tested by .ci/run.
func checkExpr(t *testing.T, expr string, known map[string]map[string]bool) {
	t.Helper()
	if !metricName.MatchString(expr) && !strings.HasPrefix(expr, "up{") {
		t.Errorf("no metric of ours in %q", expr)
	}
	for _, name := range metricName.FindAllString(expr, -1) {
		if known[name] == nil {
			t.Errorf("there is no metric %s: %q", name, expr)
		}
	}
	for _, s := range selector.FindAllStringSubmatch(expr, -1) {
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			if m[1] == "instance" || m[1] == "job" {
				continue
			}
			for _, v := range strings.Split(m[2], "|") {
				if !known[s[1]][m[1]+"="+v] {
					t.Errorf("%s has no label %s=%q: %q", s[1], m[1], v, expr)
				}
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for _, l := range strings.Split(g[1], ",") {
			checkLabel(t, expr, strings.TrimSpace(l), known)
		}
	}
	for _, pair := range []string{"()", "{}", "[]"} {
		if strings.Count(expr, pair[:1]) != strings.Count(expr, pair[1:]) {
			t.Errorf("%s do not match in %q", pair, expr)
		}
	}
}

func TestDashboardShowsWhatThereIs(t *testing.T) {
	var d struct {
		Title      string
		Templating struct {
			List []struct {
				Name  string
				Query json.RawMessage
			}
		}
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal([]byte(readDoc(t, "grafana/xppg-relay.json")), &d); err != nil {
		t.Fatal(err)
	}
	metrics, ids, shown := known(t), map[int]bool{}, ""
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" || len(p.Targets) == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d %q", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			checkExpr(t, target.Expr, metrics)
			for _, l := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
				checkLabel(t, target.Expr, l[1], metrics)
			}
			shown += target.Expr + " "
		}
	}
	for name := range metrics {
		if strings.HasPrefix(name, "xppg_relay_dropped") || strings.HasPrefix(name, "xppg_relay_forwarded") {
			if !strings.Contains(shown, name) {
				t.Errorf("no panel shows %s", name)
			}
		}
	}
	for _, v := range d.Templating.List {
		for _, name := range metricName.FindAllString(string(v.Query), -1) {
			if metrics[name] == nil {
				t.Errorf("variable %s: there is no metric %s", v.Name, name)
			}
		}
	}
}

func TestAlertsAreAboutWhatThereIs(t *testing.T) {
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	dec := yaml.NewDecoder(strings.NewReader(readDoc(t, "alerts/xppg-relay.yml")))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		t.Fatal(err)
	}
	metrics, seen := known(t), map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			checkExpr(t, r.Expr, metrics)
			if _, err := time.ParseDuration(r.For); err != nil || seen[r.Alert] || r.Labels["severity"] == "" ||
				r.Annotations["summary"] == "" || r.Annotations["action"] == "" {
				t.Errorf("alert %q: %+v, %v", r.Alert, r, err)
			}
			seen[r.Alert] = true
		}
	}
	if len(seen) < 5 {
		t.Errorf("only %d alerts", len(seen))
	}
}

// The manual has every metric of ours and none besides, every reason, and every flag with its default.
func TestOperatorsManual(t *testing.T) {
	text := readDoc(t, "operators.md")
	metrics := known(t)
	for name, labels := range metrics {
		if !strings.HasPrefix(name, "xppg_") {
			continue
		}
		_, row, ok := strings.Cut(text, "| `"+name)
		row, _, _ = strings.Cut(row, "\n")
		if !ok {
			t.Errorf("no row for %s", name)
		}
		for l := range labels {
			if label, value, _ := strings.Cut(l, "="); label != "version" && !strings.Contains(row, "`"+value+"`") {
				t.Errorf("the row of %s lacks %s", name, value)
			}
		}
	}
	for _, name := range metricName.FindAllString(text, -1) {
		if metrics[name] == nil && name != "go_" && name != "process_" {
			t.Errorf("there is no metric %s", name)
		}
	}
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(Options).AddFlags(fs)
	fs.VisitAll(func(f *pflag.Flag) {
		_, row, ok := strings.Cut(text, "| `--"+f.Name+"` |")
		def, _, _ := strings.Cut(row, "|")
		if def = strings.Trim(def, " `"); !ok || def != f.DefValue && (f.DefValue != "" || def != "none") {
			t.Errorf("--%s: the default %q is told as %q", f.Name, f.DefValue, def)
		}
	})
}

// The configuration in the manual is taken.
func TestConfigurationInTheManual(t *testing.T) {
	_, rest, ok := strings.Cut(readDoc(t, "operators.md"), "```conf\n")
	conf, _, ok2 := strings.Cut(rest, "```")
	settings, err := parseSettings("relay.conf", strings.NewReader(conf))
	if !ok || !ok2 || err != nil {
		t.Fatal("no configuration: ", err)
	}
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	var o Options
	o.AddFlags(fs)
	fs.String("listen", "", "")
	fs.StringArray("join", nil, "")
	if err := Apply(fs, settings, func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if err := o.Check(); err != nil || o.Limits.Total != 25_000_000 || o.Deny == "" {
		t.Errorf("%+v, %v", o, err)
	}
}

// Names follow the conventions of Prometheus, and no label can have more than a few values.
func TestMetricNames(t *testing.T) {
	descs := make(chan *prometheus.Desc, 100)
	(&collector{metrics: relayMetrics()}).Describe(descs)
	close(descs)
	n := 0
	for range descs {
		n++
	}
	ours := map[string]int{}
	for name, labels := range known(t) {
		if strings.HasPrefix(name, "xppg_relay_") {
			ours[name] = len(labels)
		}
	}
	if len(ours) != n+1 { // build_info
		t.Errorf("%d metrics are described and %d shown", n, len(ours))
	}
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		if ours[name] > 10 || strings.Contains(name, "__") {
			t.Errorf("%s has %d values of its label", name, ours[name])
		}
	}
}

func TestUnitIsTaken(t *testing.T) {
	unit := readDoc(t, "systemd/xppg-relay.service")
	for _, want := range []string{"DynamicUser=yes", "NoNewPrivileges=yes", "ProtectSystem=strict", "ExecReload=/bin/kill -HUP $MAINPID"} {
		if !strings.Contains(unit, "\n"+want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return // the lines above were checked
	}
	file := filepath.Join(t.TempDir(), "xppg-relay.service")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(unit, "/usr/local/bin/xppg", "/bin/true")), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, tool, "verify", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
