//go:build !windows

package cli

import (
	"io/fs"
	"os"
	"syscall"
)

// foreignOwner returns the user that a file belongs to, and whether that is another one than ours.
func foreignOwner(info fs.FileInfo) (owner uint32, foreign bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return stat.Uid, int64(stat.Uid) != int64(os.Geteuid())
}
