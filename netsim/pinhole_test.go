package netsim

import (
	"net/netip"
	"testing"
	"time"
)

const ours6, router6 = "2600:0:0:1::2", "2600:0:0:1::1"

// inBubbleFirewall is inBubbleHome with a gateway for IPv6, too, of which ask is asked.
func inBubbleFirewall(t *testing.T, cfg Gateway, f func(t *testing.T, w *gatewayWorld)) {
	t.Helper()
	inBubble(t, func(t *testing.T, w *world) {
		home := w.NewSegment("home")
		cfg.Addr, cfg.Addr6 = addr("192.168.1.1"), addr(router6)
		g := &gatewayWorld{world: w}
		g.router = w.NewRouter("router", RouterConfig{
			Outside: w.Internet(), OutsideAddrs: []netip.Addr{addr("1.0.0.1")}, Inside: home, NAT: Presets["linux"], Gateway: cfg,
		})
		g.in = w.NewHost("in", home, Link{Delay: time.Millisecond}, addr("192.168.1.2"), addr(ours6))
		g.ask = w.bind(g.in, netip.AddrPortFrom(addr(ours6), 5000))
		f(t, g)
	})
}

// ask6 returns the result of a request for a pinhole.
func (w *gatewayWorld) ask6(wanted uint16, suggested string, options ...byte) byte {
	w.t.Helper()
	req := pcpRequest(ours6, 7, protoUDP, 4242, wanted, 600, options...)
	external := addr(suggested).As16()
	copy(req[pcpHeader+20:], external[:])
	b := w.request("["+router6+"]:5351", req)
	if len(b) < pcpHeader {
		w.t.Fatalf("answered %x", b)
	}
	return b[3]
}

// RFC 6887 section 13.2: "if the PCP server is unable to map both the suggested external port and suggested external address,
// the PCP server should not create a mapping." A firewall has no port but the one inside, and no address but that one.
// https://www.rfc-editor.org/rfc/rfc6887#section-13.2
func TestPinholePreferFailure(t *testing.T) {
	inBubbleFirewall(t, Gateway{PCP: true}, func(t *testing.T, w *gatewayWorld) {
		preferFailure := []byte{pcpPreferFailure, 0, 0, 0}
		for _, tt := range []struct {
			wanted    uint16
			suggested string
		}{{80, "::"}, {0, "::"}, {4242, "2600:0:0:2::2"}} {
			if got := w.ask6(tt.wanted, tt.suggested, preferFailure...); got != pcpNotThatPort {
				t.Errorf("%v: result %d, want %d", tt, got, pcpNotThatPort)
			}
		}
		w.wantForwards()
		if got := w.ask6(4242, ours6, preferFailure...); got != 0 {
			t.Errorf("what there is: result %d", got)
		}
		if got := w.ask6(80, "::"); got != 0 {
			t.Errorf("without the option: result %d", got)
		}
		w.wantForwards("udp [" + ours6 + "]:4242 > [" + ours6 + "]:4242")
	})
}

// NAT-PMP (RFC 6886) knows nothing but IPv4: over IPv6 nobody listens to it.
func TestNoNATPMPOverIPv6(t *testing.T) {
	inBubbleFirewall(t, Gateway{NATPMP: true, PCP: true}, func(t *testing.T, w *gatewayWorld) {
		for _, req := range [][]byte{{pmpVersion, pmpExternal}, pmpRequest(pmpMapUDP, 4242, 4242, 600)} {
			if b := w.request("["+router6+"]:5351", req); b != nil {
				t.Errorf("%x: answered %x", req, b)
			}
		}
		w.wantForwards()
		if got := w.ask6(4242, "::"); got != 0 {
			t.Errorf("PCP: result %d", got)
		}
	})
}
