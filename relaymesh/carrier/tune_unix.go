//go:build linux || darwin

package carrier

import (
	"net"

	"golang.org/x/sys/unix"
)

// keepLittle limits what was not sent, and not what is on its way: that is up to the path.
func keepLittle(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent) // without it more waits unseen
	})
}
