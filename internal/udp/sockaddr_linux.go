package udp

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockaddr holds an address of either family in the kernel's form.
type sockaddr = unix.RawSockaddrInet6

// sockaddrSize is the room the kernel may use.
const sockaddrSize = unix.SizeofSockaddrInet6

// putSockaddr writes addr to sa in the form that a socket of one family takes, and returns its length; 0 when the
// socket can't send there. An IPv6 socket reaches IPv4 addresses in IPv6 form.
func putSockaddr(sa *sockaddr, addr netip.AddrPort, is4 bool) uint32 {
	if !sendable(addr) {
		return 0
	}
	ip := addr.Addr().Unmap()
	if is4 {
		if !ip.Is4() {
			return 0
		}
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		*sa4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: networkOrder(addr.Port()), Addr: ip.As4()}
		return unix.SizeofSockaddrInet4
	}
	*sa = sockaddr{Family: unix.AF_INET6, Port: networkOrder(addr.Port()), Addr: ip.As16()}
	if zone := ip.Zone(); zone != "" {
		sa.Scope_id = zones.index(zone)
	}
	return unix.SizeofSockaddrInet6
}

// addrPort reads what putSockaddr or the kernel wrote.
func addrPort(sa *sockaddr) netip.AddrPort {
	switch sa.Family {
	case unix.AF_INET:
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(sa4.Addr), networkOrder(sa4.Port))
	case unix.AF_INET6:
		ip := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.Scope_id != 0 && ip.Is6() {
			ip = ip.WithZone(zones.name(sa.Scope_id))
		}
		return netip.AddrPortFrom(ip, networkOrder(sa.Port))
	}
	return netip.AddrPort{}
}

// networkOrder swaps the bytes of a port where the machine's order differs from the network's.
func networkOrder(port uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], port)
	return binary.NativeEndian.Uint16(b[:])
}
