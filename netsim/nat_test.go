package netsim

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// RFC 4787, section 4.1 and 5: what two servers see of one socket, and who may
// send to it.
func TestNATBehaviours(t *testing.T) {
	for mapping := EndpointIndependent; mapping <= AddressAndPortDependent; mapping++ {
		for filtering := EndpointIndependent; filtering <= AddressAndPortDependent; filtering++ {
			for ports := PreservePorts; ports <= BlockPorts; ports++ {
				t.Run(fmt.Sprintf("mapping %d filtering %d ports %d", mapping, filtering, ports), func(t *testing.T) {
					inBubble(t, func(t *testing.T, w *world) {
						testNAT(t, w, NAT{Mapping: mapping, Filtering: filtering, Ports: ports})
					})
				})
			}
		}
	}
}

func testNAT(t *testing.T, w *world, nat NAT) {
	h, _ := w.behind("a", "1.0.0.1", nat)
	a := w.listen(h, 5000)
	s1 := w.public("s1", "2.0.0.1", Link{})
	s1a, s1b := w.listen(s1, 1), w.listen(s1, 2)
	s2 := w.listen(w.public("s2", "2.0.0.2", Link{}), 1)

	w.send(a, "2.0.0.1:1", "x")
	seen := w.wantPacket(s1a, "x")
	if keeps := seen.Port() == 5000; keeps != (nat.Ports == PreservePorts) {
		t.Errorf("outside port %d", seen.Port())
	}
	if nat.Ports == ParityPorts && seen.Port()%2 != 0 || nat.Ports == BlockPorts && seen.Port() >= firstNATPort+defaultBlock {
		t.Errorf("outside port %d", seen.Port())
	}
	// Who may answer, having been sent nothing?
	for _, c := range []struct {
		conn   *Conn
		lets   Behaviour
		opened string
	}{{s1a, AddressAndPortDependent, "same port"}, {s1b, AddressDependent, "same address"}, {s2, EndpointIndependent, "another address"}} {
		w.send(c.conn, seen.String(), c.opened)
		if nat.Filtering <= c.lets {
			w.wantPacket(a, c.opened)
		} else {
			w.wantNothing(a)
		}
	}
	w.send(a, "2.0.0.1:2", "y")
	if other := w.wantPacket(s1b, "y"); (other == seen) != (nat.Mapping < AddressAndPortDependent) {
		t.Errorf("%v to one port, %v to another", seen, other)
	}
	w.send(a, "2.0.0.2:1", "z")
	if other := w.wantPacket(s2, "z"); (other == seen) != (nat.Mapping == EndpointIndependent) {
		t.Errorf("%v to one address, %v to another", seen, other)
	}
}

func TestNamesOfBehaviours(t *testing.T) {
	for got, want := range map[fmt.Stringer]string{
		EndpointIndependent: "endpoint-independent", AddressDependent: "address-dependent",
		AddressAndPortDependent: "address-and-port-dependent", Behaviour(9): "Behaviour(9)",
		PreservePorts: "preserve", RandomPorts: "random", ParityPorts: "parity", SequentialPorts: "sequential",
		BlockPorts: "block", PortAllocation(9): "PortAllocation(9)",
	} {
		if got.String() != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// What cannot be is a mistake in the test.
func TestContradictions(t *testing.T) {
	strict := Presets["linux"]
	for _, n := range []NAT{
		{Overload: true}, {TakesUnsolicited: true}, {Step: -1}, {Block: -1}, {Block: natPorts + 1}, {Overload: true, Mapping: strict.Mapping},
	} {
		if n.check() == nil {
			t.Errorf("%+v is accepted", n)
		}
	}
	for name, n := range Presets {
		if err := n.check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	inBubble(t, func(t *testing.T, w *world) {
		defer func() {
			if recover() == nil {
				t.Error("a router with a NAT that cannot be")
			}
		}()
		w.router("r", w.Internet(), "1.0.0.1", w.NewSegment("home"), NAT{Overload: true})
	})
}

// RFC 4787, section 4.3: a mapping is kept alive by packets of the directions
// that refresh it, and by no others.
func TestRefreshDirections(t *testing.T) {
	for _, tt := range []struct {
		refresh Refresh
		out, in bool
	}{{RefreshOutbound, true, false}, {RefreshInbound, false, true}, {RefreshBoth, true, true}} {
		for _, outbound := range []bool{true, false} {
			inBubble(t, func(t *testing.T, w *world) {
				h, _ := w.behind("a", "1.0.0.1", NAT{Timeout: 30 * time.Second, Refresh: tt.refresh})
				a, s := w.listen(h, 5000), w.listen(w.public("s", "2.0.0.1", Link{}), 1)
				w.send(a, "2.0.0.1:1", "first")
				w.wantPacket(s, "first")
				time.Sleep(20 * time.Second)
				if outbound {
					w.send(a, "2.0.0.1:1", "again")
					w.wantPacket(s, "again")
				} else {
					w.send(s, "1.0.0.1:5000", "again")
					w.wantPacket(a, "again")
				}
				time.Sleep(20 * time.Second)
				before := w.Stats().Delivered
				w.send(s, "1.0.0.1:5000", "alive?")
				time.Sleep(time.Second)
				if alive, want := w.Stats().Delivered > before, outbound && tt.out || !outbound && tt.in; alive != want {
					t.Errorf("refresh %d, outbound %v: alive after 40 s is %v", tt.refresh, outbound, alive)
				}
			})
		}
	}
}

// A mapping that nobody answered dies sooner.
func TestUnansweredMapping(t *testing.T) {
	for _, answered := range []bool{false, true} {
		inBubble(t, func(t *testing.T, w *world) {
			h, _ := w.behind("a", "1.0.0.1", Presets["linux"])
			a, s := w.listen(h, 5000), w.listen(w.public("s", "2.0.0.1", Link{}), 1)
			w.send(a, "2.0.0.1:1", "out")
			seen := w.wantPacket(s, "out").String()
			if answered {
				w.send(s, seen, "answer")
				w.wantPacket(a, "answer")
			}
			time.Sleep(40 * time.Second)
			w.send(s, seen, "late")
			if answered {
				w.wantPacket(a, "late")
			} else {
				w.wantNothing(a)
			}
		})
	}
}

// RFC 4787, section 6: whom a packet that was turned round seems to come from.
func TestKindsOfHairpinning(t *testing.T) {
	for kind, want := range map[Hairpin]string{HairpinOff: "", HairpinExternal: "1.0.0.1:6000", HairpinInternal: "192.168.1.3:6000"} {
		inBubble(t, func(t *testing.T, w *world) {
			h1, _ := w.behind("a", "1.0.0.1", NAT{Hairpin: kind})
			h2 := w.NewHost("a2", h1.port.segment, Link{}, addr("192.168.1.3"))
			a, b := w.listen(h1, 5000), w.listen(h2, 6000)
			w.send(a, "2.0.0.1:1", "opens")
			time.Sleep(time.Second)
			w.send(b, "1.0.0.1:5000", "round")
			if want == "" {
				w.wantNothing(a)
				w.wantDrops(DropHairpin, 1)
			} else if from := w.wantPacket(a, "round"); from.String() != want {
				t.Errorf("kind %d: from %v, want %s", kind, from, want)
			}
		})
	}
}

func TestArbitraryPooling(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		home := w.NewSegment("home")
		w.NewRouter("r", RouterConfig{
			Outside: w.Internet(), OutsideAddrs: []netip.Addr{addr("1.0.0.1"), addr("1.0.0.2")}, Inside: home,
			NAT: NAT{ArbitraryPooling: true},
		})
		h, s := w.NewHost("h", home, Link{}, addr("192.168.1.2")), w.listen(w.public("s", "2.0.0.1", Link{}), 1)
		seen := map[netip.Addr]int{}
		for range 64 {
			w.send(w.listen(h, 0), "2.0.0.1:1", "x")
			seen[w.wantPacket(s, "x").Addr()]++
		}
		if len(seen) != 2 || min(seen[addr("1.0.0.1")], seen[addr("1.0.0.2")]) < 16 {
			t.Errorf("shared out as %v", seen)
		}
	})
}

func TestUDPBlocked(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h, _ := w.behind("a", "1.0.0.1", Presets["udp-blocked"])
		a, s := w.listen(h, 5000), w.listen(w.public("s", "2.0.0.1", Link{}), 1)
		w.send(a, "2.0.0.1:1", "out")
		w.wantNothing(s)
		w.send(s, "1.0.0.1:5000", "in")
		w.wantNothing(a)
		w.wantDrops(DropBlocked, 2)
	})
}
