package carrier

import (
	"crypto/tls"
	"net"
	"time"
)

const (
	unsent       = 16 << 10              // bytes that the system keeps of a connection before it sends them
	writePortion = 32 << 10              // bytes that are written at a time
	longWait     = 20 * time.Millisecond // of packets, at which who sends them is to slow down
)

// Tune has the system keep little of what is written to a connection and not sent yet. So packets wait here, where it is seen how
// long they do, and not there. Conn does so with what it dials and what Serve accepts; a server that passes requests to ServeHTTP does
// it itself, in http.Server.ConnContext. Connections of a kind that has no such option stay as they are.
func Tune(c net.Conn) {
	switch t := c.(type) {
	case interface{ SetNotSent(bytes int) error }: // a simulated one
		_ = t.SetNotSent(unsent)
	case *net.TCPConn:
		keepLittle(t)
	case *tls.Conn:
		Tune(t.NetConn())
	}
}
