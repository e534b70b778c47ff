// Package lockfile lets one process at a time use a directory, by a lock on a file in it.
//
// The lock is one of the operating system (flock, LockFileEx): it ends with the process, however that dies, and a file that is left
// over locks nothing.
package lockfile

import (
	"errors"
	"fmt"
	"os"
)

// ErrHeld means that another process, or another call in this one, holds the lock.
var ErrHeld = errors.New("locked by another process")

// Try locks the file name, which it makes if it is missing, and does not wait. Closing the file gives the lock back; the file stays.
// The error wraps ErrHeld, or is one of the operating system.
func Try(name string) (*os.File, error) {
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := try(f); err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
		}
		same, err := isNow(f, name)
		if same && err == nil {
			return f, nil
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
	}
}

// isNow reports whether f is still the file of this name. Mixminion 0.0.8 deletes its lock file when it has done, perhaps between
// our opening and locking it.
func isNow(f *os.File, name string) (bool, error) {
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Stat(name)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(mine, now), err
}
