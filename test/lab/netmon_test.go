//go:build linux

package lab

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/2xppg/xppg/internal/netmon"
	"github.com/2xppg/xppg/punch"
)

// TestNetworkMonitor changes addresses and routes of a namespace and waits for
// the kernel's word of it, which must come long before the next poll.
func TestNetworkMonitor(t *testing.T) {
	needLab(t)
	t.Parallel()
	w := newWorld(t, weather{})
	s := w.space("laptop")
	w.must(s.ip("link set lo up", "link add eth0 type veth peer name eth1", "link set eth1 up", "link set eth0 up"))

	changes := make(chan netmon.Change, 16)
	var m *netmon.Monitor
	w.must(s.do(func() error {
		m = netmon.Start(netmon.Config{
			Every:    time.Hour,
			OnChange: func(c netmon.Change) { changes <- c },
			Addrs: func() (addrs []netip.Addr) {
				_ = s.do(func() error { addrs = punch.InterfaceAddrs(); return nil })
				return addrs
			},
		})
		return nil
	}))
	defer m.Close()

	steps := []struct{ command, want string }{
		{"addr add 192.168.1.7/24 dev eth0", "192.168.1.7 added"},
		{"route add default via 192.168.1.1", "another route"},
		{"route replace default via 192.168.1.2", "another route"},
		{"addr add 2001:db8::7/64 dev eth0 nodad", "2001:db8::7 added"},
		{"addr del 192.168.1.7/24 dev eth0", "192.168.1.7 gone"},
		{"link set eth0 down", "2001:db8::7 gone"},
	}
	for _, step := range steps {
		w.must(s.ip(step.command))
		select {
		case c := <-changes:
			if !strings.Contains(c.String(), step.want) {
				t.Errorf("%s: reported %q, want %q", step.command, c, step.want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: nothing was reported, want %q", step.command, step.want)
		}
	}
}
