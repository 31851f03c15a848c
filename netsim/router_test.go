package netsim

import (
	"fmt"
	"net/netip"
	"testing"
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
	for _, hairpin := range []bool{false, true} {
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
			if hairpin {
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
