package api

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/2xppg/xppg/kcptransport"
	"github.com/2xppg/xppg/netsim"
	"github.com/2xppg/xppg/punch/portmap"
)

// hostNetwork is a host of netsim as package portmap sees it.
type hostNetwork struct{ *netsim.Host }

func (h hostNetwork) Gateways() ([]portmap.Gateway, error) {
	router, local, ok := h.Gateway()
	if !ok {
		return nil, errors.New("no default route")
	}
	return []portmap.Gateway{{Addr: router, Local: local}}, nil
}

func (h hostNetwork) ListenPacket(_ context.Context, local netip.AddrPort) (net.PacketConn, error) {
	return h.ListenUDP(local)
}

// mapped starts a node behind a router that maps ports, and that no punching opens.
func (w *world) mapped(change ...func(*Config)) (*node, *netsim.Router) {
	w.places++ // one more identity
	inside := w.net.NewSegment("home")
	router := w.net.NewRouter("mapping router", netsim.RouterConfig{
		Outside: w.net.Internet(), OutsideAddrs: []netip.Addr{netip.MustParseAddr("20.0.113.50")}, Inside: inside,
		NAT:     netsim.Presets["linux-random"],
		Gateway: netsim.Gateway{Addr: netip.MustParseAddr("192.168.1.1"), PCP: true},
	})
	host := w.net.NewHost("mapped", inside, w.link, netip.MustParseAddr("192.168.1.2"))
	return w.start(host, append([]func(*Config){noMesh, func(c *Config) { c.PortMapping = hostNetwork{host} }}, change...)), router
}

// A mapping that nobody can test is a candidate, since a try costs nothing, and no more: the record does not name it, the node
// does not offer itself as a relay, and netcheck says so. As soon as there is a third peer, all of that changes.
func TestUntestedPortMapping(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		helper := w.public(noMesh)
		n, _ := w.mapped(func(c *Config) { c.Relay = RelayAuto })
		n.meet(helper)
		time.Sleep(10 * time.Minute)
		m := n.portmap.Mapping()
		candidate := func(c kcptransport.Candidate) bool { return c.Addr == m.External }
		if m.State != portmap.Made || !slices.ContainsFunc(n.candidates(), candidate) || !slices.Contains(n.Ticket().Addrs, m.External) {
			t.Fatalf("%v, candidates %v", m, n.candidates())
		}
		told := func() bool { return slices.Contains(helper.recordOf(n.ID()).Addrs, m.External) }
		if told() || n.Relaying() {
			t.Errorf("it is told to everybody: %v; relays: %v", told(), n.Relaying())
		}
		r, err := n.NetCheck(w.ctx(20*time.Second), NetCheckOptions{})
		if err != nil || len(r.Ports.Mappings) != 1 || !strings.Contains(r.Ports.Mappings[0].String(), "untested") {
			t.Errorf("netcheck tells %v, %v", r.Ports, err)
		}

		w.public(noMesh).meet(helper)
		w.eventually("a third peer tests it", time.Minute, func() bool { return n.portmap.Mapping().State == portmap.Believed })
		w.eventually("the record names it", time.Minute, told)
		w.eventually("it relays", time.Minute, n.Relaying)
		r, err = n.NetCheck(w.ctx(20*time.Second), NetCheckOptions{})
		if err != nil || strings.Contains(r.Ports.Mappings[0].String(), "untested") {
			t.Errorf("netcheck tells %v, %v", r.Ports, err)
		}
	})
}

// A node whose NAT no punching opens gets a port of its router, which a third peer tests, and tells it to others.
func TestPortMapping(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		helper, third := w.public(noMesh), w.public(noMesh)
		third.meet(helper)
		n, router := w.mapped()
		n.meet(helper)
		time.Sleep(4 * time.Second)
		m := n.portmap.Mapping()
		if m.State != portmap.Believed || m.Protocol != portmap.PCP || m.Double != portmap.NotDouble {
			t.Fatalf("%v", m)
		}
		mapped := func(c kcptransport.Candidate) bool {
			return c.Type == kcptransport.PortMapped && c.Addr == m.External
		}
		if !slices.ContainsFunc(n.candidates(), mapped) {
			t.Errorf("%v is no candidate", m.External)
		}
		if r, err := n.NetCheck(w.ctx(10*time.Second), NetCheckOptions{}); err != nil || len(r.Ports.Attempts) != 1 {
			t.Errorf("netcheck tells %+v, %v", r.Ports, err)
		}
		n.Close()
		if left := router.Forwards(); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}
