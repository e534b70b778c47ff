package client

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"mixminion/internal/crypt"
	"mixminion/internal/store/durable"
)

// The log of Mixminion 0.0.8 is a database of whatever kind its Python had. One of them is simple enough to be read here: "dumbdbm", an
// index of lines and a file that the index points into.
const (
	oldSURBLog = "log"
	maxOldLog  = 16 << 20
)

// oldIndexLine is 'key', (position, length).
var oldIndexLine = regexp.MustCompile(`^'([0-9a-f]{40}|LAST_CLEANED)', \(([0-9]{1,9}), ([0-9]{1,3})\)$`)

// readOldSURBLog reads the log of Mixminion 0.0.8 in dir. Without one it returns nothing.
func readOldSURBLog(dir string) (map[crypt.Digest]time.Time, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSURBLog, err)
	}
	if !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), oldSURBLog) }) {
		return nil, nil
	}
	used, err := readDumbdbm(filepath.Join(dir, oldSURBLog))
	if err != nil {
		return nil, fmt.Errorf("%w: %s/%s* of Mixminion 0.0.8: %w; delete these files when all reply blocks that you used with it are expired",
			ErrSURBLog, surbsDir, oldSURBLog, err)
	}
	return used, nil
}

func readDumbdbm(base string) (map[crypt.Digest]time.Time, error) {
	index, err := readBounded(base+".dir", maxOldLog)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("they are in a database format that only Python can read")
	}
	if err != nil {
		return nil, err
	}
	data, err := readBounded(base+".dat", maxOldLog)
	if err != nil {
		return nil, err
	}
	return parseDumbdbm(string(index), string(data))
}

// parseDumbdbm reads an index and its data. A later line of the index replaces an earlier one of the same key.
func parseDumbdbm(index, data string) (map[crypt.Digest]time.Time, error) {
	const cleaned = "LAST_CLEANED"
	used := map[crypt.Digest]time.Time{}
	n := 0
	for line := range strings.Lines(index) {
		n++
		m := oldIndexLine.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		if m == nil {
			return nil, fmt.Errorf("line %d of the index is damaged", n)
		}
		if m[1] == cleaned {
			continue
		}
		at, err := strconv.Atoi(m[2])
		size, err2 := strconv.Atoi(m[3])
		if err != nil || err2 != nil || at > len(data) || size > len(data)-at {
			return nil, fmt.Errorf("line %d of the index points behind the data", n)
		}
		id, err := parseDigest(m[1])
		expires, err2 := parseUnix(data[at : at+size])
		if err != nil || err2 != nil {
			return nil, fmt.Errorf("entry %d is damaged", n)
		}
		used[id] = expires
	}
	return used, nil
}

// oldLogBlock is where values begin in the data: at multiples of it.
const oldLogBlock = 512

// addToOldSURBLog adds reply blocks to the log of Mixminion 0.0.8 in dir, if there is one, so that who goes back to that version does not
// use them again. The data come first: what the index does not name does no harm.
func addToOldSURBLog(dir string, used map[crypt.Digest]time.Time) error {
	index, err := readBounded(filepath.Join(dir, oldSURBLog+".dir"), maxOldLog)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, oldSURBLog+".dat"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	index, err = appendDumbdbm(f, index, used)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, oldSURBLog+".dir"), index, 0o600)
}

// appendDumbdbm writes values behind the data in f, and returns the index with their lines.
func appendDumbdbm(f *os.File, index []byte, used map[crypt.Digest]time.Time) ([]byte, error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	if len(index) > 0 && index[len(index)-1] != '\n' {
		index = append(index, '\n')
	}
	for id, expires := range used {
		at := (end + oldLogBlock - 1) / oldLogBlock * oldLogBlock
		value := strconv.AppendInt(nil, expires.Unix(), 10)
		if _, err := f.WriteAt(value, at); err != nil { // a gap is filled with zeros
			return nil, err
		}
		end = at + int64(len(value))
		index = fmt.Appendf(index, "'%x', (%d, %d)\n", id, at, len(value))
	}
	return index, f.Sync()
}
