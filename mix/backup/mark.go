package backup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"mixminion/internal/store/durable"
)

// MarkFile is a file in a base directory that must not be used. It says why, and what to do.
const MarkFile = "unusable"

// ErrUnusable means that a base directory has a mark: its keys were given away, or it is not whole.
var ErrUnusable = errors.New("this base directory must not be used")

// maxMark bounds the text of a mark.
const maxMark = 4096

// CheckMark returns an error that wraps ErrUnusable, with the text of the mark, if the base directory has one.
func CheckMark(base string) (err error) {
	f, err := os.Open(filepath.Join(base, MarkFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text, err := io.ReadAll(io.LimitReader(f, maxMark))
	if err != nil {
		return err
	}
	return fmt.Errorf("%w (%s): %s", ErrUnusable, f.Name(), string(text))
}

// SetMark marks a base directory, for good: it returns when the mark would survive a power failure.
func SetMark(base, why string) error {
	return durable.WriteFile(filepath.Join(base, MarkFile), []byte(why), 0o600)
}

// ClearMark removes the mark.
func ClearMark(base string) error {
	if err := os.Remove(filepath.Join(base, MarkFile)); err != nil {
		return err
	}
	return durable.SyncDir(base)
}
