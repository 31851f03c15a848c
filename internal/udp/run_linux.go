package udp

import "net/netip"

const (
	maxSegments = 64    // packets a segmented message, for every kernel that has them
	maxRunSize  = 65000 // bytes a segmented message: 65,535 less any headers
)

// runLength counts the packets at the beginning of a batch that may leave as one segmented message: they go to one
// destination, and all have the size of the first, except that the last may be shorter. It is at least 1.
func runLength(bufs [][]byte, addrs []netip.AddrPort, maxSegment int) int {
	size := len(bufs[0])
	if size == 0 || size > maxSegment {
		return 1
	}
	total := size
	for n := 1; ; n++ {
		if n == len(bufs) || n == maxSegments || addrs[n] != addrs[0] {
			return n
		}
		next := len(bufs[n])
		if total += next; next == 0 || next > size || total > maxRunSize {
			return n
		}
		if next < size {
			return n + 1
		}
	}
}
