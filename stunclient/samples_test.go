package stunclient_test

import (
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/2xppg/xppg/netsim"
)

func TestSamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer l.close()
		l.behind(netsim.NAT{Ports: netsim.RandomPorts})
		servers := l.server.Sockets()
		got, err := l.prober.Samples(t.Context(), servers, 8)
		if err != nil || len(got) != 8 {
			t.Fatalf("%v, %v", got, err)
		}
		locals, mapped := map[uint16]bool{}, map[netip.AddrPort]bool{}
		for i, s := range got {
			locals[s.Local], mapped[s.Mapped] = true, true
			if s.Server != servers[i%4] || s.Mapped.Addr() != ip("203.0.113.7") {
				t.Errorf("sample %+v", s)
			}
		}
		if len(locals) != 8 || len(mapped) != 8 {
			t.Errorf("%v", got)
		}
		// One server that is gone costs its samples only, and nobody to ask is an error.
		got, err = l.prober.Samples(t.Context(), []netip.AddrPort{netip.MustParseAddrPort("192.0.2.99:1"), servers[0]}, 4)
		if err != nil || len(got) != 2 {
			t.Errorf("%v, %v", got, err)
		}
		if got, err = l.prober.Samples(t.Context(), nil, 4); err == nil {
			t.Errorf("%v", got)
		}
	})
}
