package api

import (
	"strings"
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

// A node behind a NAT moves to another home. Its peers must go on, and its
// ticket must name the new public address and not the old one.
func TestNetworkChanged(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.public(noMesh)
		a := w.behind(netsim.Presets["port-restricted"], noMesh)
		a.meet(r)
		if got := listed(a); !strings.Contains(got, "20.0.2.1") {
			t.Fatalf("before the move the node knows of %s, want 20.0.2.1", got)
		}
		a.move("20.0.9.9")
		w.eventually("the new address is known, the old one is not", 3*time.Second, func() bool {
			got := listed(a)
			return strings.Contains(got, "20.0.9.9") && strings.Contains(got, "10.0.0.5") && !strings.Contains(got, "20.0.2.1")
		})
		if err := r.SendText(w.ctx(5*time.Second), "still there?", a.ID()); err != nil {
			t.Error(err)
		}
	})
}

func listed(n *node) string {
	var b strings.Builder
	for _, a := range n.Addrs() {
		b.WriteString(a.String() + " ")
	}
	return b.String()
}
