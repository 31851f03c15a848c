//go:build !linux

package udp

import (
	"net"
	"sync/atomic"
)

// newBatcher returns nil: this system moves one packet at a time.
func newBatcher(*net.UDPConn, *atomic.Uint64) engine { return nil }

// tune asks for larger socket buffers; the system may give less.
func tune(pc *net.UDPConn) {
	_ = pc.SetReadBuffer(bufferSize)
	_ = pc.SetWriteBuffer(bufferSize)
}
