package authority

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"mixminion/internal/store/durable"
)

// errTooLong says that a document is longer than anything that may stand there.
var errTooLong = errors.New("the document is too long")

// A shelf is the directory of the documents that are published. The files are named as at the URL base, so any web server can serve a
// copy of the directory. What the shelf itself serves is visible only once it is safely on the disk: nobody has seen a document that a
// crash can take back.
type shelf struct {
	dir string

	mu     sync.RWMutex
	names  map[string]bool
	pinned map[string][]byte // documents that change together are served from memory
}

func openShelf(dir string) (*shelf, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of published documents: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the published documents: %w", err)
	}
	s := &shelf{dir: dir, names: map[string]bool{}, pinned: map[string][]byte{}}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".tmp") {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return nil, fmt.Errorf("remove what a crash left over: %w", err)
			}
			continue
		}
		if _, _, ok := documentDay(name); ok {
			s.names[name] = true
		}
	}
	// What lies there may have been renamed without being synced, just before a crash; from now on it is seen.
	if err := durable.SyncDir(dir); err != nil {
		return nil, fmt.Errorf("sync the published documents: %w", err)
	}
	return s, nil
}

// put publishes a document as it is.
func (s *shelf) put(name string, data []byte) error {
	if err := durable.WriteFile(filepath.Join(s.dir, name), data, 0o644); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[name] = true
	return nil
}

// putText publishes a text, compressed.
func (s *shelf) putText(name string, text []byte) error {
	data, err := compress(text)
	if err != nil {
		return err
	}
	return s.put(name, data)
}

// pin publishes documents that belong together, so that nobody gets one of them old and another new from us. The files are for mirrors.
func (s *shelf) pin(docs map[string][]byte) error {
	for name, data := range docs {
		path := filepath.Join(s.dir, name)
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
			continue
		}
		if err := replaceFile(path, data, 0o644); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, data := range docs {
		s.pinned[name] = data
	}
	return nil
}

func (s *shelf) has(name string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.names[name] || s.pinned[name] != nil
}

// open opens a document as it is served, and says how long it is. The error matches fs.ErrNotExist if there is none. A
// file that is replaced meanwhile is read to its end.
func (s *shelf) open(name string) (_ io.ReadCloser, size int64, err error) {
	s.mu.RLock()
	data, known := s.pinned[name], s.names[name]
	s.mu.RUnlock()
	switch {
	case data != nil:
		return io.NopCloser(bytes.NewReader(data)), int64(len(data)), nil
	case !known:
		return nil, 0, fs.ErrNotExist
	}
	f, err := os.Open(filepath.Join(s.dir, name))
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// get returns a document as it is served. The error matches fs.ErrNotExist if there is none.
func (s *shelf) get(name string) ([]byte, error) {
	s.mu.RLock()
	data, known := s.pinned[name], s.names[name]
	s.mu.RUnlock()
	switch {
	case data != nil:
		return data, nil
	case !known:
		return nil, fs.ErrNotExist
	}
	return os.ReadFile(filepath.Join(s.dir, name))
}

// text returns a document without its compression.
func (s *shelf) text(name string) ([]byte, error) {
	data, err := s.get(name)
	if err != nil {
		return nil, err
	}
	return decompress(data, maxDocument)
}

// list returns the names of all documents but the pinned ones, sorted.
func (s *shelf) list() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]string, 0, len(s.names))
	for name := range s.names {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func (s *shelf) remove(name string) error {
	s.mu.Lock()
	delete(s.names, name)
	s.mu.Unlock()
	if err := os.Remove(filepath.Join(s.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// replaceFile replaces a file at once, so that nobody sees half of it. It does not wait for the disk: a power loss may take the new
// content, or all of it. It is for what can be made again.
func replaceFile(path string, data []byte, perm os.FileMode) error {
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp")
	if err := os.WriteFile(tmp, data, perm); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func compress(text []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// decompress undoes gzip and fails with errTooLong rather than give more than limit bytes.
func decompress(data []byte, limit int64) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("decompress: %w", errTooLong)
	}
	return text, nil
}
