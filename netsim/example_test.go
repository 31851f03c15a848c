package netsim_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/2xppg/xppg/netsim" //nolint:depguard // an example is written as its readers would
)

// A host behind a NAT asks a server which address it is seen with.
func Example() {
	n := netsim.New(netsim.Config{Seed: 1})
	defer n.Close()

	home := n.NewSegment("home")
	n.NewRouter("router", netsim.RouterConfig{
		Outside: n.Internet(), OutsideAddrs: []netip.Addr{netip.MustParseAddr("198.51.100.1")},
		Inside: home, NAT: netsim.Presets["port-restricted"],
	})
	alice := n.NewHost("alice", home, netsim.Link{Delay: time.Millisecond}, netip.MustParseAddr("192.168.1.2"))
	server := n.NewHost("server", n.Internet(), netsim.Link{}, netip.MustParseAddr("203.0.113.1"))

	a, _ := alice.ListenUDP(netip.MustParseAddrPort("0.0.0.0:7337"))
	s, _ := server.ListenUDP(netip.MustParseAddrPort("0.0.0.0:3478"))
	a.WriteToUDPAddrPort([]byte("who am I?"), netip.MustParseAddrPort("203.0.113.1:3478"))

	b := make([]byte, 100)
	size, from, _ := s.ReadFromUDPAddrPort(b)
	fmt.Printf("%s, says %s\n", b[:size], from)
	// Output: who am I?, says 198.51.100.1:7337
}

// Bob's NAT lets in only those whom Bob has written to. So each of the two writes
// to the other, which opens the way: the first packet is lost, the second is not.
func ExampleNAT() {
	n := netsim.New(netsim.Config{Seed: 1})
	defer n.Close()
	peer := func(name, public string) *netsim.Conn {
		home := n.NewSegment(name + "'s home")
		n.NewRouter(name+"'s router", netsim.RouterConfig{
			Outside: n.Internet(), OutsideAddrs: []netip.Addr{netip.MustParseAddr(public)},
			Inside: home, NAT: netsim.NAT{Filtering: netsim.AddressAndPortDependent},
		})
		h := n.NewHost(name, home, netsim.Link{}, netip.MustParseAddr("192.168.1.2"))
		c, _ := h.ListenUDP(netip.MustParseAddrPort("[::]:7337"))
		return c
	}
	alice, bob := peer("alice", "198.51.100.1"), peer("bob", "203.0.113.1")

	alice.WriteToUDPAddrPort([]byte("opens my side"), netip.MustParseAddrPort("203.0.113.1:7337"))
	bob.WriteToUDPAddrPort([]byte("hello Alice"), netip.MustParseAddrPort("198.51.100.1:7337"))

	b := make([]byte, 100)
	size, from, _ := alice.ReadFromUDPAddrPort(b)
	fmt.Printf("%s, says %s\n", b[:size], from)
	// Output: hello Alice, says 203.0.113.1:7337
}
