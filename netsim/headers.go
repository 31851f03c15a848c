package netsim

import (
	"encoding/binary"
	"net/netip"
)

const protoUDP = 17

// appendIP appends the packet as it would be on a wire: IPv4 (RFC 791) or IPv6 (RFC
// 8200), and UDP (RFC 768) or TCP (RFC 9293), with their checksums. It never says that
// it may be fragmented.
func (p *packet) appendIP(b []byte) []byte {
	src, dst := p.src.Addr(), p.dst.Addr()
	ttl := byte(min(max(p.ttl, 0), maxTTL))
	proto, length := byte(protoUDP), 8+p.extra+len(p.data)
	if p.isTCP() {
		proto = protoTCP
	}
	start := len(b)
	if dst.Is4() {
		b = append(b, 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(20+length))
		b = append(b, 0, 0, 0x40, 0, ttl, proto, 0, 0) // do not fragment
	} else {
		b = append(b, 0x60, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(length))
		b = append(b, proto, ttl)
	}
	b = appendAddr(appendAddr(b, src), dst)
	if dst.Is4() {
		binary.BigEndian.PutUint16(b[start+10:], ^fold(sum(0, b[start:])))
	}
	header := len(b)
	b = binary.BigEndian.AppendUint16(b, p.src.Port())
	b = binary.BigEndian.AppendUint16(b, p.dst.Port())
	if p.isTCP() {
		b = p.appendTCP(b)
		binary.BigEndian.PutUint16(b[header+16:], ^fold(sum(pseudo(src, dst, proto, length), b[header:])))
		return b
	}
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	b = append(append(b, 0, 0), p.data...)
	check := ^fold(sum(pseudo(src, dst, proto, length), b[header:]))
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

// pseudo is the sum of the header that checksums of UDP and TCP count besides theirs.
func pseudo(src, dst netip.Addr, proto byte, length int) uint32 {
	var b [40]byte
	return sum(uint32(length)+uint32(proto), appendAddr(appendAddr(b[:0], src), dst))
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
