package udp

import (
	"errors"
	"slices"
	"syscall"

	"golang.org/x/sys/windows"
)

// transient errors of a read tell what became of an earlier packet (a reset is an ICMP "port unreachable"), or that
// a datagram was longer than its buffer, in which case Windows hands over no address; the next read may succeed.
var transient = []syscall.Errno{
	windows.WSAECONNRESET, windows.WSAECONNREFUSED, windows.WSAENETRESET, windows.WSAENETUNREACH,
	windows.WSAEHOSTUNREACH, windows.WSAENETDOWN, windows.WSAEHOSTDOWN, windows.WSAEMSGSIZE, windows.WSAEACCES,
	windows.WSAEINTR,
}

func isTransient(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && slices.Contains(transient, errno)
}
