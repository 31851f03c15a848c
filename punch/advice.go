package punch

import (
	"slices"

	"github.com/2xppg/xppg/kcptransport"
)

// advice says what the user can do after a Punch that failed, by what is believed of both sides; "" without a failure.
func (r Record) advice() string {
	switch {
	case !r.failed():
		return ""
	case !seenFromOutside(r.Local):
		return "nobody outside has told us our address: this network may block UDP. Allow it in the firewall, or try another network"
	case !seenFromOutside(r.Remote):
		return "nobody outside has told them their address: their network may block UDP. Let them allow it, or try another network"
	case r.Needs != NeedsNothing:
		return "forward a UDP port on either router (by hand or with UPnP), or use IPv6 on both sides"
	}
	return "look for a firewall that drops UDP on either side, and try again"
}

// seenFromOutside reports whether a side told an address that more than itself knows, or a host's public one.
func seenFromOutside(candidates []Told) bool {
	return slices.ContainsFunc(candidates, func(c Told) bool {
		return c.Type != kcptransport.Host.String() || !Private(c.Addr.Addr().Unmap())
	})
}
