package mbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
)

// File are the users in a file that is read again when the file changes.
type File struct {
	path string
	log  *slog.Logger

	mu    sync.Mutex
	users *Users
	seen  fs.FileInfo // of the version that was looked at last, good or not; nil: it was not there
}

// Open reads a file. Its error names the file and the lines that are wrong. log may be nil.
func Open(path string, log *slog.Logger) (*File, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f := &File{path: path, log: log}
	var err error
	if f.users, f.seen, err = read(path); err != nil {
		return nil, err
	}
	return f, nil
}

// Address returns where the mail of a user goes by the file as it is now. As long as it is damaged or away, what was read last holds; the
// log says so once.
func (f *File) Address(name []byte) (string, bool) {
	f.mu.Lock()
	f.refresh()
	users := f.users
	f.mu.Unlock()
	return users.Address(name)
}

func (f *File) refresh() {
	now, err := os.Stat(f.path)
	switch {
	case err != nil && f.seen == nil:
		return
	case err == nil && f.seen != nil && same(now, f.seen):
		return
	case err != nil:
		f.seen = nil
		f.log.Error("the address file cannot be read; the users that were read last stay", "error", err)
		return
	}
	users, seen, err := read(f.path)
	if f.seen = seen; f.seen == nil {
		f.seen = now
	}
	if err != nil {
		f.log.Error("the address file is wrong; the users that were read last stay", "error", err)
		return
	}
	f.users = users
	f.log.Info("read the address file again")
}

// same reports whether two looks at a file saw the same version.
func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func read(path string) (_ *Users, _ fs.FileInfo, err error) {
	// A pipe would hold up the start of the mix.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, info, fmt.Errorf("address file: %w", &fs.PathError{Op: "read", Path: path, Err: errors.New("it is no plain file")})
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("address file: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("address file: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(file, MaxFile+1))
	if err != nil {
		return nil, info, fmt.Errorf("address file: %w", err)
	}
	users, err := Parse(text)
	if err != nil {
		return nil, info, fmt.Errorf("address file %s: %w", path, err)
	}
	return users, info, nil
}
