package api

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
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

// A node whose NAT no punching opens gets a port of its router, which a third peer tests, and tells it to others.
func TestPortMapping(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		helper, third := w.public(noMesh), w.public(noMesh)
		third.meet(helper)
		w.places++ // one more identity
		inside := w.net.NewSegment("home")
		router := w.net.NewRouter("mapping router", netsim.RouterConfig{
			Outside: w.net.Internet(), OutsideAddrs: []netip.Addr{netip.MustParseAddr("20.0.113.50")}, Inside: inside,
			NAT:     netsim.Presets["linux-random"],
			Gateway: netsim.Gateway{Addr: netip.MustParseAddr("192.168.1.1"), PCP: true},
		})
		host := w.net.NewHost("mapped", inside, w.link, netip.MustParseAddr("192.168.1.2"))
		n := w.start(host, []func(*Config){noMesh, func(c *Config) { c.PortMapping = hostNetwork{host} }})
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
