package api

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
	"github.com/2xppg/xppg/relaymesh/carrier"
)

// listens has a node take connections, too.
func listens(c *Config) { c.ListenTCP, c.ListenWS = "0.0.0.0:7337", "0.0.0.0:443" }

// blocked starts a node behind a router of a kind that lets no UDP through.
func (w *world) blocked(preset string) *node { return w.behind(netsim.Presets[preset], noMesh) }

// Two nodes behind routers that block UDP reach each other through a relay, one by TCP and one by WebSocket, each by a URL.
func TestUDPBlockedOnBothSides(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		relay := w.public(relays, listens)
		a, b := w.blocked("udp-blocked"), w.blocked("udp-blocked-443")
		ip := netip.MustParseAddrPort(relay.addr).Addr().String()
		start := time.Now()
		a.join("tcp://" + ip + ":7337")
		if took := time.Since(start); took > time.Second {
			t.Errorf("joined by TCP after %v", took)
		}
		b.join("ws://" + ip + ":443/xppg")
		start = time.Now()
		a.join(b.ID().String())
		if took := time.Since(start); took > time.Second {
			t.Errorf("together after %v", took)
		}
	})
}

// A ticket is enough: that UDP is blocked is found out within a second.
func TestTicketWhereUDPIsBlocked(t *testing.T) {
	for _, preset := range []string{"udp-blocked", "udp-blocked-443"} {
		inWorld(t, func(t *testing.T, w *world) {
			relay := w.public(relays, listens)
			b := w.behind(netsim.Presets["symmetric"], noMesh)
			b.meet(relay)
			time.Sleep(5 * time.Second)
			a := w.blocked(preset)
			start := time.Now()
			a.join(b.Ticket().String())
			if took := time.Since(start); took > time.Second {
				t.Errorf("%s: joined after %v", preset, took)
			}
			if err := a.SendText(w.ctx(time.Second), "hello", b.ID()); err != nil {
				t.Error(err)
			}
			if info, _ := a.PathTo(relay.ID()); info.Path != PathTCP {
				t.Errorf("%s: the relay is reached by %+v", preset, info)
			}
		})
	}
}

// A link whose network begins to block UDP goes on by TCP within a second, and by UDP again when that works; then the connection is
// closed. No message is lost or doubled.
func TestUDPBlockedForAWhile(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		relay := w.public(relays, listens)
		a, b := w.behind(netsim.Presets["symmetric"], noMesh), w.behind(netsim.Presets["symmetric"], noMesh)
		a.meet(relay)
		b.meet(relay)
		time.Sleep(3 * time.Second)
		a.join(b.ID().String())
		sent := 0
		talk := func(d time.Duration) (gap time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				start := time.Now()
				if err := a.SendText(w.ctx(10*time.Second), fmt.Sprint(sent), b.ID()); err != nil {
					t.Fatal(err)
				}
				sent++
				gap = max(gap, time.Since(start))
			}
			return gap
		}
		talk(time.Second)
		a.router.SetBlockUDP(true)
		gap := talk(10 * time.Second)
		t.Logf("UDP was blocked: a gap of %v", gap)
		if gap > 1200*time.Millisecond {
			t.Errorf("a gap of %v when UDP was blocked", gap)
		}
		if info, _ := a.PathTo(relay.ID()); info.Path != PathTCP {
			t.Errorf("the relay is reached by %+v", info)
		}
		talk(50 * time.Second)
		a.router.SetBlockUDP(false)
		gap = talk(70 * time.Second)
		if gap > 200*time.Millisecond {
			t.Errorf("a gap of %v when UDP was let through", gap)
		}
		if info, _ := a.PathTo(relay.ID()); info.Path != PathDirect {
			t.Errorf("the relay is reached by %+v", info)
		}
		talk(udpSettled)
		if n := a.carrier.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		want := make([]string, sent)
		for i := range want {
			want[i] = fmt.Sprint(i)
		}
		b.seenMu.Lock()
		defer b.seenMu.Unlock()
		if !slices.Equal(b.got, want) {
			t.Errorf("%d messages came of %d, or not in order", len(b.got), sent)
		}
	})
}

// What stands for a connection means something to the node alone that has it: nobody is told, also not where the handshake went by one.
func TestConnectionsAreNotTold(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		relay, a := w.public(relays, listens), w.blocked("udp-blocked")
		ip := netip.MustParseAddrPort(relay.addr).Addr().String()
		a.join("tcp://" + ip + ":7337")
		for range 50 {
			for _, n := range []*node{relay, a} {
				for _, c := range n.candidates() {
					if carrier.Is(c.Addr) {
						t.Fatalf("%v is a candidate", c)
					}
				}
				for _, p := range n.readyPeers() {
					if at := p.link.ObservedAddr(); carrier.Is(at) {
						t.Fatalf("a peer told that it sees the node at %v", at)
					}
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

func TestToldURLs(t *testing.T) {
	for url, good := range map[string]bool{
		"tcp://192.0.2.1:443": true, "tcp://[2001:db8::1]:443": true, "ws://192.0.2.1/xppg": true, "wss://relay.example/a/b": true,
		"tcp://192.0.2.1": false, "tcp://192.0.2.1:443/x": false, "http://192.0.2.1/": false, "ws://user@192.0.2.1/": false, "ws:///x": false,
		"ws://192.0.2.1/?a=b": false, "wss://relay.example/#a": false, "": false, "wss://relay.example/" + string(make([]byte, maxURLLen)): false,
	} {
		if err := checkToldURL(url); (err == nil) != good {
			t.Errorf("%q: %v", url, err)
		}
	}
	at := []netip.AddrPort{netip.MustParseAddrPort("192.168.1.7:7337")}
	for url, may := range map[string]bool{
		"tcp://8.8.8.8:443": true, "tcp://192.168.1.7:1": true, "tcp://192.168.1.8:1": false, "tcp://127.0.0.1:22": false, "ws://[::1]/": false,
		"ws://169.254.169.254/": false, "ws://intranet/": false, "wss://intranet/": true, "tcp://[::ffff:10.0.0.1]:22": false, "tcp://0.0.0.0:22": false,
	} {
		if mayDial(url, at) != may {
			t.Errorf("%q: may it be dialled? %v is wrong", url, !may)
		}
	}
}
