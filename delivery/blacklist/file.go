package blacklist

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
)

// File is a list in a file that is read again when the file changes.
type File struct {
	path string
	log  *slog.Logger

	mu   sync.Mutex
	list *List
	seen fs.FileInfo // of the version that was looked at last, good or not; nil: it was not there
}

// Open reads a file. Its error names the file and the lines that are wrong. log may be nil.
func Open(path string, log *slog.Logger) (*File, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f := &File{path: path, log: log}
	var err error
	f.list, f.seen, err = read(path)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Blocked reports whether the file, as it is now, denies a mailbox. As long as it is damaged or away, what was read last holds; the log
// says so once.
func (f *File) Blocked(addr string) bool {
	f.mu.Lock()
	f.refresh()
	list := f.list
	f.mu.Unlock()
	return list.Blocked(addr)
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
		f.log.Error("the blacklist cannot be read; the rules that were read last stay in force", "error", err)
		return
	}
	list, seen, err := read(f.path)
	if f.seen = seen; f.seen == nil {
		f.seen = now
	}
	if err != nil {
		f.log.Error("the blacklist is wrong; the rules that were read last stay in force", "error", err)
		return
	}
	f.list = list
	f.log.Info("read the blacklist again")
}

// same reports whether two looks at a file saw the same version.
func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func read(path string) (_ *List, _ fs.FileInfo, err error) {
	// A pipe would hold up the start of the mix.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, info, fmt.Errorf("read the blacklist: %w", &fs.PathError{Op: "read", Path: path, Err: errors.New("it is no plain file")})
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read the blacklist: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("read the blacklist: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(file, MaxFile+1))
	if err != nil {
		return nil, info, fmt.Errorf("read the blacklist: %w", err)
	}
	list, err := Parse(text)
	if err != nil {
		return nil, info, fmt.Errorf("%s: %w", path, err)
	}
	return list, info, nil
}
