package store

import (
	"math"

	"golang.org/x/sys/unix"
)

func statFree(dir string) (blocks, size int64, err error) {
	var st unix.Statvfs_t
	err = unix.Statvfs(dir, &st)
	return int64(min(st.Bavail, math.MaxInt64)), int64(st.Frsize), err
}
