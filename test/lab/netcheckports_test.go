//go:build linux

package lab

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/2xppg/xppg/punch/portmap"
)

// TestNetcheckPortMapping: netcheck behind a real router tells what each protocol does there, and whether anybody came through.
func TestNetcheckPortMapping(t *testing.T) {
	needLab(t)
	needMiniupnpd(t)
	for _, p := range []portmap.Protocol{portmap.UPnP, portmap.NATPMP, portmap.PCP} {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lossless)
			helper := w.xppg(w.public("helper", rendezvousAddr), "node", "--relay=off", "--stun", "none", "--listen", "0.0.0.0:7337")
			ticket := helper.wantEvent("ready", startWithin).Ticket
			third := w.xppg(w.public("third", otherAddr), "node", "--relay=off", "--stun", "none", "--listen", "0.0.0.0:7337", "--join", ticket)
			third.want("link to the helper", startWithin, func(e event) bool { return e.State == "connected" })
			alice := w.home("alice", aliceOutside, aliceInside, random)
			m := w.mapper(w.routers[0], p)
			stun := fmt.Sprintf("%v:7337", rendezvousAddr)
			netcheck := func(flags ...string) []string {
				t.Helper()
				check := w.xppg(alice, append([]string{"netcheck", "--stun", stun, "--listen", "0.0.0.0:4242"}, flags...)...)
				code, events := check.wantExit(40 * time.Second)
				i := slices.IndexFunc(events, func(e event) bool { return e.Event == "netcheck" })
				if code != 0 || i < 0 {
					t.Fatalf("exit code %d: %s", code, check.output())
				}
				if rules := m.rules(); strings.Contains(rules, "dport") {
					t.Errorf("left behind: %s", rules)
				}
				t.Logf("netcheck %v: %q", flags, events[i].PortMapping)
				return events[i].PortMapping
			}
			mapping := fmt.Sprintf("%v:4242 by %v at %v, ", aliceOutside, p, aliceInside.Masked().Addr().Next())
			found := fmt.Sprintf("%v at %v: found", p, aliceInside.Masked().Addr().Next())

			alone := netcheck()
			if len(alone) == 0 || alone[0] != mapping+"made but untested" || !slices.Contains(alone, found) {
				t.Errorf("alone: %q", alone)
			}
			joined := netcheck("--join", ticket)
			if len(joined) == 0 || joined[0] != mapping+"believed" || !slices.Contains(joined, found) {
				t.Errorf("with a third peer: %q", joined)
			}
			if off := netcheck("--port-mapping=off"); len(off) != 0 {
				t.Errorf("off: %q", off)
			}
		})
	}
}
