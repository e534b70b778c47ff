//go:build !windows

package durable

import (
	"errors"

	"golang.org/x/sys/unix"
)

// NoSpace reports whether err says that the disk, or the user's share of it, is full.
func NoSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// ReadOnly reports whether err says that a file or directory may not be changed.
func ReadOnly(err error) bool {
	return errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)
}
