package netsim

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// act does an action of WANIPConnection:1 or 2, and returns the values of its answer or
// the number of an error.
func (g *gateway) act(at int64, a action) ([]argument, int) {
	if g.Refuses {
		return nil, upnpRefused
	}
	switch a.name {
	case "GetExternalIPAddress":
		address := ""
		if e := g.external(a.client); e.IsValid() {
			address = e.String()
		}
		return []argument{{"NewExternalIPAddress", address}}, 0
	case "GetStatusInfo":
		return []argument{
			{"NewConnectionStatus", "Connected"}, {"NewLastConnectionError", "ERROR_NONE"}, {"NewUptime", fmt.Sprint(g.epoch(at))},
		}, 0
	case "AddPortMapping":
		return g.addPortMapping(at, a, false)
	case "AddAnyPortMapping":
		if g.UPnP >= 2 {
			return g.addPortMapping(at, a, true)
		}
	case "DeletePortMapping":
		return g.deletePortMapping(at, a)
	case "GetSpecificPortMappingEntry":
		return g.specificEntry(at, a)
	}
	return nil, upnpBadAction
}

// addPortMapping makes a forwarding, to another port outside if it has to and any is true.
func (g *gateway) addPortMapping(at int64, a action, any bool) ([]argument, int) {
	bad := false
	tcp, outer, inner := a.protocol(&bad), a.port("NewExternalPort", &bad), a.port("NewInternalPort", &bad)
	client, err := netip.ParseAddr(a.args["NewInternalClient"])
	lease, e := strconv.ParseUint(a.args["NewLeaseDuration"], 10, 32)
	switch {
	case bad || err != nil || e != nil || inner == 0 || (outer == 0 && !any) || a.args["NewRemoteHost"] != "":
		return nil, upnpBadArguments
	case client != a.client && g.UPnP >= 2: // WANIPConnection:2, section 2.5.16.2
		return nil, upnpRefused
	case lease != 0 && g.PermanentOnly:
		return nil, upnpPermanentOnly
	}
	f := forward{inside: netip.AddrPortFrom(client, inner), until: at, description: a.args["NewPortMappingDescription"]}
	out, err := g.lease(at, tcp, outer, any, f, uint32(lease))
	switch {
	case errors.Is(err, errTaken):
		return nil, upnpConflict
	case errors.Is(err, errOtherPort):
		return nil, upnpSamePorts
	case errors.Is(err, errNoForwards):
		return nil, upnpNoPorts
	case err != nil:
		return nil, upnpFailed
	case any:
		return []argument{{"NewReservedPort", fmt.Sprint(out.Port())}}, 0
	}
	return nil, 0
}

// lease is forward for a lease of UPnP: 0 means for ever, or a week in version 2.
func (g *gateway) lease(at int64, tcp bool, port uint16, any bool, f forward, seconds uint32) (netip.AddrPort, error) {
	switch {
	case seconds != 0:
		out, _, err := g.forward(at, tcp, port, any, f, seconds)
		return out, err
	case g.Hostile.NoMapping:
		return netip.AddrPortFrom(g.external(f.inside.Addr()), port), nil
	case g.UPnP >= 2:
		f.until = at + secondsAWeek*int64(time.Second)
	default:
		f.until = never
	}
	return g.router.forwardPort(at, tcp, port, any, f)
}

func (g *gateway) deletePortMapping(at int64, a action) ([]argument, int) {
	t, outside, code := g.entry(at, a)
	if code == 0 {
		if g.UPnP >= 2 && t.rules[outside].inside.Addr() != a.client {
			return nil, upnpRefused
		}
		t.unforward(outside)
	}
	return nil, code
}

func (g *gateway) specificEntry(at int64, a action) ([]argument, int) {
	t, outside, code := g.entry(at, a)
	if code != 0 {
		return nil, code
	}
	f := t.rules[outside]
	left := (f.left(at) + time.Second - 1) / time.Second // 0 is for ever
	return []argument{
		{"NewInternalPort", fmt.Sprint(f.inside.Port())}, {"NewInternalClient", f.inside.Addr().String()}, {"NewEnabled", "1"},
		{"NewPortMappingDescription", f.description}, {"NewLeaseDuration", fmt.Sprint(int64(left))},
	}, 0
}

// entry finds the forwarding that an action is about.
func (g *gateway) entry(at int64, a action) (*table, netip.AddrPort, int) {
	bad := false
	t, port := g.router.protocol(a.protocol(&bad)).nat, a.port("NewExternalPort", &bad)
	if bad {
		return nil, netip.AddrPort{}, upnpBadArguments
	}
	outside := netip.AddrPortFrom(g.router.home(a.client), port)
	if t.rule(at, outside) == nil {
		return nil, netip.AddrPort{}, upnpNoSuchEntry
	}
	return t, outside, 0
}
