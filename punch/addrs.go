package punch

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
)

// InterfaceAddrs returns the addresses of the host's interfaces that are up, without link-local and multicast ones, the
// most useful first. Loopback addresses are among them; a [Gatherer] leaves them out unless told to keep them.
func InterfaceAddrs() []netip.Addr {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil // without its own addresses a host is still seen by others
	}
	var out []netip.Addr
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // the interface has just gone
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(n.IP); ok {
					out = append(out, ip.Unmap())
				}
			}
		}
	}
	return usefulAddrs(out, true)
}

// usefulAddrs removes what no other host can send to, sorts by scope and removes doubles.
func usefulAddrs(addrs []netip.Addr, loopback bool) []netip.Addr {
	out := make([]netip.Addr, 0, len(addrs))
	for _, a := range addrs {
		a = a.Unmap().WithZone("")
		switch {
		case !a.IsValid(), a.IsUnspecified(), a.IsMulticast(), a.IsLinkLocalUnicast():
		case a.IsLoopback() && !loopback:
		default:
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b netip.Addr) int {
		return cmp.Or(cmp.Compare(scope(a), scope(b)), a.Compare(b))
	})
	return slices.Compact(out)
}

// sharedAddrs is the range between customer and carrier NAT, RFC 6598.
var sharedAddrs = netip.MustParsePrefix("100.64.0.0/10")

// Private reports whether an address means something only within some network.
func Private(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || sharedAddrs.Contains(a)
}

// scope orders addresses: global IPv6, global IPv4, private IPv4, private IPv6, loopback.
func scope(a netip.Addr) int {
	switch {
	case a.IsLoopback():
		return 4
	case Private(a) && a.Is6():
		return 3
	case Private(a):
		return 2
	case a.Is4():
		return 1
	}
	return 0
}
