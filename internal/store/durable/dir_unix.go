//go:build !windows

package durable

import (
	"errors"
	"os"
)

// SyncDir makes creations, renames and removals in the directory dir survive a power loss.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
