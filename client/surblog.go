package client

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"mixminion/internal/crypt"
	"mixminion/internal/store/durable"
	"mixminion/internal/store/lockfile"
	"mixminion/packet"
)

// Errors of the log of used reply blocks.
var (
	// ErrSURBUsed says that a reply block was used before. A second packet through it would let the mixes link the two.
	ErrSURBUsed = errors.New("a reply block was used before")
	// ErrSURBLog says that the log cannot be read, so that nobody can tell which reply blocks were used.
	ErrSURBLog = errors.New("the log of used reply blocks cannot be read")
)

const (
	surbsDir     = "surbs"
	surbLogFile  = "used"
	surbLockFile = "used.lock"
	// surbLogHead is the first line of the log. The others are: id in hexadecimal, blank, expiry in seconds since 1970.
	surbLogHead = "used reply blocks 1"
	maxSURBLog  = 64 << 20
	// keepUsed is how long an expired block stays in the log, so that a clock that was wrong for a while does no harm.
	keepUsed = 30 * 24 * time.Hour
	// lockPause is the time between two attempts to lock the log. Nobody holds it longer than a write takes.
	lockPause = 10 * time.Millisecond
)

// A SURBLog says which reply blocks were used.
type SURBLog struct {
	used map[crypt.Digest]time.Time // id to expiry
}

// Used reports whether the reply block with this ID was used.
func (l *SURBLog) Used(id crypt.Digest) bool {
	_, ok := l.used[id]
	return ok
}

// UsedSURBs reads the log of used reply blocks, and that of Mixminion 0.0.8 if there is one. The error wraps ErrSURBLog if one of them
// is damaged or of another kind.
func (c *Client) UsedSURBs() (*SURBLog, error) {
	log := &SURBLog{used: map[crypt.Digest]time.Time{}}
	old, err := readOldSURBLog(c.path(surbsDir))
	if err != nil {
		return nil, err
	}
	maps.Copy(log.used, old)
	mine, err := c.readSURBLog()
	if err != nil {
		return nil, err
	}
	maps.Copy(log.used, mine)
	return log, nil
}

// MarkUsed writes down, durably, that reply blocks are used. If one of them is used already, or comes twice, it marks none of
// them and returns an error that wraps ErrSURBUsed. PrepareReply calls it.
func (c *Client) MarkUsed(ctx context.Context, surbs ...*packet.SURB) (err error) {
	if err := os.MkdirAll(c.path(surbsDir), 0o700); err != nil {
		return fmt.Errorf("mark reply blocks as used: %w", explain(err))
	}
	lock, err := waitLock(ctx, c.path(surbsDir, surbLockFile))
	if err != nil {
		return fmt.Errorf("mark reply blocks as used: %w", explain(err))
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	all, err := c.UsedSURBs()
	if err != nil {
		return err
	}
	mine, err := c.readSURBLog()
	if err != nil {
		return err
	}
	fresh := make(map[crypt.Digest]time.Time, len(surbs))
	for _, s := range surbs {
		id := s.ID()
		if all.Used(id) {
			return ErrSURBUsed
		}
		all.used[id], mine[id], fresh[id] = s.Expires, s.Expires, s.Expires
	}
	// Either log suffices here; the old one is kept up for whoever goes back to 0.0.8.
	if err := addToOldSURBLog(c.path(surbsDir), fresh); err != nil {
		return fmt.Errorf("mark reply blocks as used: %w", explain(err))
	}
	limit := c.clock.Now().Add(-keepUsed)
	maps.DeleteFunc(mine, func(_ crypt.Digest, expires time.Time) bool { return expires.Before(limit) })
	if err := durable.WriteFile(c.path(surbsDir, surbLogFile), formatSURBLog(mine), 0o600); err != nil {
		return fmt.Errorf("mark reply blocks as used: %w", explain(err))
	}
	// When exactly the user answered somebody is nobody's business. What matters of the files is safe.
	for _, name := range []string{surbLogFile, surbLockFile, oldSURBLog + ".dir", oldSURBLog + ".dat", "."} {
		_ = os.Chtimes(c.path(surbsDir, name), c.today(), c.today())
	}
	return nil
}

func waitLock(ctx context.Context, name string) (*os.File, error) {
	for {
		lock, err := lockfile.Try(name)
		if !errors.Is(err, lockfile.ErrHeld) {
			return lock, err
		}
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// formatSURBLog sorts by id, so that the file does not tell the order of use.
func formatSURBLog(used map[crypt.Digest]time.Time) []byte {
	out := append([]byte(surbLogHead), '\n')
	for _, id := range slices.SortedFunc(maps.Keys(used), func(a, b crypt.Digest) int { return bytes.Compare(a[:], b[:]) }) {
		out = fmt.Appendf(out, "%x %d\n", id, used[id].Unix())
	}
	return out
}

func (c *Client) readSURBLog() (map[crypt.Digest]time.Time, error) {
	text, err := readBounded(c.path(surbsDir, surbLogFile), maxSURBLog)
	if errors.Is(err, fs.ErrNotExist) {
		return map[crypt.Digest]time.Time{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSURBLog, err)
	}
	used, err := parseSURBLog(string(text))
	if err != nil {
		return nil, fmt.Errorf("%w: %s/%s: %w; delete it when all reply blocks that you ever used are expired", ErrSURBLog, surbsDir, surbLogFile, err)
	}
	return used, nil
}

func parseSURBLog(text string) (map[crypt.Digest]time.Time, error) {
	head, text, ok := strings.Cut(text, "\n")
	if !ok || head != surbLogHead {
		return nil, errors.New("damaged, or of a newer version")
	}
	used := map[crypt.Digest]time.Time{}
	for n := 2; text != ""; n++ {
		line, rest, ok := strings.Cut(text, "\n")
		id, at, ok2 := strings.Cut(line, " ")
		key, err := parseDigest(id)
		expires, err2 := parseUnix(at)
		if !ok || !ok2 || err != nil || err2 != nil {
			return nil, fmt.Errorf("line %d is damaged", n)
		}
		used[key], text = expires, rest
	}
	return used, nil
}

func parseDigest(s string) (d crypt.Digest, err error) {
	if len(s) != hex.EncodedLen(len(d)) {
		return d, errors.New("not an id of a reply block")
	}
	_, err = hex.Decode(d[:], []byte(s))
	return d, err
}

// parseUnix reads seconds since 1970 as they stand in a reply block.
func parseUnix(s string) (time.Time, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return time.Unix(int64(n), 0).UTC(), err
}

// readBounded reads a file of at most limit bytes.
func readBounded(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s is longer than %d MB", name, limit>>20)
	}
	return os.ReadFile(name)
}
