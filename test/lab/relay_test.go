//go:build linux

package lab

import (
	"net/netip"
	"testing"
	"time"
)

var relayAddrs = [2]netip.Addr{netip.MustParseAddr("20.0.116.1"), netip.MustParseAddr("20.0.117.1")}

// TestRelayKilled: the relay in use dies without a word, and pings go on by way
// of the other one.
func TestRelayKilled(t *testing.T) {
	needLab(t)
	t.Parallel()
	w := newWorld(t, weather{delay: 10 * time.Millisecond})
	relays := map[string]*process{} // by peer ID
	var join []string
	for i, addr := range relayAddrs {
		r := w.xppg(w.public([]string{"relay1", "relay2"}[i], addr), "node", "--stun", "none", "--relay=on", "--listen", "0.0.0.0:7337")
		relays[r.wantEvent("ready", startWithin).Peer] = r
		join = append(join, "--join", netip.AddrPortFrom(addr, 7337).String())
	}
	bob := w.xppg(w.home("bob", bobOutside, bobInside, random), append([]string{"node", "--stun", "none"}, join...)...)
	id := bob.wantEvent("ready", startWithin).Peer
	for r := range relays {
		bob.want("link to a relay", startWithin, func(e event) bool { return e.Event == "peer" && e.State == "connected" && e.Peer == r })
	}
	alice := w.xppg(w.home("alice", aliceOutside, aliceInside, random),
		append([]string{"ping", id, "--stun", "none", "--count", "1000", "--interval", "100ms", "--timeout", "2m"}, join...)...)

	pongs := 0
	first := alice.want("10 answers", startWithin, func(e event) bool {
		if e.Event == "pong" {
			pongs++
		}
		return pongs == 10
	})
	if len(first.Via) != 1 || relays[first.Via[0]] == nil {
		t.Fatalf("the path is %+v, want one by way of one relay", first)
	}
	dead := first.Via[0]
	relays[dead].kill()
	killed := time.Now()
	alice.want("answers by way of the other relay", startWithin, func(e event) bool {
		return e.Event == "pong" && len(e.Via) == 1 && e.Via[0] != dead
	})
	t.Logf("answers by the other relay %v after the first one died", time.Since(killed).Round(time.Millisecond))
}
