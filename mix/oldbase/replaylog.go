package oldbase

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mixminion/internal/crypt"
)

// ErrReplayLog means that a replay log is not whole, or not one at all.
var ErrReplayLog = errors.New("its replay log cannot be read in full")

// The database of a replay log has blocks of this size, and a record begins each.
const (
	blockLen = 512
	hashLen  = crypt.HashLen
	ownerKey = "KEYID"
	seenMark = "1"
)

var indexLine = regexp.MustCompile(`^'([0-9a-f]{40}|KEYID)', \(([0-9]{1,10}), ([0-9]{1,2})\)$`)

// ParseReplayLog reads a replay log of three files: the index and the data of its database, and its journal. It belongs
// to the packet key with this identifier. Every byte has to be accounted for; else the error matches ErrReplayLog.
func ParseReplayLog(index, data, journal []byte, owner crypt.KeyID) (hashes [][hashLen]byte, err error) {
	bad := func(format string, args ...any) ([][hashLen]byte, error) {
		return nil, fmt.Errorf("%w: "+format, append([]any{ErrReplayLog}, args...)...)
	}
	if len(journal)%hashLen != 0 {
		return bad("its journal ends within a hash")
	}
	if len(index) > 0 && index[len(index)-1] != '\n' {
		return bad("its index ends within a line")
	}
	seen := map[string]bool{}
	var places []int
	end := 0
	for line := range strings.Lines(string(index)) {
		m := indexLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			return bad("its index has a line that is none")
		}
		at, err1 := strconv.Atoi(m[2])
		size, err2 := strconv.Atoi(m[3])
		if err1 != nil || err2 != nil || at%blockLen != 0 || at > len(data) || size > len(data)-at {
			return bad("its index points to what is not there")
		}
		if seen[m[1]] {
			return bad("its index has a hash twice")
		}
		seen[m[1]] = true
		places = append(places, at)
		end = max(end, at+size)
		value := string(data[at : at+size])
		if m[1] == ownerKey {
			if value != string(owner[:]) {
				return bad("it belongs to another key")
			}
			continue
		}
		if value != seenMark {
			return bad("its data are damaged")
		}
		var h [hashLen]byte
		if _, err := hex.Decode(h[:], []byte(m[1])); err != nil {
			return bad("its index has a line that is none")
		}
		hashes = append(hashes, h)
	}
	switch slices.Sort(places); {
	case !seen[ownerKey]:
		return bad("it does not say to which key it belongs")
	case end != len(data):
		return bad("its data hold something that its index does not know")
	}
	for i, at := range places {
		if at != i*blockLen {
			return bad("its data hold something that its index does not know")
		}
	}
	for h := range slices.Chunk(journal, hashLen) {
		if text := hex.EncodeToString(h); !seen[text] {
			seen[text] = true
			hashes = append(hashes, [hashLen]byte(h))
		}
	}
	return hashes, nil
}
