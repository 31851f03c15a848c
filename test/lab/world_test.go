//go:build linux

package lab

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// worlds counts the worlds of this run, for their names and seeds.
var worlds atomic.Uint64

// world is an internet with public hosts and homes. Everything in it is gone
// after the test.
type world struct {
	t         *testing.T
	name      string
	net       *internet
	spaces    []*space
	routers   []*space
	processes []*process
}

func newWorld(t *testing.T, w weather) *world {
	t.Helper()
	n := worlds.Add(1)
	name := fmt.Sprintf("%s%d-%x%d", namePrefix, os.Getpid(), time.Now().UnixNano()&0xffff, n)
	out := &world{t: t, name: name, net: newInternet(w, n)}
	t.Cleanup(out.remove)
	return out
}

func (w *world) remove() {
	if w.t.Failed() {
		w.dump()
	}
	for _, p := range w.processes {
		p.kill()
	}
	w.net.close()
	for _, s := range w.spaces {
		if err := s.remove(); err != nil {
			w.t.Error(err)
		}
	}
}

// dump shows all that may tell why a test failed.
func (w *world) dump() {
	var b strings.Builder
	fmt.Fprintln(&b, w.net)
	for _, p := range w.processes {
		fmt.Fprintf(&b, "--- %s\n%s\n", p, p.output())
	}
	for _, s := range w.routers {
		rules, _ := s.exec("", "nft", "list", "ruleset")
		flows, _ := s.exec("", "sh", "-c", "cat /proc/net/nf_conntrack 2>/dev/null; cat /proc/net/stat/nf_conntrack 2>/dev/null")
		fmt.Fprintf(&b, "--- %s\n%s%s\n", s.name, rules, flows)
	}
	w.t.Log(b.String())
}

// must ends the test if the world could not be built.
func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) space(name string) *space {
	w.t.Helper()
	s, err := newSpace(w.name + "-" + name)
	w.must(err)
	w.spaces = append(w.spaces, s)
	return s
}

// public makes a host that has public addresses.
func (w *world) public(name string, addrs ...netip.Addr) *space {
	w.t.Helper()
	s := w.space(name)
	w.connect(s, addrs...)
	return s
}

// connect joins a namespace to the internet by a device called wan0.
func (w *world) connect(s *space, addrs ...netip.Addr) {
	w.t.Helper()
	w.must(w.net.plug(s, "wan0", addrs...))
	lines := []string{"link set lo up", "link set wan0 txqueuelen 2000 up"}
	for _, a := range addrs {
		lines = append(lines, fmt.Sprintf("addr add %s/32 dev wan0", a))
	}
	w.must(s.ip(append(lines, "route add default dev wan0")...))
}

// carrierInside is what carriers give to their customers' routers (RFC 6598).
var carrierInside = netip.MustParsePrefix("100.64.7.2/10")

// home makes routers with NATs and returns a host behind them. Of several NATs the first one is at home, and the last one
// on the internet: a carrier's.
func (w *world) home(name string, outside netip.Addr, inside netip.Prefix, nats ...nat) *space {
	w.t.Helper()
	var behind *space
	for i, n := range slices.Backward(nats) {
		router := w.space(fmt.Sprintf("%s-router%d", name, i))
		w.routers = append(w.routers, router)
		if behind == nil {
			w.connect(router, outside)
		} else {
			w.cable(behind, router, "wan0", carrierInside)
		}
		w.must(router.setting("net/ipv4/ip_forward", "1"))
		_, err := router.exec(n.rules(), "nft", "-f", "-")
		w.must(err)
		behind = router
	}
	host := w.space(name)
	w.cable(behind, host, "eth0", inside)
	return host
}

// cable joins a namespace to the inside of a router.
func (w *world) cable(router, s *space, device string, addr netip.Prefix) {
	w.t.Helper()
	gateway := addr.Masked().Addr().Next()
	w.must(router.ip(
		fmt.Sprintf("link add lan0 type veth peer name %s netns %s", device, s.name),
		fmt.Sprintf("addr add %s/%d dev lan0", gateway, addr.Bits()),
		"link set lan0 up",
	))
	w.must(s.ip(
		"link set lo up",
		fmt.Sprintf("addr add %s dev %s", addr, device),
		fmt.Sprintf("link set %s up", device),
		fmt.Sprintf("route add default via %s", gateway),
	))
}
