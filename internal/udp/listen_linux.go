package udp

import (
	"net"

	"golang.org/x/sys/unix"
)

// tune asks for larger socket buffers: with the right to (CAP_NET_ADMIN) beyond the system's limit, otherwise the system
// may give less. It also takes back the right to send broadcasts that package net gives every socket, because
// destinations come from peers, and a peer's lie must not shout at a whole network.
func tune(pc *net.UDPConn) {
	rc, err := pc.SyscallConn()
	if err != nil {
		return
	}
	_ = rc.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 0)
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
