package kcptransport

import (
	"testing"
	"time"
)

// A node that is told of its new address shows itself at once, although nothing is said on the link; told often, it does
// not show itself more than twice a second.
func TestNetworkChanged(t *testing.T) {
	const rtt = 50 * time.Millisecond
	inWorld(t, rtt, func(w *world) {
		a, _, l, m := w.pair()
		w.sleep(5 * time.Second)
		a.host.SetAddrs(nodeAddr(1, 1))
		before := l.Stats()
		a.NetworkChanged()
		w.wantPath(m, a.addr(), 3*rtt+200*time.Millisecond)
		w.sleep(2 * time.Second)
		if n := l.Stats().PacketsSent - before.PacketsSent; n > 10 {
			w.Errorf("%d packets to show where the node is", n)
		}

		before = l.Stats()
		for range 200 {
			a.NetworkChanged()
			w.sleep(10 * time.Millisecond)
		}
		w.sleep(time.Second)
		if n := l.Stats().PacketsSent - before.PacketsSent; n < 4 || n > 10 {
			w.Errorf("told 200 times in 2 s, the node sent %d packets, want about 2 a second and answers", n)
		}
		if i, _ := l.Path(); i.State != PathValidated {
			w.Errorf("the path that answers is %v", i.State)
		}
	})
}
