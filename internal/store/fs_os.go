package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"mixminion/internal/store/durable"
	"mixminion/internal/store/lockfile"
)

// stampTime is the modification time of every file that is no longer written: a date that says nothing.
var stampTime = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)

func (osFS) OpenFile(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, noteFull(err)
	}
	return osFile{f}, nil
}

func (osFS) Mkdir(name string) error {
	err := os.Mkdir(name, 0o700)
	if err == nil || !errors.Is(err, os.ErrExist) {
		return noteFull(err)
	}
	info, serr := os.Stat(name)
	if serr != nil {
		return serr
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory: %w", name, os.ErrExist)
	}
	return nil
}

func (osFS) ReadDir(name string) ([]string, error) {
	d, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	return names, errors.Join(err, d.Close())
}

func (osFS) Rename(oldName, newName string) error { return noteFull(os.Rename(oldName, newName)) }

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) SyncDir(name string) error { return durable.SyncDir(name) }

func (osFS) Stamp(name string) error { return os.Chtimes(name, stampTime, stampTime) }

func (osFS) Free(name string) (int64, error) { return freeBytes(name) }

func (osFS) Lock(name string) (io.Closer, error) {
	f, err := lockfile.Try(name)
	if errors.Is(err, lockfile.ErrHeld) {
		return nil, fmt.Errorf("lock %s: %w", name, ErrLocked)
	}
	if err != nil {
		return nil, noteFull(err)
	}
	return f, nil
}

func (f osFile) WriteAt(b []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(b, off)
	return n, noteFull(err)
}

func (f osFile) Truncate(size int64) error { return noteFull(f.File.Truncate(size)) }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) Sync() error { return syncData(f.File) }

func noteFull(err error) error {
	if err != nil && durable.NoSpace(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
