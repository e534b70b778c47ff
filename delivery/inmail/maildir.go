package inmail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrTooLarge says that a mail has more bytes than are read.
var ErrTooLarge = errors.New("mail too large")

// ErrKeep is what a function returns to Maildir to leave a mail for the next time and go on.
var ErrKeep = errors.New("the mail is kept for later")

// ReadLimited reads a mail of at most limit bytes. The error is ErrTooLarge, or of the reader.
func ReadLimited(r io.Reader, limit int) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > limit {
		return nil, ErrTooLarge
	}
	return raw, nil
}

// Maildir hands every mail of a Maildir, in the order of its file names, to a function, and removes those for which the function
// returns nil. At ErrKeep it leaves the mail where it is; at any other error it stops and returns it; what has not been handled stays for the
// next time. Mails that are larger than limit are given as nil. Nothing but regular files is looked at, and no link is followed.
func Maildir(ctx context.Context, dir string, limit int, handle func(raw []byte) error) error {
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if errors.Is(err, fs.ErrNotExist) && sub == "cur" {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the Maildir: %w", err)
		}
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !e.Type().IsRegular() {
				continue
			}
			if err := one(filepath.Join(dir, sub, e.Name()), limit, handle); err != nil {
				return err
			}
		}
	}
	return nil
}

func one(name string, limit int, handle func(raw []byte) error) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a mail program has taken it
	}
	if err != nil {
		return fmt.Errorf("read the Maildir: %w", err)
	}
	raw, err := ReadLimited(f, limit)
	if errors.Is(err, ErrTooLarge) {
		raw, err = nil, nil
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("read the Maildir: %w", err)
	}
	switch err := handle(raw); {
	case errors.Is(err, ErrKeep):
		return nil
	case err != nil:
		return err
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove a mail from the Maildir: %w", err)
	}
	return nil
}
