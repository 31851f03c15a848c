package kcptransport

import (
	"encoding/binary"
	"net/netip"
)

// Addresses on the wire: 4 or 16 bytes of IP address, then 2 of port. Which it is follows from the length.
const (
	addr4Size = 4 + 2
	addr6Size = 16 + 2
)

// appendAddr appends the wire form of a, or nothing when a is not valid. Zones do not travel.
func appendAddr(dst []byte, a netip.AddrPort) []byte {
	switch ip := a.Addr().Unmap(); {
	case ip.Is4():
		b := ip.As4()
		dst = append(dst, b[:]...)
	case ip.Is6():
		b := ip.As16()
		dst = append(dst, b[:]...)
	default:
		return dst
	}
	return binary.BigEndian.AppendUint16(dst, a.Port())
}

// parseAddr reads all of b as one address. It refuses IPv4 addresses in IPv6 form: they would be a second spelling.
func parseAddr(b []byte) (netip.AddrPort, bool) {
	var ip netip.Addr
	switch len(b) {
	case addr4Size:
		ip = netip.AddrFrom4([4]byte(b))
	case addr6Size:
		ip = netip.AddrFrom16([16]byte(b))
	}
	if !ip.IsValid() || ip.Is4In6() {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[len(b)-2:])), true
}
