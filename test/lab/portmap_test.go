//go:build linux

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/2xppg/xppg/punch/portmap"
)

// TestPortMapping maps a port of a router that no punching opens, by each protocol of a real miniupnpd. Packets of a host
// that we never wrote to must come through, and no more once it is removed.
func TestPortMapping(t *testing.T) {
	needLab(t)
	needMiniupnpd(t)
	for _, p := range []portmap.Protocol{portmap.UPnP, portmap.NATPMP, portmap.PCP} {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, weather{delay: realistic.delay})
			outside := w.listen(w.public("peer", rendezvousAddr), rendezvousAddr, 1000)
			alice := w.home("alice", aliceOutside, aliceInside, random)
			m := w.mapper(w.routers[0], p)
			us := w.listen(alice, aliceInside.Addr(), 4242)
			c := w.mapPort(alice, us, outside, 12*time.Second)
			made := c.want("believed", 20*time.Second, believed)
			if made.Protocol != p || made.External.Addr() != aliceOutside || made.Double != portmap.NotDouble {
				t.Errorf("%v", made)
			}
			us.send("answer", outside.local)
			if from := outside.want("answer"); from != made.External {
				t.Errorf("we are seen at %v, mapped to %v", from, made.External)
			}
			t.Logf("%v after %v", made, c.since())
			renewed := c.want("renewed", 20*time.Second, func(s portmap.Mapping) bool { return s.Expires.After(made.Expires) })
			if renewed.External != made.External {
				t.Errorf("renewed as %v", renewed)
			}
			c.stop()
			if rules := m.rules(); strings.Contains(rules, "dport") {
				t.Errorf("left behind: %s", rules)
			}

			// This one is not renewed soon: the restart has to be noticed.
			c = w.mapPort(alice, us, outside, 2*time.Hour)
			c.want("believed again", 20*time.Second, believed)
			m.powerCut()
			cut := time.Now()
			m.start()
			c.want("made anew", time.Minute, func(s portmap.Mapping) bool {
				return believed(s) && strings.Contains(m.rules(), "dport")
			})
			t.Logf("made anew %v after the restart", time.Since(cut).Round(time.Millisecond))
			c.stop()
			if rules := m.rules(); strings.Contains(rules, "dport") {
				t.Errorf("left behind: %s", rules)
			}
		})
	}
}

func believed(m portmap.Mapping) bool { return m.State == portmap.Believed }

// TestPortMappingBehindCarrier maps a port of a router that is behind a carrier's NAT and says it had the carrier's
// address: nobody comes through, so the mapping is not believed, and does not stay.
func TestPortMappingBehindCarrier(t *testing.T) {
	needLab(t)
	needMiniupnpd(t)
	t.Parallel()
	w := newWorld(t, weather{delay: realistic.delay})
	outside := w.listen(w.public("peer", rendezvousAddr), rendezvousAddr, 1000)
	alice := w.home("alice", aliceOutside, aliceInside, random, portPreserving)
	m := w.mapper(w.routers[1], portmap.PCP, fmt.Sprintf("ext_ip=%v", aliceOutside))
	us := w.listen(alice, aliceInside.Addr(), 4242)
	c := w.mapPort(alice, us, outside, 2*time.Hour)
	dead := c.want("dead", 30*time.Second, func(m portmap.Mapping) bool { return m.State == portmap.Dead })
	if dead.Useful() || dead.External.Addr() != aliceOutside {
		t.Errorf("%v", dead)
	}
	t.Log(dead)
	c.stop()
	if rules := m.rules(); strings.Contains(rules, "dport") {
		t.Errorf("left behind: %s", rules)
	}
}

// mapping is a client at work, and what it said.
type mapping struct {
	t       *testing.T
	client  *portmap.Client
	cancel  context.CancelFunc
	done    chan struct{}
	changed chan struct{}
	began   time.Time
}

// mapPort keeps the port of us mapped. It is verified by packets from outside.
func (w *world) mapPort(s *space, us, outside *socket, lifetime time.Duration) *mapping {
	ctx, cancel := context.WithCancel(context.Background())
	out := &mapping{t: w.t, cancel: cancel, done: make(chan struct{}), changed: make(chan struct{}, 1), began: time.Now()}
	var knocks atomic.Int64
	out.client = portmap.New(portmap.Options{
		Port: us.local.Port(), Network: spaceNetwork{s}, Lifetime: lifetime,
		Verify: func(ctx context.Context, external netip.AddrPort) error {
			return knock(ctx, fmt.Sprintf("knock %d", knocks.Add(1)), outside, us, external)
		},
		OnChange: func(portmap.Mapping) {
			select {
			case out.changed <- struct{}{}:
			default:
			}
		},
	})
	go func() { defer close(out.done); out.client.Run(ctx) }()
	w.t.Cleanup(out.stop) // before the world ends
	return out
}

// knock sends a text from outside to an address, and waits until it arrives.
func knock(ctx context.Context, text string, outside, us *socket, to netip.AddrPort) error {
	if _, err := outside.conn.WriteToUDPAddrPort([]byte(text), to); err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	_ = us.conn.SetReadDeadline(deadline.Add(-3 * time.Second))
	for b := make([]byte, 100); ; {
		n, _, err := us.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return err
		}
		if string(b[:n]) == text {
			return nil
		}
	}
}

func (m *mapping) since() time.Duration { return time.Since(m.began).Round(time.Millisecond) }

// want waits for a mapping as it should be.
func (m *mapping) want(what string, within time.Duration, match func(portmap.Mapping) bool) portmap.Mapping {
	m.t.Helper()
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	for {
		if got := m.client.Mapping(); match(got) {
			return got
		}
		select {
		case <-m.changed:
		case <-timeout.C:
			m.t.Fatalf("not %s within %v: %+v", what, within, m.client.Status())
		}
	}
}

// stop ends the client, which removes its mapping within about a second.
func (m *mapping) stop() {
	m.t.Helper()
	began := time.Now()
	m.cancel()
	<-m.done
	if took := time.Since(began); took > 2*time.Second {
		m.t.Errorf("the end took %v", took)
	}
}
