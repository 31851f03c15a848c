package api

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

// hostIn starts a node in a network of its own making.
func (w *world) hostIn(s *netsim.Segment, link netsim.Link, addrs ...string) *node {
	w.t.Helper()
	w.places++
	var ips []netip.Addr
	for _, a := range addrs {
		ips = append(ips, netip.MustParseAddr(a))
	}
	return w.start(w.net.NewHost(fmt.Sprint("node", w.places), s, link, ips...), []func(*Config){noMesh})
}

// inside makes a network behind a router with a NAT, two hops and 5 ms from the one outside.
func (w *world) inside(outside *netsim.Segment, addr string, nat netsim.NAT) *netsim.Segment {
	s, _ := w.network(outside, addr, nat, netsim.Link{Delay: 5 * time.Millisecond, Hops: 2})
	return s
}

// Two nodes of one network use their addresses there, whatever else would do: a NAT that hairpins, or IPv6.
func TestShortestPath(t *testing.T) {
	lan := netsim.Link{Delay: time.Millisecond}
	hairpinning, deaf := netsim.Presets["full-cone-hairpin"], netsim.Presets["port-restricted"]
	for name, tt := range map[string]struct {
		place func(w *world) (a, b *node)
		want  string        // beginning of the address in use; "" when there must be no path
		rtt   time.Duration // at most
	}{
		"one network": {func(w *world) (a, b *node) {
			home := w.inside(w.net.Internet(), "20.0.5.1", deaf)
			return w.hostIn(home, lan, "192.168.1.2"), w.hostIn(home, lan, "192.168.1.3")
		}, "192.168.1.", 4 * time.Millisecond},
		"one network whose NAT hairpins": {func(w *world) (a, b *node) {
			home := w.inside(w.net.Internet(), "20.0.5.1", hairpinning)
			return w.hostIn(home, lan, "192.168.1.2"), w.hostIn(home, lan, "192.168.1.3")
		}, "192.168.1.", 4 * time.Millisecond},
		"two networks of one carrier that hairpins": {func(w *world) (a, b *node) {
			carrier := w.inside(w.net.Internet(), "20.0.5.1", hairpinning)
			one, two := w.inside(carrier, "100.64.0.2", deaf), w.inside(carrier, "100.64.0.3", deaf)
			return w.hostIn(one, lan, "192.168.1.2"), w.hostIn(two, lan, "192.168.1.3")
		}, "20.0.5.1:", 40 * time.Millisecond},
		"two networks of one carrier that does not": {func(w *world) (a, b *node) {
			carrier := w.inside(w.net.Internet(), "20.0.5.1", deaf)
			one, two := w.inside(carrier, "100.64.0.2", deaf), w.inside(carrier, "100.64.0.3", deaf)
			return w.hostIn(one, lan, "192.168.1.2"), w.hostIn(two, lan, "192.168.1.3")
		}, "", 0},
		"a stranger has the other's address here": {func(w *world) (a, b *node) {
			one := w.inside(w.net.Internet(), "20.0.5.1", deaf)
			two := w.inside(w.net.Internet(), "20.0.5.2", deaf)
			w.hostIn(one, lan, "192.168.1.3")
			w.hostIn(two, lan, "192.168.1.2")
			return w.hostIn(one, lan, "192.168.1.2"), w.hostIn(two, lan, "192.168.1.3")
		}, "20.0.5.", 24 * time.Millisecond},
		"firewalls for IPv6, and NATs that let nothing through": {func(w *world) (a, b *node) {
			one := w.inside(w.net.Internet(), "20.0.5.1", netsim.Presets["symmetric"])
			two := w.inside(w.net.Internet(), "20.0.5.2", netsim.Presets["symmetric"])
			return w.hostIn(one, lan, "192.168.1.2", "2001:db8:1::2"), w.hostIn(two, lan, "192.168.1.3", "2001:db8:2::3")
		}, "[2001:db8:", 24 * time.Millisecond},
	} {
		for _, order := range []string{"", ", the other way round"} {
			t.Run(name+order, func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					r := w.public(noMesh)
					a, b := tt.place(w)
					if order != "" {
						a, b = b, a
					}
					a.meet(r)
					b.meet(r)
					began := time.Now()
					_, err := a.Join(w.ctx(12*time.Second), b.ID().String())
					if tt.want == "" {
						if err == nil || !strings.Contains(err.Error(), "no direct path") {
							t.Errorf("want no path: %v", err)
						}
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					took := time.Since(began)
					time.Sleep(3 * time.Second) // for a better path to take over
					for _, n := range []*node{a, b} {
						to := b
						if n == b {
							to = a
						}
						if info, _ := n.PathTo(to.ID()); !strings.HasPrefix(info.Addr.String(), tt.want) || info.RTT.Round(time.Millisecond) > tt.rtt {
							t.Errorf("it goes by %v in %v, want %s… in %v", info.Addr, info.RTT, tt.want, tt.rtt)
						}
					}
					if took > 300*time.Millisecond {
						t.Errorf("it took %v", took)
					}
				})
			})
		}
	}
}

// An address of a family that leads nowhere costs nothing: all are tried at the same time (RFC 8305 waits 250 ms).
func TestBrokenFamily(t *testing.T) {
	for _, addrs := range []string{"20.0.0.1:7337", "20.0.0.1:7337 [2001:db8:dead::1]:7337", "[2001:db8::1]:7337 20.0.0.77:7337"} {
		inWorld(t, func(t *testing.T, w *world) {
			b := w.hostIn(w.net.Internet(), w.link, "20.0.0.1", "2001:db8::1")
			a := w.hostIn(w.net.Internet(), w.link, "20.0.0.3", "2001:db8::3")
			ticket := Ticket{Contact: Contact{Peer: b.ID(), Addrs: parseAddrs(strings.Fields(addrs)...)}}
			began := time.Now()
			a.join(ticket.String())
			if took := time.Since(began); took > 45*time.Millisecond {
				t.Errorf("by %s it took %v, want one round trip", addrs, took)
			}
		})
	}
}
