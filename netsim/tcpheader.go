package netsim

import "encoding/binary"

const (
	protoTCP   = 6
	tcpExtra   = 20 - 8 // bytes of a TCP header beyond those of UDP
	tcpOptions = 8      // of a SYN: maximum segment size and window scale
	tcpScale   = 7      // windows are in units of 128 bytes (RFC 7323, section 2)
)

// Bits of the header (RFC 9293, section 3.1).
const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	flagPSH
	flagACK
)

// tcpHeader is what a segment says. Sequence numbers have their upper half as well,
// which is not on the wire, so that they never wrap around.
type tcpHeader struct {
	seq, ack uint64
	window   uint32 // in bytes
	mss      uint16 // of a SYN; links on the way make it fit
	flags    byte
}

func (h tcpHeader) has(flags byte) bool { return h.flags&flags == flags }

func (p *packet) isTCP() bool { return p.extra != 0 }

// clamp makes the maximum segment size of a SYN fit a link, as routers in front of
// narrow links do.
func (p *packet) clamp(mtu int) {
	if p.tcp.flags&flagSYN != 0 {
		p.tcp.mss = min(p.tcp.mss, uint16(max(1, mtu-p.headers())))
	}
}

// headers is how many bytes the headers of a segment without options are.
func (p *packet) headers() int {
	if p.dst.Addr().Is4() {
		return headers4 + tcpExtra
	}
	return headers6 + tcpExtra
}

// appendTCP appends the header and the data of a segment, without the checksum.
func (p *packet) appendTCP(b []byte) []byte {
	h := p.tcp
	b = binary.BigEndian.AppendUint32(b, uint32(h.seq))
	b = binary.BigEndian.AppendUint32(b, uint32(h.ack))
	b = append(b, byte(8+p.extra)/4<<4, h.flags)
	if h.has(flagSYN) { // whose window is not scaled
		b = binary.BigEndian.AppendUint16(b, uint16(min(h.window, 0xffff)))
		b = append(b, 0, 0, 0, 0, 2, 4)
		b = binary.BigEndian.AppendUint16(b, h.mss)
		b = append(b, 1, 3, 3, tcpScale)
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(h.window>>tcpScale))
		b = append(b, 0, 0, 0, 0)
	}
	return append(b, p.data...)
}
