//go:build linux

package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/2xppg/xppg/punch/portmap"
)

var (
	aliceInside6  = netip.MustParsePrefix("2600:0:0:1::2/64")
	aliceGateway6 = netip.MustParseAddr("2600:0:0:1::1")
	strangerAddr6 = netip.MustParsePrefix("2600:0:0:99::9/64")
	strangerGate6 = netip.MustParseAddr("2600:0:0:99::1")
)

// TestPinhole opens the IPv6 firewall of a real router by PCP: from outside nobody gets in before, somebody does while the
// pinhole is there, and nobody after it.
func TestPinhole(t *testing.T) {
	needLab(t)
	needMiniupnpd(t)
	t.Parallel()
	w := newWorld(t, lossless)
	alice := w.home("alice", aliceOutside, aliceInside, random)
	router, stranger := w.routers[0], w.space("stranger")
	w.firewall6(router, alice, stranger)
	m := w.mapper(router, portmap.PCP, "ext_ifname6=wan6", "ipv6_disable=no")
	_, err := router.exec("", "nft", "add", "rule", "inet", "filter", "forward", "iifname", "wan6", "ct", "state", "new", "drop")
	w.must(err)

	us, outside := w.listen6(alice, aliceInside6.Addr(), 4242), w.listen6(stranger, strangerAddr6.Addr(), 1000)
	at := netip.AddrPortFrom(aliceInside6.Addr(), 4242)
	var knocks atomic.Int64
	try := func(ctx context.Context) error {
		return knock(ctx, fmt.Sprintf("knock %d", knocks.Add(1)), outside, us, at)
	}
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		t.Cleanup(cancel)
		return ctx
	}
	if err := try(short()); err == nil {
		t.Fatal("the firewall lets everybody in")
	}

	changed := make(chan struct{}, 1)
	c := portmap.New(portmap.Options{
		Port: 4242, Network: spaceNetwork{alice},
		Verify: func(ctx context.Context, external netip.AddrPort) error {
			if external != at {
				return portmap.ErrNobody // it is the mapping for IPv4
			}
			return try(ctx)
		},
		OnChange: func(portmap.Mapping) {
			select {
			case changed <- struct{}{}:
			default:
			}
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); c.Run(ctx) }()
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	for !slices.ContainsFunc(c.Mappings(), func(m portmap.Mapping) bool {
		return m.External == at && m.State == portmap.Believed && m.Protocol == portmap.PCP
	}) {
		select {
		case <-changed:
		case <-timeout.C:
			t.Fatalf("no pinhole: %+v", c.Status())
		}
	}
	t.Log(c.Mappings())
	cancel()
	<-ended
	if rules, err := m.router.exec("", "nft", "list", "chain", "inet", "filter", "miniupnpd"); err != nil || strings.Contains(rules, "2600:") {
		t.Errorf("left behind: %s, %v", rules, err)
	}
}

// firewall6 gives a home IPv6, and a stranger a way to it.
func (w *world) firewall6(router, host, stranger *space) {
	w.t.Helper()
	w.must(router.setting("net/ipv6/conf/all/forwarding", "1"))
	w.must(router.ip(
		fmt.Sprintf("addr add %s/%d dev lan0 nodad", aliceGateway6, aliceInside6.Bits()),
		fmt.Sprintf("link add wan6 type veth peer name eth0 netns %s", stranger.name),
		fmt.Sprintf("addr add %s/%d dev wan6 nodad", strangerGate6, strangerAddr6.Bits()),
		"link set wan6 up",
	))
	for _, h := range []struct {
		s    *space
		addr netip.Prefix
		gate netip.Addr
	}{{host, aliceInside6, aliceGateway6}, {stranger, strangerAddr6, strangerGate6}} {
		w.must(h.s.ip(
			"link set lo up",
			fmt.Sprintf("addr add %s dev eth0 nodad", h.addr),
			"link set eth0 up",
			fmt.Sprintf("route add default via %s dev eth0", h.gate),
		))
	}
}

// listen6 is listen for IPv6.
func (w *world) listen6(s *space, addr netip.Addr, port uint16) *socket {
	w.t.Helper()
	out := &socket{t: w.t, local: netip.AddrPortFrom(addr, port)}
	w.must(s.do(func() (err error) {
		out.conn, err = net.ListenUDP("udp6", net.UDPAddrFromAddrPort(out.local))
		return err
	}))
	w.t.Cleanup(func() { out.conn.Close() })
	return out
}
