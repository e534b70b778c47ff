package dirclient

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mixminion/directory"
	"mixminion/internal/store/durable"
	"mixminion/internal/store/lockfile"
)

// ErrHeld says that the directory on disk cannot be used. A download replaces it.
var ErrHeld = errors.New("the directory that is held cannot be used; download it again")

// What is held lies in three files: the directory as it was downloaded, its detached signatures in a file that is named
// after it, and the day of the last download. The rename of the first one replaces the old pair by the new one.
const (
	heldName  = "dir.gz"
	sigPrefix = "dir-"
	dayName   = "dir.day"
	lockName  = "dir.lock"

	dayLayout = "2006-01-02"
)

func sigName(gz []byte) string {
	hash := sha256.Sum256(gz)
	return sigPrefix + hex.EncodeToString(hash[:8]) + directory.SignatureSuffix
}

// load reads and verifies what is held. It returns nil if nothing is.
func load(dir string, trusted []directory.Authority, now time.Time) (*Consensus, error) {
	gz, err := readFile(filepath.Join(dir, heldName), maxCompressed)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the directory: %w", err)
	}
	sig, err := readFile(filepath.Join(dir, sigName(gz)), directory.MaxDetachedLen)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: its detached signatures are missing", ErrHeld)
	}
	if err != nil {
		return nil, fmt.Errorf("read the signatures of the directory: %w", err)
	}
	c, err := Judge(gz, sig, trusted, now)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHeld, err)
	}
	return c, nil
}

// save replaces what is held.
func save(dir string, c *Consensus) error {
	name := sigName(c.gz)
	if err := durable.WriteFile(filepath.Join(dir, name), c.sig, 0o600); err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(dir, heldName), c.gz, 0o600); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, sigPrefix+"*"+directory.SignatureSuffix))
	if err != nil {
		return err
	}
	for _, path := range old {
		if filepath.Base(path) != name {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove old signatures: %w", err)
			}
		}
	}
	return nil
}

// readDay returns the day of the last download, zero if there was none or the file is damaged: then it is simply time for another one.
func readDay(dir string) time.Time {
	text, err := readFile(filepath.Join(dir, dayName), 64)
	if err != nil {
		return time.Time{}
	}
	day, err := time.Parse(dayLayout, strings.TrimSpace(string(text)))
	if err != nil {
		return time.Time{}
	}
	return day
}

// saveDay notes the day of a download, not the time, which nobody needs to know.
func saveDay(dir string, now time.Time) error {
	return durable.WriteFile(filepath.Join(dir, dayName), []byte(midnight(now).Format(dayLayout)+"\n"), 0o600)
}

func readFile(path string, limit int64) (data []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if data, err = io.ReadAll(io.LimitReader(f, limit+1)); err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: %w", path, ErrTooLarge)
	}
	return data, nil
}

// lockPoll is how often a process looks whether another one has finished writing.
const lockPoll = 50 * time.Millisecond

// lock lets one process at a time replace what is held.
func lock(ctx context.Context, dir string) (unlock func() error, err error) {
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for {
		f, err := lockfile.Try(filepath.Join(dir, lockName))
		if err == nil {
			return f.Close, nil
		}
		if !errors.Is(err, lockfile.ErrHeld) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
		}
	}
}
