//go:build linux

package lab

import (
	"fmt"
	"strings"
)

// nat is how a router translates, in the terms of RFC 4787 sections 4 and 5.
type nat string

const (
	// portPreserving: endpoint-independent mapping, address-and-port-dependent
	// filtering. What most home routers that run Linux do.
	portPreserving nat = "port-preserving"
	// portPreservingOpen is the same without the input drop rule: a packet that
	// nobody asked for makes the router move the port of the mapping that
	// comes later.
	portPreservingOpen nat = "port-preserving-open"
	// random: address-and-port-dependent mapping and filtering.
	random nat = "random"
	// fullCone: endpoint-independent mapping and filtering.
	fullCone nat = "full-cone"
	// fullConeHairpin: the same, and packets from inside to the outside turn round.
	fullConeHairpin nat = "full-cone-hairpin"
	// addressRestricted: endpoint-independent mapping, address-dependent filtering.
	addressRestricted nat = "address-restricted"
	// carrierBlock: as random, but the ports come from a block of 1,024, as a
	// carrier gives one to each customer.
	carrierBlock nat = "carrier-block"
	// sequential: as random, but each new mapping has the port that is 256 higher.
	sequential nat = "sequential"
	// udpBlocked: TCP only.
	udpBlocked nat = "udp-blocked"
)

// place is where somebody is: behind these NATs, the one at home first.
type place []nat

// Two layers: a home router behind the NAT of a carrier. A carrier's NAT is like a home router's here, as RFC 6888 asks for;
// one of the two routers, or both, drop what nobody asked for.
var (
	carrier     = place{portPreserving, portPreserving}
	carrierOpen = place{portPreservingOpen, portPreserving}
)

func (p place) String() string {
	var names []string
	for _, n := range p {
		names = append(names, string(n))
	}
	return strings.Join(names, " behind ")
}

// rules returns the nftables rules of a router whose outside is wan0.
func (n nat) rules() string {
	drop, masquerade, cone, forward := `iifname "wan0" ct state new counter drop`, "masquerade", "", ""
	switch n {
	case udpBlocked:
		forward = "\n\tchain forward {\n\t\ttype filter hook forward priority filter\n\t\tmeta l4proto udp counter drop\n\t}"
	case portPreservingOpen:
		drop = ""
	case random:
		masquerade = "masquerade random"
	case carrierBlock:
		masquerade = "masquerade to :40960-41983 fully-random"
	case sequential:
		masquerade = "masquerade to : numgen inc mod 1000 offset 20000"
	case fullCone, fullConeHairpin, addressRestricted:
		masquerade = "update @cone { udp sport : ip saddr . udp sport }\n\t\toifname \"wan0\" masquerade"
		cone = `
	map cone {
		type inet_service : ipv4_addr . inet_service
		flags dynamic, timeout
		timeout 5m
		size 4096
	}
	chain prerouting {
		type nat hook prerouting priority dstnat
		iifname "wan0" meta l4proto udp counter dnat ip to udp dport map @cone
	}`
	}
	if n == fullConeHairpin {
		cone = strings.Replace(cone, `iifname "wan0"`, "fib daddr type local", 1)
		masquerade += "\n\t\toifname \"lan0\" ip saddr 192.168.0.0/16 ct status dnat masquerade"
	}
	if n == addressRestricted {
		masquerade = "update @known { ip daddr . udp sport }\n\t\t" + `oifname "wan0" meta l4proto udp ` + masquerade
		cone = strings.Replace(cone, "dnat ip to", "ip saddr . udp dport @known dnat ip to", 1) + `
	set known {
		type ipv4_addr . inet_service
		flags dynamic, timeout
		timeout 5m
		size 4096
	}`
	}
	return fmt.Sprintf(`table inet filter {
	chain input {
		type filter hook input priority filter
		%s
	}%s
}
table ip nat {%s
	chain postrouting {
		type nat hook postrouting priority srcnat
		oifname "wan0" meta l4proto udp counter %s
		oifname "wan0" meta l4proto tcp masquerade
	}
}
`, drop, forward, cone, masquerade)
}

// block makes a router drop what it should forward, as nftables matches it; the return value ends that.
func (w *world) block(router *space, match string) (unblock func()) {
	w.t.Helper()
	nft := func(line string) {
		w.t.Helper()
		_, err := router.exec(line, "nft", "-f", "-")
		w.must(err)
	}
	nft(fmt.Sprintf(`table inet block {
	chain forward {
		type filter hook forward priority filter
		%s counter drop
	}
}
`, match))
	return func() { w.t.Helper(); nft("delete table inet block\n") }
}
