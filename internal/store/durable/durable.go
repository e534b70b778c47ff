// Package durable writes small files so that a crash leaves either the old or the new content, never a mixture.
//
// It is meant for keys, configuration and state files of up to a few megabytes. Large or frequent data belongs
// in package store.
package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// WriteFile replaces the file path by data with mode perm. After it returns nil the new content survives a power
// loss. When it returns an error or the machine stops inside, path holds either the old content or the new one.
//
// The sequence is: temporary file in the same directory, write, fsync, rename, fsync of the directory. The
// temporary file is removed on error. After a crash a file whose name begins with a dot and ends in ".tmp" may be
// left over: it is never read and may be deleted.
func WriteFile(path string, data []byte, perm os.FileMode) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := install(f, path, data, perm); err != nil {
		if rerr := os.Remove(f.Name()); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := SyncDir(dir); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func install(f *os.File, path string, data []byte, perm os.FileMode) error {
	err := func() error {
		if err := f.Chmod(perm); err != nil {
			return err
		}
		if _, err := f.Write(data); err != nil {
			return err
		}
		return f.Sync()
	}()
	if cerr := f.Close(); err != nil || cerr != nil {
		return errors.Join(err, cerr)
	}
	// The commit point: a crash before leaves the old content, a crash after may leave either until the
	// directory is synced.
	return os.Rename(f.Name(), path)
}

// Overwrite replaces the contents of a file by zeros, in place, before it is unlinked. On disks that write elsewhere the old blocks may
// survive; the operator guide says what helps.
func Overwrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.Write(make([]byte, info.Size()))
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
