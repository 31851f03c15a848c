package stunclient

import (
	"encoding/binary"
	"net/netip"

	"github.com/pion/stun/v2"
)

// An address attribute:
//
//	+--------+--------+-----------------+---------------------------+
//	|   0    | family |      port       | address, 4 or 16 bytes    |
//	+--------+--------+-----------------+---------------------------+
//
// In the XOR form, port and address are combined with the magic cookie and the transaction ID.
// https://www.rfc-editor.org/rfc/rfc8489.html#section-14.1
const (
	familyIPv4 = 1
	familyIPv6 = 2
)

// mask is what addresses in XOR form are combined with.
func mask(id transactionID) (m [16]byte) {
	binary.BigEndian.PutUint32(m[:], magicCookie)
	copy(m[4:], id[:])
	return m
}

// parseAddress reads the value of an address attribute. It is ok when peers could be reached there: a unicast address
// and a port.
func parseAddress(v []byte, m [16]byte) (addr netip.AddrPort, ok bool) {
	if len(v) < 4 {
		return addr, false
	}
	port := binary.BigEndian.Uint16(v[2:]) ^ binary.BigEndian.Uint16(m[:])
	var ip netip.Addr
	switch b := v[4:]; {
	case v[1] == familyIPv4 && len(b) == 4:
		ip = netip.AddrFrom4([4]byte(xor(b, m)))
	case v[1] == familyIPv6 && len(b) == 16:
		ip = netip.AddrFrom16([16]byte(xor(b, m))).Unmap()
	default:
		return addr, false
	}
	ok = port != 0 && !ip.IsUnspecified() && !ip.IsMulticast()
	return netip.AddrPortFrom(ip, port), ok
}

// appendAddress appends a whole XOR-MAPPED-ADDRESS attribute.
func appendAddress(dst []byte, addr netip.AddrPort, m [16]byte) []byte {
	ip := addr.Addr().Unmap()
	raw, family := ip.AsSlice(), byte(familyIPv6)
	if ip.Is4() {
		family = familyIPv4
	}
	dst = appendAttrHeader(dst, stun.AttrXORMappedAddress, 4+len(raw))
	dst = append(dst, 0, family)
	dst = binary.BigEndian.AppendUint16(dst, addr.Port()^binary.BigEndian.Uint16(m[:]))
	return append(dst, xor(raw, m)...)
}

func appendAttrHeader(dst []byte, t stun.AttrType, size int) []byte {
	dst = binary.BigEndian.AppendUint16(dst, t.Value())
	return binary.BigEndian.AppendUint16(dst, uint16(size))
}

func xor(b []byte, m [16]byte) []byte {
	for i := range b {
		m[i] ^= b[i]
	}
	return m[:len(b)]
}
