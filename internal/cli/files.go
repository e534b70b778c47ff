package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// readLimited reads a file of at most limit bytes.
func readLimited(name string, limit int) (_ []byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return readAll(f, name, limit)
}

// readAll reads all of r, which must not be longer than limit bytes.
func readAll(r io.Reader, name string, limit int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	var named *fs.PathError
	if errors.As(err, &named) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > limit {
		return nil, fmt.Errorf("%s is longer than %d MB", name, limit>>20)
	}
	return data, nil
}
