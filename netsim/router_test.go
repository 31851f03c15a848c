package netsim

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestMTUAndTTL(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a, _ := w.behind("a", "1.0.0.1", NAT{})
		ca := w.listen(a, 1)
		b := w.listen(w.public("b", "1.0.0.2", Link{}), 2)
		w.send(ca, "1.0.0.2:2", string(make([]byte, 1472)))
		w.wantPacket(b, string(make([]byte, 1472)))
		w.send(ca, "1.0.0.2:2", string(make([]byte, 1473)))
		w.wantNothing(b)
		w.wantDrops(DropMTU, 1)
		to := addrPort("1.0.0.2:2")
		_ = ca.WriteTTL([]byte("dies at the router"), to, 1)
		w.wantNothing(b)
		w.wantDrops(DropTTL, 1)
		_ = ca.WriteTTL([]byte("passes"), to, 2)
		w.wantPacket(b, "passes")
	})
}

func TestNATBehindNATAndHairpin(t *testing.T) {
	for _, hairpin := range []Hairpin{HairpinOff, HairpinExternal} {
		inBubble(t, func(t *testing.T, w *world) {
			carrier := w.NewSegment("carrier")
			w.NewRouter("cgn", RouterConfig{Outside: w.Internet(), OutsideAddrs: []netip.Addr{addr("1.0.0.1")}, Inside: carrier, NAT: NAT{Hairpin: hairpin}})
			var conns []*Conn
			for i := range 2 {
				home := w.NewSegment(fmt.Sprint("home", i))
				w.NewRouter(fmt.Sprint("r", i), RouterConfig{Outside: carrier, OutsideAddrs: []netip.Addr{addr(fmt.Sprintf("100.64.0.%d", i+1))}, Inside: home})
				conns = append(conns, w.listen(w.NewHost(fmt.Sprint("h", i), home, Link{}, addr("192.168.1.2")), uint16(5000+i)))
			}
			s := w.listen(w.public("s", "2.0.0.1", Link{}), 1)
			w.send(conns[0], "2.0.0.1:1", "x")
			seen := w.wantPacket(s, "x")
			if seen.String() != "1.0.0.1:5000" {
				t.Errorf("seen as %v", seen)
			}
			w.send(s, seen.String(), "back")
			w.wantPacket(conns[0], "back")
			w.send(conns[1], seen.String(), "round")
			if hairpin == HairpinExternal {
				w.wantPacket(conns[0], "round")
			} else {
				w.wantNothing(conns[0])
				w.wantDrops(DropHairpin, 1)
			}
		})
	}
}

func TestIPv6PassesFirewall(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h, _ := w.behind("a", "1.0.0.1", NAT{Filtering: AddressAndPortDependent})
		h.SetAddrs(addr("192.168.1.2"), addr("2001:db8:1::2"))
		a := w.listen(h, 5000)
		s := w.listen(w.NewHost("s", w.Internet(), Link{}, addr("2001:db8:2::1"), addr("2.0.0.1")), 1)
		w.send(s, "[2001:db8:1::2]:5000", "unasked")
		w.wantNothing(a)
		w.send(a, "[2001:db8:2::1]:1", "x")
		if from := w.wantPacket(s, "x"); from.String() != "[2001:db8:1::2]:5000" {
			t.Errorf("seen as %v", from)
		}
		w.send(s, "[2001:db8:1::2]:5000", "back")
		w.wantPacket(a, "back")
		w.send(a, "[::ffff:2.0.0.1]:1", "mapped")
		if from := w.wantPacket(s, "mapped"); from.String() != "1.0.0.1:5000" {
			t.Errorf("IPv4 seen as %v", from)
		}
	})
}

// Each router takes one off: a packet gets as far as its time to live says.
func TestTimeToLiveOfAChain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		outer, h := w.Internet(), (*Host)(nil)
		for i := range 3 {
			s := w.NewSegment(fmt.Sprint("layer", i))
			w.router(fmt.Sprint("r", i), outer, fmt.Sprintf("10.%d.0.1", i), s, NAT{})
			outer = s
		}
		h = w.NewHost("h", outer, Link{}, addr("192.168.1.2"))
		a, s := w.listen(h, 1000), w.listen(w.public("s", "2.0.0.1", Link{}), 1)
		for ttl := 1; ttl <= 3; ttl++ {
			_ = a.WriteTTL([]byte("x"), addrPort("2.0.0.1:1"), ttl)
		}
		w.wantNothing(s)
		w.wantDrops(DropTTL, 3)
		_ = a.WriteTTL([]byte("x"), addrPort("2.0.0.1:1"), 4)
		if seen := w.wantPacket(s, "x"); seen.String() != "10.0.0.1:1000" {
			t.Errorf("seen as %v", seen)
		}
	})
}

// A packet that dies further out still opens the NATs it got through: so one
// opens one's own side without touching the other one's.
func TestLowTTLOpensOnlyTheNearNAT(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		restricted := NAT{Filtering: AddressAndPortDependent}
		ha, _ := w.behind("a", "1.0.0.1", restricted)
		hb, rb := w.behind("b", "1.0.0.2", restricted)
		rb.SetLink(Link{}, Link{Hops: 1})
		a, b := w.listen(ha, 1000), w.listen(hb, 2000)
		_ = a.WriteTTL([]byte("opener"), addrPort("1.0.0.2:2000"), 2)
		w.wantNothing(b)
		w.wantDrops(DropTTL, 1)
		w.wantDrops(DropNoMapping, 0)
		w.send(b, "1.0.0.1:1000", "comes in")
		w.wantPacket(a, "comes in")
	})
}

// Hosts of one NAT with several addresses keep theirs (RFC 4787, section 4.1).
func TestSeveralOutsideAddresses(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		home := w.NewSegment("home")
		w.NewRouter("r", RouterConfig{
			Outside: w.Internet(), OutsideAddrs: []netip.Addr{addr("1.0.0.1"), addr("::ffff:1.0.0.2")}, Inside: home,
			NAT: Presets["symmetric"],
		})
		s := w.listen(w.public("s", "2.0.0.1", Link{}), 1)
		seen := map[netip.Addr]int{}
		for i := range 4 {
			h := w.NewHost(fmt.Sprint(i), home, Link{}, addr(fmt.Sprintf("192.168.1.%d", i+2)))
			var first netip.Addr
			for j := range 5 {
				w.send(w.listen(h, 0), "2.0.0.1:1", "x")
				from := w.wantPacket(s, "x").Addr()
				if j == 0 {
					first = from
					seen[from]++
				}
				if from != first {
					t.Errorf("host %d is seen as %v and %v", i, first, from)
				}
			}
		}
		if seen[addr("1.0.0.1")] != 2 || seen[addr("1.0.0.2")] != 2 {
			t.Errorf("shared out as %v", seen)
		}
	})
}

// Without an outside address there is no way out.
func TestRouterWithoutAddress(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		home := w.NewSegment("home")
		w.NewRouter("r", RouterConfig{Outside: w.Internet(), Inside: home})
		w.send(w.listen(w.NewHost("h", home, Link{}, addr("192.168.1.2")), 1), "2.0.0.1:1", "x")
		time.Sleep(time.Second)
		w.wantDrops(DropNoPort, 1)
	})
}

// Routers that translate nothing pass IPv4 as well as IPv6, in any depth and
// whichever was there first, the router or the host.
func TestTransparentRouters(t *testing.T) {
	for _, preset := range []string{"open", "firewall"} {
		for _, hostFirst := range []bool{false, true} {
			inBubble(t, func(t *testing.T, w *world) {
				site, office := w.NewSegment("site"), w.NewSegment("office")
				both := []netip.Addr{addr("3.0.0.2"), addr("2001:db8:3::2")}
				var h *Host
				if hostFirst {
					h = w.NewHost("h", office, Link{}, both...)
				}
				w.NewRouter("office", RouterConfig{Outside: site, Inside: office, NAT: Presets[preset]})
				w.NewRouter("site", RouterConfig{Outside: w.Internet(), Inside: site, NAT: Presets[preset]})
				if !hostFirst {
					h = w.NewHost("h", office, Link{}, both...)
				}
				a := w.listen(h, 1000)
				s := w.listen(w.NewHost("s", w.Internet(), Link{}, addr("2.0.0.1"), addr("2001:db8:2::1")), 1)
				for mine, theirs := range map[string]string{"3.0.0.2:1000": "2.0.0.1:1", "[2001:db8:3::2]:1000": "[2001:db8:2::1]:1"} {
					w.send(s, mine, "unasked")
					if preset == "open" {
						w.wantPacket(a, "unasked")
					} else {
						w.wantNothing(a)
					}
					w.send(a, theirs, "x")
					if seen := w.wantPacket(s, "x"); seen.String() != mine {
						t.Errorf("%v is seen as %v", mine, seen)
					}
					w.send(s, mine, "back")
					w.wantPacket(a, "back")
				}
			})
		}
	}
}

// IPv6 goes through two routers untranslated and each of them filters; a
// restart of one closes it, and changes no address.
func TestIPv6ThroughTwoRouters(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		carrier, home := w.NewSegment("carrier"), w.NewSegment("home")
		outer := w.router("outer", w.Internet(), "1.0.0.1", carrier, Presets["port-restricted"])
		w.router("inner", carrier, "100.64.0.1", home, Presets["port-restricted"])
		a := w.listen(w.NewHost("a", home, Link{}, addr("2001:db8:1::2")), 1000)
		s := w.listen(w.NewHost("s", w.Internet(), Link{}, addr("2001:db8:2::1")), 1)
		for range 2 {
			w.send(a, "[2001:db8:2::1]:1", "x")
			if seen := w.wantPacket(s, "x"); seen.String() != "[2001:db8:1::2]:1000" {
				t.Errorf("seen as %v", seen)
			}
			outer.Rebind()
			w.send(s, "[2001:db8:1::2]:1000", "shut out")
			w.wantNothing(a)
		}
		w.wantDrops(DropNoMapping, 2)
	})
}

// What is for an inside host that is gone ends there, and does not come out again.
func TestInsideHostIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h, _ := w.behind("a", "1.0.0.1", NAT{})
		a, s := w.listen(h, 5000), w.listen(w.public("s", "2.0.0.1", Link{}), 1)
		same := w.listen(w.public("same private address", "192.168.1.2", Link{}), 5000)
		w.send(a, "2.0.0.1:1", "x")
		seen := w.wantPacket(s, "x")
		h.SetAddrs()
		w.send(s, seen.String(), "too late")
		w.wantNothing(same)
		w.wantDrops(DropNoRoute, 1)
	})
}

// Routers on the way take one off each; a packet that gets as far as a NAT with
// the last of it may still be for the router itself.
func TestHops(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h, r := w.behind("a", "1.0.0.1", Presets["linux-no-drop"])
		r.SetLink(Link{Hops: 2}, Link{Hops: 3})
		a, s := w.listen(h, 1000), w.listen(w.public("s", "2.0.0.1", Link{}), 1)
		for ttl, arrives := range map[int]bool{3: false, 4: true} { // one for the NAT
			_ = a.WriteTTL([]byte("out"), addrPort("2.0.0.1:1"), ttl)
			if arrives {
				w.wantPacket(s, "out")
			} else {
				w.wantNothing(s)
			}
		}
		w.wantDrops(DropTTL, 1)
		_ = s.WriteTTL([]byte("in"), addrPort("1.0.0.1:1000"), 4) // the NAT takes the last one
		_ = s.WriteTTL([]byte("in"), addrPort("1.0.0.1:1000"), 5)
		w.wantPacket(a, "in")
		w.wantNothing(a)
		w.wantDrops(DropTTL, 2)
		early := w.listen(w.public("early", "2.0.0.2", Link{}), 1)
		_ = early.WriteTTL([]byte("dies on the way"), addrPort("1.0.0.1:1000"), 3)
		w.wantNothing(a)
		w.wantDrops(DropTTL, 3)
		_ = early.WriteTTL([]byte("takes the port"), addrPort("1.0.0.1:1000"), 4)
		w.wantNothing(a)
		w.wantDrops(DropNoMapping, 1)
		w.send(a, "2.0.0.2:1", "late")
		if seen := w.wantPacket(early, "late"); seen.Port() == 1000 {
			t.Errorf("seen as %v", seen)
		}
	})
}
