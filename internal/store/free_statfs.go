//go:build !windows && !netbsd && !openbsd

package store

import "golang.org/x/sys/unix"

// statFree returns how many blocks of which size are free. The types of the fields differ between systems.
func statFree(dir string) (blocks, size int64, err error) {
	var st unix.Statfs_t
	err = unix.Statfs(dir, &st)
	return int64(st.Bavail), int64(st.Bsize), err
}
