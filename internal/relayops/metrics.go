package relayops

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/2xppg/xppg/relaymesh"
)

// Snapshot is what a relay counts, at one moment.
type Snapshot struct {
	Switch relaymesh.SwitchStats
	Relay  relaymesh.RelayStats
	Peers  int // connected now
}

// State is what the operator did.
type State struct {
	Limits        Limits
	Lists         Lists
	Ready         bool
	Draining      bool
	Reloads       uint64 // that succeeded
	FailedReloads uint64
	ReloadFailed  bool // the last one did
}

// reasons are the labels of refusals. No label has values that a peer can choose.
var reasons = map[relaymesh.RefuseCode]string{
	relaymesh.RefusedUnknown:    "unknown_target",
	relaymesh.RefusedBusy:       "busy",
	relaymesh.RefusedRate:       "rate",
	relaymesh.RefusedByTarget:   "by_target",
	relaymesh.RefusedRequest:    "request",
	relaymesh.RefusedLimit:      "limit",
	relaymesh.RefusedClosing:    "closing",
	relaymesh.RefusedDenied:     "denied",
	relaymesh.RefusedUnreserved: "unreserved",
}

const otherReason = "other"

type metric struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	values func(Snapshot, State) map[string]float64 // by the label's value; "" when there is none
}

// collector turns a snapshot into metrics when somebody asks for them, so that they cost nothing otherwise.
type collector struct {
	snapshot func() Snapshot
	state    func() State
	metrics  []metric
}

// NewRegistry returns a registry of its own with the metrics of a relay, of the Go runtime and of the process. version is
// that of the program.
func NewRegistry(version string, snapshot func() Snapshot, state func() State) (*prometheus.Registry, error) {
	c := &collector{snapshot: snapshot, state: state, metrics: relayMetrics()}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "xppg_relay_build_info", Help: "1; the version of the program is its label.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	reg := prometheus.NewPedanticRegistry()
	for _, c := range []prometheus.Collector{
		c, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("relayops: metrics: %w", err)
		}
	}
	return reg, nil
}

func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		out <- m.desc
	}
}

func (c *collector) Collect(out chan<- prometheus.Metric) {
	snap, state := c.snapshot(), c.state()
	for _, m := range c.metrics {
		for label, v := range m.values(snap, state) {
			var labels []string
			if label != "" {
				labels = []string{label}
			}
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
		}
	}
}

func one(v float64) map[string]float64 { return map[string]float64{"": v} }

func flag(b bool) map[string]float64 {
	if b {
		return one(1)
	}
	return one(0)
}
