package portmap

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// maxGateways is how many gateways are asked at once.
const maxGateways = 8

// route is a default route by a router.
type route struct {
	device string // the interface; "" is unknown
	router netip.Addr
	metric uint64
}

// gateway completes the route with the address of ours that packets to the router carry, of those of the interface.
func (r route) gateway(ours []netip.Prefix) (Gateway, bool) {
	g := Gateway{Addr: r.router}
	for _, p := range ours {
		a := p.Addr()
		switch {
		case a.Is4() != r.router.Is4() || a.IsLoopback() || !a.Is4() && !a.IsGlobalUnicast():
		case p.Masked().Contains(r.router.WithZone("")):
			g.Local = a
			return g, true
		case !g.Local.IsValid() && r.device != "":
			g.Local = a // the router may be link-local or beyond the prefix
		}
	}
	return g, g.Local.IsValid()
}

// Flags of routes in Linux (include/uapi/linux/route.h).
const (
	routeUp      = 1
	routeGateway = 2
)

// parseRoutes4 reads the default routes in /proc/net/route of Linux: the interface, then destination, gateway, flags,
// two counters, metric and mask, numbers as the CPU has them, in hexadecimal.
func parseRoutes4(text string) (out []route) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		flags, err := strconv.ParseUint(f[3], 16, 32)
		router, err2 := strconv.ParseUint(f[2], 16, 32)
		metric, err3 := strconv.ParseUint(f[6], 10, 32)
		if err != nil || err2 != nil || err3 != nil || flags&(routeUp|routeGateway) != routeUp|routeGateway {
			continue
		}
		var b [4]byte
		binary.NativeEndian.PutUint32(b[:], uint32(router))
		out = append(out, route{f[0], netip.AddrFrom4(b), metric})
	}
	return best(out)
}

// parseRoutes6 reads the default routes in /proc/net/ipv6_route of Linux: destination, its length, source, its length,
// next hop, metric, two counters, flags and the interface, all in hexadecimal.
func parseRoutes6(text string) (out []route) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 10 || f[1] != "00" || strings.Trim(f[0], "0") != "" {
			continue
		}
		flags, err := strconv.ParseUint(f[8], 16, 32)
		b, err2 := hex.DecodeString(f[4])
		metric, err3 := strconv.ParseUint(f[5], 16, 32)
		if err != nil || err2 != nil || err3 != nil || len(b) != 16 || flags&(routeUp|routeGateway) != routeUp|routeGateway {
			continue
		}
		router := netip.AddrFrom16([16]byte(b))
		if router.IsLinkLocalUnicast() {
			router = router.WithZone(f[9])
		}
		out = append(out, route{f[9], router, metric})
	}
	return best(out)
}

// best returns the routes in order, each router once, at most maxGateways.
func best(in []route) (out []route) {
	slices.SortStableFunc(in, func(a, b route) int { return cmp.Compare(a.metric, b.metric) })
	for _, r := range in {
		if len(out) < maxGateways && !slices.ContainsFunc(out, func(o route) bool { return o.router == r.router }) {
			out = append(out, r)
		}
	}
	return out
}
