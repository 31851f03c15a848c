package kcptransport

import (
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

// Over every line of netsim, and one that does to packets all that can be done to them, a link comes about and data
// arrives as it was sent, soon.
func TestTransferOverEveryLine(t *testing.T) {
	lines := map[string]netsim.LinkPair{"hostile": {
		Up:   netsim.Link{Delay: 10 * time.Millisecond, Loss: 0.05, Burst: 3, Reorder: 0.1, ReorderBy: 50 * time.Millisecond, Duplicate: 0.1, Corrupt: 0.05},
		Down: netsim.Link{Delay: 30 * time.Millisecond, Jitter: 30 * time.Millisecond, Loss: 0.1, Duplicate: 0.5, Corrupt: 0.05, Rate: 5_000_000},
	}}
	for name, line := range netsim.LinkPresets {
		lines[name] = line
	}
	for name, line := range lines {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 0, func(w *world) {
				a, b := w.node(1), w.node(2)
				a.host.SetLink(line.Up, line.Down)
				l := a.dial(b)
				m := b.accept()
				for _, way := range []struct {
					from, to *Link
					link     netsim.Link
				}{{l, m, line.Up}, {m, l, line.Down}} {
					const size = 300_000
					tr := w.startTransfer(way.from, way.to, size)
					tr.wait()
					limit := 10 * (line.Up.Delay + line.Up.Jitter + line.Down.Delay + line.Down.Jitter)
					if way.link.Rate > 0 {
						limit += time.Duration(2 * size * 8 * float64(time.Second) / float64(way.link.Rate))
					}
					if tr.took > limit {
						t.Errorf("%d bytes took %v, want at most ten round trips and twice the time at the link's rate: %v", size, tr.took, limit)
					}
				}
			})
		})
	}
}
