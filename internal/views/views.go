// Package views lets who reads datagrams see them where they lie, so that only those that are kept are copied.
package views

import "net/netip"

// A Conn has datagrams to read: a kcptransport.PacketConn.
type Conn interface {
	ReadBatch(bufs [][]byte, sizes []int, addrs []netip.AddrPort) (n int, err error)
}

// A Reader shows datagrams. It waits until at least one is there, points views[i] at datagram i, which came from addrs[i], and
// returns how many there are. Who calls it may change them there, until the next call.
type Reader func(views [][]byte, addrs []netip.AddrPort) (n int, err error)

// Of returns the method ReadViews of c. When it has none, the Reader has memory of its own: a batch of so many datagrams, of
// which it cuts off what exceeds size bytes.
func Of(c Conn, batch, size int) Reader {
	if v, ok := c.(interface {
		ReadViews(views [][]byte, addrs []netip.AddrPort) (n int, err error)
	}); ok {
		return v.ReadViews
	}
	memory, bufs, sizes := make([]byte, batch*size), make([][]byte, batch), make([]int, batch)
	for i := range bufs {
		bufs[i] = memory[i*size : (i+1)*size : (i+1)*size]
	}
	return func(views [][]byte, addrs []netip.AddrPort) (int, error) {
		most := min(batch, len(views))
		n, err := c.ReadBatch(bufs[:most], sizes[:most], addrs[:most])
		for i := range n {
			views[i] = bufs[i][:sizes[i]]
		}
		return n, err
	}
}
