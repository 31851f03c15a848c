//go:build !linux && !darwin

package carrier

import "net"

// sendBuffer is what the system keeps where it cannot be told to keep little unsent: what is on its way counts, too.
const sendBuffer = 128 << 10

func keepLittle(c *net.TCPConn) { _ = c.SetWriteBuffer(sendBuffer) }
