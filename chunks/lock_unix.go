//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package chunks

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes the lock of f without waiting. The system drops it when the process ends, however it ends.
func tryLock(f *os.File) (held bool, err error) {
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.ENOSYS):
			return true, nil // a file system without locks: better unprotected than unusable
		}
		return false, &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
}

func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
