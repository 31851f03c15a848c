//go:build linux

package lab

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

var relayAddrs = [2]netip.Addr{netip.MustParseAddr("20.0.116.1"), netip.MustParseAddr("20.0.117.1")}

// lossless is an internet on which an answer that does not come was not lost by accident.
var lossless = weather{delay: 10 * time.Millisecond}

// relayed is two peers, each behind a router, who know the same relays.
type relayed struct {
	*world
	relays     map[string]*process // by peer ID
	join       []string            // flags
	alice, bob *space
	id         string // Bob's
}

// newRelayed builds the world, and starts some relays and Bob's node.
func newRelayed(t *testing.T, a, b place, relays int) *relayed {
	t.Helper()
	w := newWorld(t, lossless)
	r := &relayed{world: w, relays: map[string]*process{}}
	for i, addr := range relayAddrs[:relays] {
		p := w.xppg(w.public(fmt.Sprintf("relay%d", i), addr), "relay", "--stun", "none", "--listen", "0.0.0.0:7337", "--tcp", "0.0.0.0:443")
		ready := p.wantEvent("ready", startWithin)
		p.wantEvent("streams", startWithin)
		r.relays[ready.Peer] = p
		r.join = append(r.join, "--join", ready.Ticket)
	}
	r.alice = w.home("alice", aliceOutside, aliceInside, a...)
	r.bob = w.home("bob", bobOutside, bobInside, b...)
	bob := w.xppg(r.bob, append([]string{"node", "--stun", "none"}, r.join...)...)
	r.id = bob.wantEvent("ready", startWithin).Peer
	for id := range r.relays {
		bob.want("link to a relay", startWithin, func(e event) bool { return e.Event == "peer" && e.State == "connected" && e.Peer == id })
	}
	return r
}

// ping starts pings from Alice to Bob.
func (r *relayed) ping(flags ...string) *process {
	r.t.Helper()
	return r.xppg(r.alice, append(append([]string{"ping", r.id, "--stun", "none", "--timeout", "2m"}, r.join...), flags...)...)
}

// wantPongs waits for some answers by a path that matches, and returns the last one.
func (p *process) wantPongs(what string, n int, within time.Duration, match func(event) bool) event {
	p.w.t.Helper()
	return p.want(fmt.Sprintf("%d answers %s", n, what), within, func(e event) bool {
		if e.Event == "pong" && match(e) {
			n--
		}
		return n == 0
	})
}

func byRelay(e event) bool { return len(e.Via) == 1 }

func direct(e event) bool { return e.Path == "direct" }

// after matches what comes after an answer.
func after(pong event, match func(event) bool) func(event) bool {
	return func(e event) bool { return e.Seq > pong.Seq && match(e) }
}

func byOtherThan(relay string) func(event) bool {
	return func(e event) bool { return byRelay(e) && e.Via[0] != relay }
}

// TestEveryPair: whatever the two routers are, there is a path.
func TestEveryPair(t *testing.T) {
	needLab(t)
	places := []place{
		{portPreserving}, {portPreservingOpen}, {random}, {fullCone}, {fullConeHairpin}, {addressRestricted}, {carrierBlock}, {sequential}, {udpBlocked},
		carrier, carrierOpen,
	}
	for i, a := range places {
		for _, b := range places[i:] {
			t.Run(fmt.Sprintf("%s x %s", a, b), func(t *testing.T) {
				t.Parallel()
				r := newRelayed(t, a, b, 1)
				p := r.ping("--count", "3", "--interval", "100ms")
				code, events := p.wantExit(startWithin)
				if last := events[len(events)-1]; code != 0 || last.Received != 3 {
					t.Errorf("exit code %d, %+v", code, last)
				}
			})
		}
	}
}

// TestRelayKilled: the relay in use dies without a word, and pings go on by way of the other one.
func TestRelayKilled(t *testing.T) {
	needLab(t)
	for round := range 5 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			t.Parallel()
			r := newRelayed(t, place{random}, place{random}, 2)
			alice := r.ping("--count", "1000", "--interval", "100ms")
			dead := alice.wantPongs("by a relay", 10, startWithin, byRelay).Via[0]
			r.relays[dead].kill()
			start := time.Now()
			alice.wantPongs("by the other relay", 3, startWithin, byOtherThan(dead))
			t.Logf("the third answer by the other relay came %v after the first relay died", time.Since(start).Round(time.Millisecond))
		})
	}
}

// TestRelayDrains: the relay in use is told to end, and not one ping is lost.
func TestRelayDrains(t *testing.T) {
	needLab(t)
	t.Parallel()
	r := newRelayed(t, place{random}, place{random}, 2)
	alice := r.ping("--count", "60", "--interval", "100ms")
	ending := alice.wantPongs("by a relay", 10, startWithin, byRelay).Via[0]
	relay := r.relays[ending]
	r.must(relay.cmd.Process.Signal(syscall.SIGTERM))
	relay.wantEvent("draining", endWithin)
	if code, _ := relay.wantExit(startWithin); code != 0 {
		t.Errorf("the relay's exit code is %d", code)
	}
	alice.wantPongs("by the other relay", 3, startWithin, byOtherThan(ending))
	code, events := alice.wantExit(time.Minute)
	if last := events[len(events)-1]; code != 0 || last.Received != last.Sent {
		t.Errorf("exit code %d, %+v", code, last)
	}
}

// TestUDPBlocked: a router that begins to drop UDP makes its peers go by TCP to the relay, and they come back when it
// passes UDP again.
func TestUDPBlocked(t *testing.T) {
	cutAndRestored(t, "meta l4proto udp")
}

// TestDirectCut: what breaks the direct path only leaves the circuit, until the direct path is back.
func TestDirectCut(t *testing.T) {
	cutAndRestored(t, fmt.Sprintf("ip daddr %v", bobOutside))
}

// cutAndRestored has Alice's router drop packets, by which the direct path ends, and pass them again.
func cutAndRestored(t *testing.T, match string) {
	needLab(t)
	t.Parallel()
	r := newRelayed(t, place{portPreserving}, place{portPreserving}, 1)
	alice := r.ping("--count", "1000", "--interval", "100ms")
	last := alice.wantPongs("by the direct path", 15, startWithin, direct)
	unblock := r.block(r.routers[0], match)
	start := time.Now()
	last = alice.wantPongs("by the relay", 5, startWithin, after(last, byRelay))
	t.Logf("the fifth answer by the relay came after %v", time.Since(start).Round(time.Millisecond))
	unblock()
	start = time.Now()
	alice.wantPongs("by the direct path again", 5, 2*time.Minute, after(last, direct))
	t.Logf("the fifth answer by the direct path came after %v", time.Since(start).Round(time.Millisecond))
}
