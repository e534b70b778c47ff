// Package livefile reads files of the operator that count as they are now: each is read again when it changes.
package livefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"mixminion/internal/logging"
)

// A File is what is written in a file, as a T. It may be used by several goroutines.
type File[T any] struct {
	path  string
	parse func(text []byte) (T, error)
	log   *slog.Logger

	mu    sync.Mutex
	value T
	seen  fs.FileInfo // of the version that was looked at last, good or not; nil: it was not there
}

// Open reads a file. parse gets at most one byte more than MaxFile, and has to refuse that, as Lines does. Errors name the file, and wrap that
// of parse. log may be nil.
func Open[T any](path string, parse func(text []byte) (T, error), log *slog.Logger) (*File[T], error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f := &File[T]{path: path, parse: parse, log: log}
	var err error
	if f.value, f.seen, err = f.read(); err != nil {
		return nil, err
	}
	return f, nil
}

// Value returns what the file says now. As long as it is damaged or away, what was read last holds; the log says so once.
func (f *File[T]) Value() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh()
	return f.value
}

func (f *File[T]) refresh() {
	now, err := os.Stat(f.path)
	switch {
	case err != nil && f.seen == nil:
		return
	case err == nil && f.seen != nil && same(now, f.seen):
		return
	case err != nil:
		f.seen = nil
		f.log.Error("a file of the configuration cannot be read; what was read last stays in force", "error", err)
		return
	}
	value, seen, err := f.read()
	if f.seen = seen; f.seen == nil {
		f.seen = now
	}
	if err != nil {
		f.log.Error("a file of the configuration is wrong; what was read last stays in force", "error", err)
		return
	}
	f.value = value
	f.log.Info("read a file of the configuration again", "file", logging.Public(f.path))
}

// same reports whether two looks at a file saw the same version.
func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// read may return what it saw of the file with an error, too.
func (f *File[T]) read() (value T, seen fs.FileInfo, err error) {
	// A pipe would hold up the start of the mix.
	if info, err := os.Stat(f.path); err == nil && !info.Mode().IsRegular() {
		return value, info, &fs.PathError{Op: "read", Path: f.path, Err: errors.New("it is no plain file")}
	}
	file, err := os.Open(f.path)
	if err != nil {
		return value, nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return value, nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, MaxFile+1))
	if err != nil {
		return value, info, err
	}
	if value, err = f.parse(text); err != nil {
		return value, info, fmt.Errorf("%s: %w", f.path, err)
	}
	return value, info, nil
}
