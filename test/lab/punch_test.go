//go:build linux

package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	rounds      = 20
	pingTimeout = 15 * time.Second
	startWithin = 10 * time.Second // a program starts and joins, on a busy machine
	endWithin   = 5 * time.Second  // a program that was told to stop has stopped
)

// realistic is a country-wide connection with a bad radio link in it.
var realistic = weather{delay: 20 * time.Millisecond, loss: 0.01}

// pair is two peers behind NATs who both know one public peer.
type pair struct {
	*world
	rendezvous string // address and port
	alice, bob *space
}

// newPair builds the world and starts the public peer. In every second round
// both homes use the same private addresses, as homes do.
func newPair(t *testing.T, sky weather, a, b place, round int, rendezvousFlags ...string) *pair {
	t.Helper()
	w := newWorld(t, sky)
	public := w.public("rendezvous", rendezvousAddr)
	p := &pair{world: w, rendezvous: netip.AddrPortFrom(rendezvousAddr, 7337).String()}
	p.alice = w.home("alice", aliceOutside, aliceInside, a...)
	inside := bobInside
	if round%2 == 1 {
		inside = aliceInside
	}
	p.bob = w.home("bob", bobOutside, inside, b...)
	r := w.xppg(public, append([]string{"node", "--stun", "none", "--listen", "0.0.0.0:7337"}, rendezvousFlags...)...)
	r.wantEvent("ready", startWithin)
	return p
}

// startBob runs a node at Bob's and returns it and its peer ID once it has
// joined the public peer.
func (p *pair) startBob() (bob *process, id string) {
	p.t.Helper()
	bob = p.xppg(p.bob, "node", "--stun", "none", "--join", p.rendezvous)
	ready := bob.wantEvent("ready", startWithin)
	bob.want("link to the public peer", startWithin, func(e event) bool { return e.Event == "peer" && e.State == "connected" })
	return bob, ready.Peer
}

// ping runs "xppg ping --until direct" at Alice's.
func (p *pair) ping(id string, timeout time.Duration) (code int, events []event) {
	p.t.Helper()
	ping := p.xppg(p.alice, "ping", id, "--join", p.rendezvous, "--stun", "none", "--until", "direct", "--timeout", timeout.String())
	return ping.wantExit(timeout + startWithin)
}

// TestPunch holds the pairs that must go direct, every time. Routers without the
// input drop rule move the port that the other side was told when its first
// packet comes before their own has left.
func TestPunch(t *testing.T) {
	needLab(t)
	for _, tt := range []struct {
		alice, bob place
	}{
		{place{portPreserving}, place{portPreserving}},
		{place{portPreserving}, place{portPreservingOpen}},
		{place{portPreservingOpen}, place{portPreserving}},
		{place{portPreservingOpen}, place{portPreservingOpen}},
		{carrier, place{portPreserving}},
		{place{portPreservingOpen}, carrier},
		{carrier, carrier},
		{carrierOpen, carrier},
		{place{fullCone}, place{portPreserving}},
		{place{portPreservingOpen}, place{fullCone}},
		{place{fullCone}, place{random}},
		{place{random}, place{fullCone}},
		{place{fullCone}, place{sequential}},
		{place{carrierBlock}, place{fullCone}},
		{place{fullCone}, place{fullCone}},
		{place{fullCone}, carrier},
		{place{portPreserving, carrierBlock}, place{fullCone}},
	} {
		t.Run(fmt.Sprintf("%s x %s", tt.alice, tt.bob), func(t *testing.T) {
			var took durations
			t.Cleanup(func() { // after the last round
				t.Logf("direct %d of %d, %v", took.count(), rounds, &took)
				if took.count() < rounds {
					t.Errorf("direct %d of %d", took.count(), rounds)
				}
			})
			for round := range rounds {
				t.Run(fmt.Sprint(round), func(t *testing.T) {
					t.Parallel()
					p := newPair(t, realistic, tt.alice, tt.bob, round)
					_, id := p.startBob()
					code, events := p.ping(id, pingTimeout)
					last := events[len(events)-1]
					switch {
					case code == 0 && last.Event == "summary" && last.Path == "direct" && last.DirectAfter != nil:
						took.add(*last.DirectAfter)
					default:
						t.Errorf("exit code %d, last event %+v, want a direct path", code, last)
					}
				})
			}
		})
	}
}

// TestNoWay: where no hole can be punched that is said, in time, with the
// address that was tried.
func TestNoWay(t *testing.T) {
	needLab(t)
	for _, timeout := range []time.Duration{4 * time.Second, pingTimeout} { // given up from outside, and by itself
		t.Run(timeout.String(), func(t *testing.T) {
			t.Parallel()
			p := newPair(t, realistic, place{random}, place{random}, 0, "--relay=off")
			_, id := p.startBob()
			start := time.Now()
			code, events := p.ping(id, timeout)
			took := time.Since(start)
			if code != 1 || took > timeout+endWithin {
				t.Errorf("exit code %d after %v, want 1 within %v", code, took, timeout)
			}
			for _, e := range events {
				if e.Path == "direct" || e.DirectAfter != nil {
					t.Errorf("a path that cannot be: %+v", e)
				}
			}
			said := events[len(events)-1].Error
			if !strings.Contains(said, "no direct path") || !strings.Contains(said, bobOutside.String()) {
				t.Errorf("the error does not say what failed and what was tried: %q", said)
			}
			t.Logf("after %v: %s", took.Round(time.Millisecond), said)
		})
	}
}

// TestRelayed: where no hole can be punched, packets go by way of the public
// peer, which relays by itself because others have reached it. The link lives on
// when punching has given up. Nothing is lost: a ping waits three seconds for an
// answer that does not come, so that few of them would fit into the time.
func TestRelayed(t *testing.T) {
	needLab(t)
	p := newPair(t, weather{delay: realistic.delay}, place{random}, place{random}, 0)
	_, id := p.startBob()
	code, events := p.ping(id, pingTimeout)
	last := events[len(events)-1]
	if code != 1 || last.Path != "relay" || last.DirectAfter != nil || last.Received < 10 {
		t.Errorf("exit code %d, %+v", code, last)
	}
}

// durations collects milliseconds from parallel tests.
type durations struct {
	mu sync.Mutex
	ms []float64
}

func (d *durations) add(ms float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ms = append(d.ms, ms)
}

func (d *durations) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.ms)
}

func (d *durations) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.ms) == 0 {
		return "no times"
	}
	slices.Sort(d.ms)
	return fmt.Sprintf("after %.0f to %.0f ms, median %.0f ms", d.ms[0], d.ms[len(d.ms)-1], d.ms[len(d.ms)/2])
}
