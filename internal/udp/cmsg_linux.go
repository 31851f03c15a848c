package udp

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// controlSize holds any one control message used here: the size of a segment, or a TTL.
const controlSize = 40

// control is the room for one control message, aligned as the kernel wants it.
type control struct {
	_ [0]uintptr
	b [controlSize]byte
}

// setUint16 and setInt32 make the control message of a header carry one value.
func (c *control) setUint16(h *unix.Msghdr, level, typ int32, v uint16) {
	binary.NativeEndian.PutUint16(c.header(h, level, typ, 2), v)
}

func (c *control) setInt32(h *unix.Msghdr, level, typ int32, v int32) {
	binary.NativeEndian.PutUint32(c.header(h, level, typ, 4), uint32(v))
}

func (c *control) header(h *unix.Msghdr, level, typ int32, size int) (value []byte) {
	m := (*unix.Cmsghdr)(unsafe.Pointer(&c.b[0]))
	m.Level, m.Type = level, typ
	m.SetLen(unix.CmsgLen(size))
	h.Control = &c.b[0]
	h.SetControllen(unix.CmsgSpace(size))
	return c.b[unix.CmsgLen(0):]
}

// segmentSize reads the size of the packets that the kernel coalesced into a message, from n bytes of control
// messages; 0 when the message is a single packet.
func (c *control) segmentSize(n int) int {
	for b := c.b[:min(n, len(c.b))]; len(b) >= unix.SizeofCmsghdr; {
		m := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		size := int(m.Len)
		if size < unix.SizeofCmsghdr || size > len(b) {
			return 0
		}
		if m.Level == unix.IPPROTO_UDP && m.Type == unix.UDP_GRO && size >= unix.CmsgLen(4) {
			return int(int32(binary.NativeEndian.Uint32(b[unix.CmsgLen(0):])))
		}
		b = b[min(unix.CmsgSpace(size-unix.CmsgLen(0)), len(b)):]
	}
	return 0
}
