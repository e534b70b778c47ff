//go:build unix && !openbsd && !netbsd

package checkup

import "golang.org/x/sys/unix"

func openFiles() (uint64, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	return uint64(l.Max), nil // the Go runtime raises its limit as far as it may
}
