//go:build !windows

package udp

import (
	"errors"
	"slices"
	"syscall"
)

// transient errors of a read tell what became of an earlier packet, or that the call was interrupted; the next read
// may succeed.
var transient = []syscall.Errno{
	syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN,
	syscall.ENETDOWN, syscall.EPERM, syscall.EACCES, syscall.EMSGSIZE, syscall.ENOPROTOOPT, syscall.EPROTO,
	syscall.EINTR,
}

func isTransient(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && slices.Contains(transient, errno)
}
