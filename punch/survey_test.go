package punch

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/2xppg/xppg/internal/stuntest"
	"github.com/2xppg/xppg/netsim"
	"github.com/2xppg/xppg/stunclient"
)

// A survey through each of the NATs that have a name, by one server with two addresses.
func TestSurvey(t *testing.T) {
	for _, c := range []struct {
		nat                string
		mapping, filtering Behaviour
		ports              Ports
	}{
		{"full-cone", EndpointIndependent, EndpointIndependent, PortsPreserved},
		{"address-restricted", EndpointIndependent, AddressDependent, PortsPreserved},
		{"port-restricted", EndpointIndependent, AddressAndPortDependent, PortsPreserved},
		{"symmetric", AddressAndPortDependent, AddressAndPortDependent, PortsChanged},
		{"cgnat", EndpointIndependent, AddressAndPortDependent, PortsChanged},
		{"firewall", NoTranslation, AddressAndPortDependent, PortsPreserved},
		{"open", NoTranslation, EndpointIndependent, PortsPreserved},
	} {
		t.Run(c.nat, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := netsim.New(netsim.Config{Seed: 1})
				link := netsim.Link{Delay: 20 * time.Millisecond}
				ip := netip.MustParseAddr
				server := stuntest.Server{Addrs: [2]netip.Addr{ip("192.0.2.1"), ip("192.0.2.2")}, Ports: [2]uint16{3478, 3479}}
				wait, err := stuntest.Serve(&server, n.NewHost("server", n.Internet(), link, server.Addrs[:]...).ListenUDP)
				if err != nil {
					t.Fatal(err)
				}
				defer wait()
				defer n.Close()
				home := n.NewSegment("home")
				n.NewRouter("router", netsim.RouterConfig{
					Outside: n.Internet(), OutsideAddrs: []netip.Addr{ip("203.0.113.7")}, Inside: home, NAT: netsim.Presets[c.nat],
				})
				own := ip("198.51.100.5")
				host := n.NewHost("host", home, link, own)
				prober := &stunclient.Prober{Open: func() (stunclient.Socket, error) {
					return host.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
				}}
				start := time.Now()
				var answered []stunclient.Result // as Discover tells of both addresses
				for i := range 2 {
					answered = append(answered, stunclient.Result{Server: server.At(i, 0), Other: server.At(1-i, 1)})
				}
				found, err := Survey(t.Context(), prober, answered)
				if err != nil || len(found.Behaviours) != 1 || len(found.Samples) != 8 || len(found.Hairpin) != 1 {
					t.Fatalf("%+v, %v", found, err)
				}
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("took %v", took)
				}
				g := NewGatherer(GathererConfig{Local: netip.MustParseAddrPort("0.0.0.0:7000"), Addrs: hostAddrs(own.String())})
				g.Found(found)
				got := g.NAT()
				if got.Mapping.Is != c.mapping || got.Filtering.Is != c.filtering || got.Ports.Is != c.ports ||
					got.Step.Confidence > 0 || got.Block.Confidence > 0 || got.Addresses.Is != 1 {
					t.Errorf("%v", got)
				}
				if got.Mapping.Confidence < 0.7 || got.Filtering.Confidence < 0.6 {
					t.Errorf("not sure enough: %v", got)
				}
			})
		})
	}
}
