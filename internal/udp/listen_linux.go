package udp

import (
	"net"

	"golang.org/x/sys/unix"
)

// raiseBuffers asks for larger socket buffers. With the right to (CAP_NET_ADMIN) it passes the system's limit,
// otherwise the system may give less.
func raiseBuffers(pc *net.UDPConn) {
	rc, err := pc.SyscallConn()
	if err != nil {
		return
	}
	_ = rc.Control(func(fd uintptr) {
		raise(int(fd), unix.SO_RCVBUF, unix.SO_RCVBUFFORCE)
		raise(int(fd), unix.SO_SNDBUF, unix.SO_SNDBUFFORCE)
	})
}

func raise(fd, opt, force int) {
	if have, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, opt); err == nil && have >= bufferSize {
		return
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, bufferSize) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, bufferSize)
	}
}
