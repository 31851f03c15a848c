package stunclient_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/2xppg/xppg/stunclient"
)

// Two peers on the internet serve as STUN servers for a third that is behind a NAT.
func Example() {
	peers := []netip.AddrPort{
		netip.MustParseAddrPort("192.0.2.1:7337"),
		netip.MustParseAddrPort("192.0.2.2:7337"),
	}
	outside := netip.MustParseAddrPort("203.0.113.7:7337") // what the NAT makes of our address

	client := &stunclient.Client{Local: netip.MustParseAddrPort("0.0.0.0:7337")}
	client.Send = func(b []byte, to netip.AddrPort) error {
		answer := stunclient.Respond(b, outside) // happens at the peer
		go client.Handle(answer, to)             // happens when the answer arrives
		return nil
	}

	report := client.Discover(context.Background(), peers)
	fmt.Println(report.IPv4.Mapped[0], report.IPv4.Mapping, report.IPv4.PortPreserved)
	// Output: 203.0.113.7:7337 endpoint-independent true
}
