//go:build !windows

package store

import (
	"math"
	"os"
)

func freeBytes(dir string) (int64, error) {
	blocks, size, err := statFree(dir)
	if err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	// FreeBSD reports a negative number when only root has room left.
	if blocks <= 0 || size <= 0 {
		return 0, nil
	}
	if blocks > math.MaxInt64/size {
		return math.MaxInt64, nil
	}
	return blocks * size, nil
}
