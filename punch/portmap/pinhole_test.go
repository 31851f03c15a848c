package portmap

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/2xppg/xppg/netsim"
)

var (
	ours6    = netip.MustParseAddr("2600:0:0:1::2")
	gateway6 = netip.MustParseAddr("2600:0:0:1::1")
)

// inFirewall runs a test with a client whose IPv6 packets a firewall keeps in.
func inFirewall(t *testing.T, cfg netsim.Gateway, f func(*simulated)) {
	t.Helper()
	cfg.Addr, cfg.Addr6 = gateway1, gateway6
	simulate(t, cfg, []netip.Addr{ours, ours6}, (*simulated).knock6, f)
}

func (s *simulated) knock6(ctx context.Context, at netip.AddrPort) error {
	if at.Addr().Is4() {
		return ErrNobody // these tests are about the other one
	}
	return s.knock(ctx, at)
}

// pinhole returns the mapping for IPv6.
func (s *simulated) pinhole() (m Mapping, err error) {
	for _, m := range s.client.Mappings() {
		if m.External.Addr().Is6() {
			return m, nil
		}
	}
	return m, errors.New("no pinhole")
}

// wantPinhole waits for a pinhole that is believed and by which a stranger really gets in.
func (s *simulated) wantPinhole(when string, within time.Duration) {
	s.t.Helper()
	want := netip.AddrPortFrom(ours6, ourPort)
	for start := time.Now(); ; time.Sleep(time.Second) {
		m, err := s.pinhole()
		if err == nil && m.State == Believed && m.External == want && m.Protocol == PCP && m.Double == NotDouble && s.knock(s.t.Context(), want) == nil {
			return
		}
		if time.Since(start) > within {
			s.t.Fatalf("%s: %v, %v after %v; %+v; %v", when, m, err, time.Since(start), s.router.Forwards(), s.client.Status().Attempts)
		}
	}
}

// RFC 6887 section 11: "the MAP opcode … can also be used with … a simple firewall", whose external address is the internal one.
// https://www.rfc-editor.org/rfc/rfc6887#section-11
func TestPinholes(t *testing.T) {
	for name, cfg := range map[string]netsim.Gateway{
		"for long":  {PCP: true},
		"for short": {PCP: true, MaxLifetime: 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inFirewall(t, cfg, func(s *simulated) {
				s.wantPinhole("at the beginning", 10*time.Second)
				time.Sleep(5 * time.Hour)
				s.wantPinhole("hours later", time.Second)
				s.router.Reboot(20 * time.Second)
				time.Sleep(20 * time.Second)
				s.wantPinhole("after a reboot", time.Minute)
				s.router.Rebind()
				s.wantPinhole("after the router forgot without a word", time.Minute)
			})
		})
	}
}

// Without pinholes the firewall keeps everybody out, and a router that lies about one is not believed.
func TestNoPinhole(t *testing.T) {
	for name, cfg := range map[string]netsim.Gateway{
		"refused":   {PCP: true, Refuses: true},
		"no PCP":    {NATPMP: true},
		"none made": {PCP: true, Hostile: netsim.Hostile{NoMapping: true}},
	} {
		t.Run(name, func(t *testing.T) {
			inFirewall(t, cfg, func(s *simulated) {
				for range 10 {
					time.Sleep(30 * time.Second)
					if m, err := s.pinhole(); err == nil && m.State == Believed {
						t.Fatalf("believed: %v", m)
					}
				}
				if s.knock(t.Context(), netip.AddrPortFrom(ours6, ourPort)) == nil {
					t.Error("the firewall lets everybody in")
				}
			})
		})
	}
}
