package api

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/internal/scenario"
	"github.com/2xppg/xppg/internal/seeded"
)

var relaySeeds = flag.Int("relayseeds", 0, "runs of each pair of NATs beside a relay; 0: one of some pairs")

// meeting is how one run went: two peers behind NATs, each with a link to the same relay, of which one wants the other.
type meeting struct {
	relays  time.Duration // until the slower one of the two had a link to the relay
	rtt     time.Duration // of the way by the relay
	joined  time.Duration // until Join returned
	first   time.Duration // until the other side had the first message
	direct  time.Duration // until both used a direct path; 0: they did not
	relayed uint64        // bytes that the relay carried for both until then, introduction and setting up included
}

// meetBesideRelay plays one run in virtual time.
func meetBesideRelay(t *testing.T, kindA, kindB string, seed uint64) (m meeting, err error) {
	random := rand.New(rand.NewPCG(seed, 7))
	synctest.Test(t, func(t *testing.T) {
		m, err = playMeeting(t, scenario.WorldConfig{
			A: kindA, B: kindB, Seed: seed, Wait: synctest.Wait,
			RTT: time.Duration(20+random.IntN(180)) * time.Millisecond,
		})
	})
	return m, err
}

func playMeeting(t *testing.T, cfg scenario.WorldConfig) (m meeting, err error) {
	w, err := scenario.NewWorld(cfg)
	if err != nil {
		return m, err
	}
	defer w.Net.Close()
	stun := []string{w.R.AddrPort().String(), w.S.AddrPort().String()}
	start := func(p scenario.Place, n byte, change func(*Config)) *Playground {
		c := Config{
			App: "test", Conn: p.Conn, Identity: testIdentity(n), STUN: stun, MaxPeers: -1, Relay: RelayOff,
			LocalAddrs: func() []netip.Addr { return p.Addrs() }, Rand: seeded.New([32]byte{n, byte(cfg.Seed), byte(cfg.Seed >> 8)}),
			DialTCP: p.Host.DialContext, ListenStream: listenOn(p.Host),
		}
		change(&c)
		pg, startErr := Start(t.Context(), c)
		if startErr != nil {
			t.Fatal(startErr)
		}
		t.Cleanup(func() { _ = pg.Close() })
		return pg
	}
	relay := start(w.R, 3, func(c *Config) {
		c.Relay, c.STUN, c.ListenTCP, c.ListenWS = RelayOn, []string{}, "0.0.0.0:7337", "0.0.0.0:443"
	})
	server := start(w.S, 4, func(c *Config) { c.STUN = []string{} })
	a, b := start(w.A, 1, func(*Config) {}), start(w.B, 2, func(*Config) {})
	defer func() {
		for _, pg := range []*Playground{a, b, relay, server} {
			_ = pg.Close()
		}
	}()
	for _, pg := range []*Playground{a, b} {
		began := time.Now()
		if _, err := pg.Join(t.Context(), relay.Ticket().String()); err != nil {
			return m, err
		}
		m.relays = max(m.relays, time.Since(began))
	}
	time.Sleep(3 * time.Second)
	path, _ := a.PathTo(relay.ID())
	other, _ := b.PathTo(relay.ID())
	m.rtt = path.RTT + other.RTT
	carried := func() uint64 {
		sum := relay.sw.Stats().Bytes
		for _, pg := range []*Playground{a, b} {
			info, _ := pg.PathTo(relay.ID())
			sum += info.Link.BytesSent
		}
		return sum
	}
	before, began := carried(), time.Now()
	arrived := make(chan struct{})
	b.On("text", func(*Message) { close(arrived) })
	id, err := a.Join(t.Context(), b.ID().String())
	if err != nil {
		return m, err
	}
	m.joined = time.Since(began)
	if err := a.SendText(t.Context(), "hello", id); err != nil {
		return m, err
	}
	<-arrived
	m.first = time.Since(began)
	for time.Since(began) < 3*time.Second && m.direct == 0 {
		x, _ := a.PathTo(b.ID())
		y, _ := b.PathTo(a.ID())
		if x.Direct && y.Direct {
			m.direct, m.relayed = time.Since(began), carried()-before
		}
		time.Sleep(time.Millisecond)
	}
	return m, nil
}

// Every pair connects beside a relay, whatever the NATs, with the first byte after two and a half round trips; where hole
// punching works it takes over, and the relay has carried little until then.
func TestRelayMatrix(t *testing.T) {
	kinds := append(scenario.AllKinds(), scenario.UDPBlocked, scenario.UDPBlocked443)
	for i, kindA := range kinds {
		for j, kindB := range kinds {
			if *relaySeeds == 0 && (i+j)%5 != 0 && max(i, j) < len(kinds)-1 {
				continue
			}
			t.Run(fmt.Sprintf("%s calls %s", kindA, kindB), func(t *testing.T) {
				t.Parallel()
				var relays, first, direct, relayed []float64
				for seed := range max(1, *relaySeeds) {
					m, err := meetBesideRelay(t, kindA, kindB, uint64(seed))
					if err != nil {
						t.Fatalf("seed %d: %v", seed, err)
					}
					relays = append(relays, float64(m.relays)/float64(time.Millisecond))
					first = append(first, float64(m.first)/float64(m.rtt))
					if m.direct > 0 {
						direct = append(direct, float64(m.direct-m.first)/float64(m.rtt))
						relayed = append(relayed, float64(m.relayed)/2)
					}
				}
				t.Logf("link to the relay p95 %.0f ms; first message p95 %.2f RTT; direct %d of %d, p95 %.2f RTT after it, p95 %.0f bytes a side by the relay until then",
					scenario.Quantile(relays, 0.95), scenario.Quantile(first, 0.95), len(direct), len(first), scenario.Quantile(direct, 0.95), scenario.Quantile(relayed, 0.95))
				if q := scenario.Quantile(relays, 1); q > 1000 {
					t.Errorf("there was a link to the relay after %.0f ms", q)
				}
				if q := scenario.Quantile(first, 1); q > 2.5 {
					t.Errorf("the first message took %.2f round trips", q)
				}
				if q := scenario.Quantile(direct, 0.95); q > 1.5 {
					t.Errorf("the direct path came %.2f round trips after the first message", q)
				}
				if q := scenario.Quantile(relayed, 0.95); q > 3000 {
					t.Errorf("the relay carried %.0f bytes for each side until then", q)
				}
				if scenario.Reachable(kindA, kindB) && float64(len(direct)) < 0.99*float64(len(first))-1 {
					t.Errorf("direct %d times of %d", len(direct), len(first))
				}
			})
		}
	}
}
