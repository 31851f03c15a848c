package relayops

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// relayMetrics lists the metrics of a relay. docs/operators.md explains them; a test keeps the two in step.
func relayMetrics() []metric {
	counter, gauge := prometheus.CounterValue, prometheus.GaugeValue
	define := func(name string, kind prometheus.ValueType, help string, values func(Snapshot, State) map[string]float64, labels ...string) metric {
		return metric{prometheus.NewDesc("xppg_relay_"+name, help, labels, nil), kind, values}
	}
	return []metric{
		define("peers", gauge, "Peers connected now.",
			func(s Snapshot, _ State) map[string]float64 { return one(float64(s.Peers)) }),
		define("reservations", gauge, "Reservations that peers hold now.",
			func(s Snapshot, _ State) map[string]float64 { return one(float64(s.Relay.Reservations)) }),
		define("circuits", gauge, "Circuits through this relay now, with those being set up.",
			func(s Snapshot, _ State) map[string]float64 { return one(float64(s.Relay.Circuits)) }),
		define("circuits_granted_total", counter, "Circuits that came about.",
			func(s Snapshot, _ State) map[string]float64 { return one(float64(s.Relay.Granted)) }),
		define("circuits_refused_total", counter, "Circuits and reservations refused, or ended by a limit, by the lists or by draining.", refusals, "reason"),
		define("forwarded_packets_total", counter, "Packets carried on.",
			func(s Snapshot, _ State) map[string]float64 { return one(float64(s.Switch.Packets)) }),
		define("forwarded_bytes_total", counter, "Bytes carried on, without IP and UDP headers.",
			func(s Snapshot, _ State) map[string]float64 { return one(float64(s.Switch.Bytes)) }),
		define("dropped_packets_total", counter, "Packets of circuits that were dropped.", drops, "reason"),
		define("marked_packets_total", counter, "Packets carried on with a mark that was set here, because of congestion.",
			func(s Snapshot, _ State) map[string]float64 { return one(float64(s.Switch.Marked)) }),
		define("queued_packets", gauge, "Packets that wait now because of a limit.",
			func(s Snapshot, _ State) map[string]float64 { return one(float64(s.Switch.Queued)) }),
		define("limit_bytes_per_second", gauge, "Bytes per second that may be carried in total, for one peer and on one circuit; 0 is no limit.",
			func(_ Snapshot, s State) map[string]float64 {
				return map[string]float64{"total": float64(s.Limits.Total), "peer": float64(s.Limits.Peer), "circuit": float64(s.Limits.Circuit)}
			}, "scope"),
		define("limit_circuits", gauge, "Circuits that there may be at once.",
			func(_ Snapshot, s State) map[string]float64 { return one(float64(s.Limits.Circuits)) }),
		define("limit_circuit_bytes", gauge, "Bytes after which a circuit ends; 0 is no limit.",
			func(_ Snapshot, s State) map[string]float64 { return one(float64(s.Limits.CircuitBytes)) }),
		define("limit_circuit_seconds", gauge, "Seconds after which a circuit ends; 0 is no limit.",
			func(_ Snapshot, s State) map[string]float64 {
				return one(time.Duration(s.Limits.CircuitTime).Seconds())
			}),
		define("list_entries", gauge, "Entries of the allow-list and of the deny-list.",
			func(_ Snapshot, s State) map[string]float64 {
				return map[string]float64{"allow": float64(s.Lists.Allow.Len()), "deny": float64(s.Lists.Deny.Len())}
			}, "list"),
		define("reloads_total", counter, "Reloads of limits and lists.",
			func(_ Snapshot, s State) map[string]float64 {
				return map[string]float64{"ok": float64(s.Reloads), "failed": float64(s.FailedReloads)}
			}, "result"),
		define("reload_failed", gauge, "1 when the last reload failed and what was before is still in force.",
			func(_ Snapshot, s State) map[string]float64 { return flag(s.ReloadFailed) }),
		define("draining", gauge, "1 while the relay sends its peers elsewhere before it ends.",
			func(_ Snapshot, s State) map[string]float64 { return flag(s.Draining) }),
	}
}

// refusals shows every reason from the start, so that a first refusal is an increase.
func refusals(s Snapshot, _ State) map[string]float64 {
	out := map[string]float64{otherReason: 0}
	for _, name := range reasons {
		out[name] = 0
	}
	for code, n := range s.Relay.Refused {
		name, ok := reasons[code]
		if !ok {
			name = otherReason
		}
		out[name] += float64(n)
	}
	return out
}

func drops(s Snapshot, _ State) map[string]float64 {
	return map[string]float64{
		"unknown_label": float64(s.Switch.Unknown),
		"wrong_source":  float64(s.Switch.Strange),
		"not_ready":     float64(s.Switch.Unready),
		"overflow":      float64(s.Switch.Overflow),
		"late":          float64(s.Switch.Late),
	}
}
