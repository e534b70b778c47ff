package store

import "golang.org/x/sys/unix"

func statFree(dir string) (blocks, size int64, err error) {
	var st unix.Statfs_t
	err = unix.Statfs(dir, &st)
	return st.F_bavail, int64(st.F_bsize), err
}
