// Package portmap asks the routers of a home for a port at which peers on the
// internet reach one of ours: by PCP (RFC 6887), NAT-PMP (RFC 6886) and UPnP IGD.
//
//	c := portmap.New(portmap.Options{Port: 4242, Verify: dialBack})
//	go c.Run(ctx) // removes what it made when ctx ends
//	…
//	for _, m := range c.Mappings() { fmt.Println(m) }
//
// # What it does
//
// All protocols are asked at all gateways at once which of them are there. This
// changes nothing at the routers. The first to answer is used, or a better one (PCP before
// NAT-PMP before UPnP) that answers within 250 ms of it; when it makes no mapping, the
// next one is used. What a failed attempt may have made is removed.
//
//	tried ──▶ made ──▶ believed
//	  ▲         │          │ lost, expired, the router restarted, nobody gets through
//	  │         ▼          ▼
//	  └─────── dead ◀──────┘
//
// Routers lie and forget. A mapping is believed only after [Options.Verify], which
// lets a third peer knock, said yes; this is asked again every 25 s, as is the router itself.
// A mapping that nobody can test stays made: [Mapping.String] says that it is untested, and it is worth a try of those who
// look for us, but proves nothing.
// A mapping that died is removed and made anew, within a minute if the router plays along.
// It is renewed at half of its lifetime, and later again and again (RFC 6887 section 11.2.1).
//
// # IPv6
//
// Where a gateway speaks PCP over IPv6 it is asked to open its firewall (a
// pinhole): the same request, answered with our own address. The pinholes of UPnP
// (WANIPv6FirewallControl) are not asked for: its descriptions name an address of the router that is not the one in the
// routing table, so that nothing would tell the router from somebody else who answers.
//
// # Security
//
// What routers send is hostile until proven otherwise: it is bounded in bytes and time,
// only the gateway itself is heard, PCP answers must carry our nonce, and addresses that make no sense outside are
// refused. Anybody on the path to the gateway can still say anything, so a mapping is no more than a candidate:
// links are authenticated elsewhere.
//
// # Compatibility
//
// NAT-PMP and PCP are written here and not taken from github.com/jackpal/go-nat-pmp,
// as that opens a socket of its own and so works neither in a simulated network nor with a
// context. UPnP uses github.com/huin/goupnp for descriptions and actions; its search and its
// fetching of descriptions use global clients without bounds and are replaced.
package portmap
