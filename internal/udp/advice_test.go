package udp

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// The advice fits the system that the error is of.
func TestAdvice(t *testing.T) {
	failed := func(err syscall.Errno) error {
		return &net.OpError{Op: "listen", Net: "udp", Err: os.NewSyscallError("bind", err)}
	}
	for _, c := range []struct {
		err        error
		want, lack string
	}{
		{failed(syscall.EADDRNOTAVAIL), "no address of this machine", "port 0"},
		{failed(10049), "no address of this machine", "port 0"},
		{failed(syscall.EACCES), "from 1024 on", "Windows"},
		{failed(10013), "Windows reserves it", "1024"},
		{failed(syscall.EADDRINUSE), "is the port taken?", "Windows"},
		{failed(10048), "is the port taken?", "1024"}, // WSAEADDRINUSE
		{&net.DNSError{Err: "no such host", Name: "nowhere"}, "address of this machine is wanted", "port 0"},
	} {
		if got := advice(c.err); !strings.Contains(got, c.want) || strings.Contains(got, c.lack) {
			t.Errorf("%v: %q", c.err, got)
		}
	}
}
