package api

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

// Two nodes behind routers that block UDP reach each other through a relay, one by TCP and one by WebSocket.
func TestUDPBlockedOnBothSides(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		relay := w.public(noMesh, func(c *Config) { c.Relay = RelayOn })
		tcp, err := relay.host.ListenTCP(netip.MustParseAddrPort("0.0.0.0:7337"))
		if err != nil {
			t.Fatal(err)
		}
		web, err := relay.host.ListenTCP(netip.MustParseAddrPort("0.0.0.0:443"))
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: relay.carrier}
		go func() { _ = srv.Serve(web) }()
		go func() { _ = relay.carrier.Serve(tcp) }()
		defer func() { _, _ = srv.Close(), tcp.Close() }()

		blocked := func(preset string) *node {
			h, _ := w.home(netsim.Presets[preset])
			return w.start(h, []func(*Config){noMesh, func(c *Config) { c.DialTCP = h.DialContext }})
		}
		a, b := blocked("udp-blocked"), blocked("udp-blocked-443")
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
