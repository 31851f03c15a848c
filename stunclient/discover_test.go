package stunclient

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v2"
)

func TestDiscover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newInternet()
		local6 := addr("[2001:db8:7::7]:7337")
		silent, cross := addr("192.0.2.3:3478"), addr("192.0.2.4:3478")
		n.serve(serv1, mapped, 30*ms)
		n.serve(serv2, mapped, 10*ms)
		n.serve(serv6, local6, 20*ms)
		n.servers[cross] = func(r []byte) []packet { return []packet{{build(r, stun.BindingError, stun.CodeForbidden), cross, ms}} }
		var order []netip.AddrPort
		n.OnAnswer = func(r Result) { order = append(order, r.Server) }

		r := n.Discover(t.Context(), []netip.AddrPort{serv1, silent, serv2, serv6, serv1, cross, addr("[::ffff:192.0.2.1]:3478")})

		if took := time.Since(n.start); took != defaultPatience {
			t.Errorf("took %v, want the patience of %v", took, defaultPatience)
		}
		if want := []netip.AddrPort{serv2, serv6, serv1}; !slices.Equal(order, want) {
			t.Errorf("answers came from %v, want %v", order, want)
		}
		if len(r.Results) != 3 || r.Results[0].Server != serv1 || r.Results[1].Server != serv2 || r.Results[2].Server != serv6 {
			t.Errorf("results %+v", r.Results)
		}
		if len(r.Failures) != 2 || r.Failures[0].Server != silent || r.Failures[1].Server != cross {
			t.Fatalf("failures %+v", r.Failures)
		}
		var timeout *TimeoutError
		var refused *ResponseError
		if !errors.As(r.Failures[0].Err, &timeout) || timeout.Requests != 3 || !errors.As(r.Failures[1].Err, &refused) || refused.Code != 403 {
			t.Errorf("failures %v and %v", r.Failures[0].Err, r.Failures[1].Err)
		}
		if got := n.times(serv1); len(got) != 1 {
			t.Errorf("a server that is named three times was asked at %v", got)
		}
		wantFamily(t, r.IPv4, Family{[]netip.AddrPort{mapped}, EndpointIndependent, false, 2})
		wantFamily(t, r.IPv6, Family{[]netip.AddrPort{local6}, Unknown, true, 1})
		if len(n.pending) != 0 {
			t.Errorf("%d transactions are left", len(n.pending))
		}
	})
}

func wantFamily(t *testing.T, got, want Family) {
	t.Helper()
	if !slices.Equal(got.Mapped, want.Mapped) || got.Mapping != want.Mapping || got.PortPreserved != want.PortPreserved || got.Servers != want.Servers {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDiscoverReturnsWhenAllAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newInternet()
		n.serve(serv1, mapped, 30*ms)
		n.serve(serv2, withPort(mapped, 40001), 50*ms)
		r := n.Discover(t.Context(), []netip.AddrPort{serv1, serv2})
		if took := time.Since(n.start); took != 50*ms {
			t.Errorf("took %v", took)
		}
		if r.IPv4.Mapping != EndpointDependent {
			t.Errorf("mapping %v", r.IPv4.Mapping)
		}
	})
}

func TestDiscoverEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newInternet()
		n.serve(serv2, mapped, 10*ms)
		ctx, cancel := context.WithTimeout(t.Context(), 100*ms)
		defer cancel()
		r := n.Discover(ctx, []netip.AddrPort{serv1, serv2})
		if len(r.Results) != 1 || len(r.Failures) != 1 || !errors.Is(r.Failures[0].Err, context.DeadlineExceeded) {
			t.Errorf("%+v", r)
		}
		if r := n.Discover(t.Context(), nil); len(r.Results)+len(r.Failures) != 0 {
			t.Errorf("asking nobody: %+v", r)
		}
	})
}

func TestDiscoverBoundsServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newInternet()
		var servers []netip.AddrPort
		for i := range 3 * maxServers {
			servers = append(servers, withPort(serv1, uint16(1000+i)))
		}
		if r := n.Discover(t.Context(), servers); len(r.Failures) != maxServers {
			t.Errorf("%d servers were asked", len(r.Failures))
		}
	})
}

func TestClassify(t *testing.T) {
	a1, a2, b1, b2, c1 := addr("192.0.2.1:1"), addr("192.0.2.1:2"), addr("192.0.2.2:1"), addr("192.0.2.2:2"), addr("192.0.2.3:1")
	m, m2, m3 := withPort(mapped, 7337), withPort(mapped, 40001), addr("203.0.113.8:7337")
	type seen map[netip.AddrPort]netip.AddrPort
	for _, tt := range []struct {
		name string
		seen seen
		want Family
	}{
		{"nobody", nil, Family{}},
		{"one server", seen{a1: m}, Family{[]netip.AddrPort{m}, Unknown, true, 1}},
		{"two ports of one server, the same", seen{a1: m, a2: m}, Family{[]netip.AddrPort{m}, Unknown, true, 1}},
		{"two ports of one server, different", seen{a1: m, a2: m2}, Family{[]netip.AddrPort{m, m2}, AddressAndPortDependent, false, 1}},
		{"two servers, the same", seen{a1: m, b1: m}, Family{[]netip.AddrPort{m}, EndpointIndependent, true, 2}},
		{"two servers, different ports", seen{a1: m, b1: m2}, Family{[]netip.AddrPort{m, m2}, EndpointDependent, false, 2}},
		{"two servers, different addresses", seen{a1: m, b1: m3}, Family{[]netip.AddrPort{m, m3}, EndpointDependent, true, 2}},
		{"three servers, two the same", seen{a1: m2, b1: m, c1: m}, Family{[]netip.AddrPort{m, m2}, EndpointDependent, false, 3}},
		{"two ports of two servers, by address", seen{a1: m, a2: m, b1: m2, b2: m2}, Family{[]netip.AddrPort{m, m2}, AddressDependent, false, 2}},
		{"two ports of two servers, all different", seen{a1: m, a2: m2, b1: m3, b2: m3}, Family{[]netip.AddrPort{m3, m, m2}, AddressAndPortDependent, false, 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var results []Result
			for _, s := range []netip.AddrPort{a1, a2, b1, b2, c1} {
				if m, ok := tt.seen[s]; ok {
					results = append(results, Result{Server: s, Mapped: m})
				}
			}
			v4, v6 := classify(results, 7337)
			wantFamily(t, v4, tt.want)
			wantFamily(t, v6, Family{})
		})
	}
}

func TestMappingText(t *testing.T) {
	for m, want := range map[Dependence]string{
		Unknown: "unknown", EndpointIndependent: "endpoint-independent", AddressDependent: "address-dependent",
		AddressAndPortDependent: "address-and-port-dependent", EndpointDependent: "endpoint-dependent", 99: "unknown",
	} {
		if b, err := m.MarshalText(); err != nil || string(b) != want {
			t.Errorf("%d is %q, %v", m, b, err)
		}
	}
}
