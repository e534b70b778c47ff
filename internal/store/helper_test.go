package store_test

import (
	"os"
	"testing"

	"mixminion/internal/store"
	"mixminion/internal/store/crashfs"
)

func readAll(t *testing.T, fs store.FS, name string) []byte {
	t.Helper()
	f, err := fs.OpenFile(name, os.O_RDONLY)
	must(t, err)
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	if size > 0 {
		if _, err := f.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
	}
	must(t, f.Close())
	return b
}

// writeAll replaces a file, durably.
func writeAll(t *testing.T, fs store.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	must(t, err)
	_, err = f.WriteAt(b, 0)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}

// files is the content of the two directories of a store and its replay log.
type files map[string][]byte

func takeFiles(t *testing.T, fs store.FS) files {
	t.Helper()
	all := files{}
	for _, dir := range []string{storeDir, logDir} {
		names, err := fs.ReadDir(dir)
		must(t, err)
		for _, name := range names {
			all[dir+"/"+name] = readAll(t, fs, dir+"/"+name)
		}
	}
	return all
}

// disk returns a disk with these files.
func (all files) disk(t *testing.T) *crashfs.FS {
	t.Helper()
	fs := crashfs.New()
	for _, dir := range []string{storeDir, logDir} {
		must(t, fs.Mkdir(dir))
	}
	for name, b := range all {
		writeAll(t, fs, name, b)
	}
	return fs
}

// hookFS calls onSync before each sync of a file.
type hookFS struct {
	*crashfs.FS
	onSync func()
}

type hookFile struct {
	store.File
	fs *hookFS
}

func (h *hookFS) OpenFile(name string, flag int) (store.File, error) {
	f, err := h.FS.OpenFile(name, flag)
	if err != nil {
		return nil, err
	}
	return hookFile{f, h}, nil
}

func (f hookFile) Sync() error {
	if hook := f.fs.onSync; hook != nil {
		hook()
	}
	return f.File.Sync()
}
