package portmap

import (
	"fmt"
	"net/netip"
	"slices"
)

// Double tells whether another NAT stands between the router that made a mapping and the internet.
type Double uint8

// What is known of a second NAT. Behind one, the mapping helps only if the other NAT lets packets through as well.
const (
	NotDouble     Double = iota // no sign of one
	DoublePrivate               // the router's own address is private, or one that carriers use inside (100.64.0.0/10)
	DoubleOther                 // STUN servers see us at another address than the router's
)

// String explains it to a user; it is "" for NotDouble.
func (d Double) String() string {
	switch d {
	case DoublePrivate:
		return "your router is itself behind another NAT (a second router, or your provider's): its own address is a private one"
	case DoubleOther:
		return "your router is itself behind another NAT, or traffic leaves by another way (a VPN): the internet sees another address"
	}
	return ""
}

var insideCarriers = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"), // RFC 6598
	netip.MustParsePrefix("192.0.0.0/24"),  // RFC 6333: DS-Lite
}

// double judges the address that a router calls its own. seen are those at which the internet sees us.
func double(router netip.Addr, seen []netip.Addr) Double {
	private := router.IsPrivate() || slices.ContainsFunc(insideCarriers, func(p netip.Prefix) bool { return p.Contains(router) })
	if private {
		return DoublePrivate
	}
	known := slices.ContainsFunc(seen, func(a netip.Addr) bool { return a.Is4() == router.Is4() })
	if known && !slices.Contains(seen, router) {
		return DoubleOther
	}
	return NotDouble
}

// checkExternal refuses what cannot be an address for others, private ones excepted: those are told apart by double.
func checkExternal(a netip.AddrPort) error {
	ip := a.Addr()
	switch {
	case !ip.IsValid() || ip.IsUnspecified():
		return fmt.Errorf("the router has no address on the internet now")
	case a.Port() == 0 || !ip.IsGlobalUnicast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || ip.Is4() && ip.As4()[0] >= 240:
		return fmt.Errorf("the router told an address that makes no sense: %v", a)
	}
	return nil
}
