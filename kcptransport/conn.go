package kcptransport

import (
	"net"
	"net/netip"
	"time"
)

// PacketConn is the socket an [Endpoint] works on: UDP, in batches. The socket of internal/udp and that of netsim
// satisfy it. All methods may be called from any goroutine, several at once, except that only one reads.
//
// Addresses are unmapped: an IPv4 address is never written in the IPv6 form ::ffff:a.b.c.d.
//
// One that has a method ReadViews, with which package internal/views lets datagrams be seen where they lie, spares relays
// copying them.
type PacketConn interface {
	// ReadBatch blocks until at least one datagram is there. It fills bufs[i][:sizes[i]] from addrs[i] for i < n;
	// what does not fit into a buffer is cut off. The three slices have the same length. It keeps none of them.
	ReadBatch(bufs [][]byte, sizes []int, addrs []netip.AddrPort) (n int, err error)

	// WriteBatch sends bufs[i] to addrs[i] and returns how many were handed to the network. It keeps none of the
	// slices. What goes wrong with one destination (unreachable, not permitted) stops neither the others nor later
	// calls. Datagrams of equal size to one address that follow each other may leave in one system call.
	WriteBatch(bufs [][]byte, addrs []netip.AddrPort) (n int, err error)

	LocalAddr() net.Addr
	SetReadDeadline(t time.Time) error

	// Close makes a blocked ReadBatch return an error that wraps net.ErrClosed.
	Close() error
}

// ttlWriter is implemented by a PacketConn that can send a datagram with a time to live of its own, so that it opens
// the mapping in the own NAT and dies before it reaches the other one.
type ttlWriter interface {
	WriteTTL(b []byte, addr netip.AddrPort, ttl int) error
}

// settler is implemented by the sockets of simulated networks whose outcome must not depend on which goroutine runs
// first. Each loop calls the function that Settler returns before its turns; it returns when everybody else has done what
// there is to do at this instant of virtual time.
type settler interface {
	Settler() func()
}

// newSettle returns what a new loop of the endpoint calls before its turns.
func (e *Endpoint) newSettle() func() {
	if conn, ok := e.cfg.Conn.(settler); ok {
		return conn.Settler()
	}
	return func() {}
}
