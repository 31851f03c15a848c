package netsim

import "encoding/binary"

// Numbers of pcapng (draft-ietf-opsawg-pcapng, sections 4.1 to 4.3).
const (
	blockSection   = 0x0A0D0D0A
	blockInterface = 1
	blockPacket    = 6 // "enhanced"

	optEnd       = 0
	optComment   = 1
	optName      = 2 // of an interface
	optFlags     = 2 // of a packet
	optProgram   = 4 // of a section
	optTimeUnit  = 9 // of an interface
	linkTypeRaw  = 101
	inbound      = 1
	outbound     = 2
	byteOrder    = 0x1A2B3C4D
	nanoseconds  = "\x09" // the time unit is 10 to minus this, in seconds
	lengthOfNone = ^uint64(0)
)

var le = binary.LittleEndian

// block appends a block of a type with the body that f appends.
func block(b []byte, kind uint32, f func([]byte) []byte) []byte {
	start := len(b)
	b = le.AppendUint32(b, kind)
	b = f(le.AppendUint32(b, 0))
	length := uint32(len(b) - start + 4)
	le.PutUint32(b[start+4:], length)
	return le.AppendUint32(b, length)
}

// option appends an option, filled up to a multiple of four bytes.
func option(b []byte, code uint16, value string) []byte {
	b = le.AppendUint16(b, code)
	b = le.AppendUint16(b, uint16(len(value)))
	return pad(append(b, value...), len(value))
}

func pad(b []byte, length int) []byte {
	return append(b, make([]byte, -length&3)...)
}

// appendSection begins a file.
func appendSection(b []byte) []byte {
	return block(b, blockSection, func(b []byte) []byte {
		b = le.AppendUint32(b, byteOrder)
		b = le.AppendUint16(b, 1) // version 1.0
		b = le.AppendUint16(b, 0)
		b = le.AppendUint64(b, lengthOfNone)
		return option(option(b, optProgram, "netsim"), optEnd, "")
	})
}

// appendInterface describes the next interface of a file; its packets begin with a
// header of IP.
func appendInterface(b []byte, name string) []byte {
	return block(b, blockInterface, func(b []byte) []byte {
		b = le.AppendUint16(b, linkTypeRaw)
		b = le.AppendUint16(b, 0)
		b = le.AppendUint32(b, 0) // packets are whole
		b = option(b, optName, name)
		b = option(b, optTimeUnit, nanoseconds)
		return option(b, optEnd, "")
	})
}

// appendPacket appends a packet that was seen at nanos since 1970; comment may be
// empty.
func appendPacket(b []byte, iface uint32, nanos uint64, direction byte, ip []byte, comment string) []byte {
	return block(b, blockPacket, func(b []byte) []byte {
		b = le.AppendUint32(b, iface)
		b = le.AppendUint32(b, uint32(nanos>>32))
		b = le.AppendUint32(b, uint32(nanos))
		b = le.AppendUint32(b, uint32(len(ip)))
		b = le.AppendUint32(b, uint32(len(ip)))
		b = pad(append(b, ip...), len(ip))
		if comment != "" {
			b = option(b, optComment, comment)
		}
		b = option(b, optFlags, string([]byte{direction, 0, 0, 0}))
		return option(b, optEnd, "")
	})
}
