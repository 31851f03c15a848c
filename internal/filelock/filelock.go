// Package filelock keeps two processes from using the same thing at once.
//
// The lock is the operating system's: it goes when the process ends, however
// it ends, so that nothing stale is left behind. The file stays.
package filelock

import (
	"errors"
	"fmt"
	"os"
)

// ErrLocked is returned when another process, or another caller in this one,
// holds the lock.
var ErrLocked = errors.New("filelock: locked by another process")

// TryLock takes the lock on the file at path, making the file when it is
// missing, and returns how to give it up. It does not wait.
func TryLock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("filelock: %w", err)
	}
	if err := Lock(f); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// Lock takes the lock of an open file, or fails with ErrLocked. It does not
// wait. Closing the file gives the lock up. On a file system without locks
// everybody gets it.
func Lock(f *os.File) error { return lock(f) }
