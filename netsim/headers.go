package netsim

import (
	"encoding/binary"
	"net/netip"
)

const protoUDP = 17

// appendIP appends the packet as it would be on a wire: IPv4 (RFC 791) or IPv6 (RFC
// 8200), and UDP (RFC 768), with their checksums. It never says that it may be
// fragmented.
func (p *packet) appendIP(b []byte) []byte {
	src, dst := p.src.Addr(), p.dst.Addr()
	ttl := byte(min(max(p.ttl, 0), maxTTL))
	length := p.size() - len(p.data) - headers4 + 20 // of the header of IP
	udp := 8 + len(p.data)
	start := len(b)
	if dst.Is4() {
		b = append(b, 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(length+udp))
		b = append(b, 0, 0, 0x40, 0, ttl, protoUDP, 0, 0) // do not fragment
	} else {
		b = append(b, 0x60, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(udp))
		b = append(b, protoUDP, ttl)
	}
	b = appendAddr(appendAddr(b, src), dst)
	if dst.Is4() {
		binary.BigEndian.PutUint16(b[start+10:], ^fold(sum(0, b[start:])))
	}
	header := len(b)
	b = binary.BigEndian.AppendUint16(b, p.src.Port())
	b = binary.BigEndian.AppendUint16(b, p.dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(udp))
	b = append(append(b, 0, 0), p.data...)
	check := ^fold(sum(pseudo(src, dst, udp), b[header:]))
	if check == 0 {
		check = 0xffff // as 0 means that there is none
	}
	binary.BigEndian.PutUint16(b[header+6:], check)
	return b
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		x := a.As4()
		return append(b, x[:]...)
	}
	x := a.As16()
	return append(b, x[:]...)
}

// pseudo is the sum of the header that UDP's checksum counts besides its own.
func pseudo(src, dst netip.Addr, udp int) uint32 {
	var b [40]byte
	return sum(uint32(udp)+protoUDP, appendAddr(appendAddr(b[:0], src), dst))
}

// sum adds the 16-bit words of b to what there was.
func sum(total uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		total += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		total += uint32(b[0]) << 8
	}
	return total
}

// fold makes 16 bits of a sum, in the arithmetic of RFC 1071.
func fold(total uint32) uint16 {
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return uint16(total)
}
