package inbox

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mixminion/directory"
	"mixminion/internal/crypt"
)

// A Decision is what the operator thinks of a server.
type Decision string

// The decisions.
const (
	Pending  Decision = "pending"  // none yet: kept and passed on, not voted for
	Approved Decision = "approved" // voted for
	Rejected Decision = "rejected" // kept and passed on, not voted for
	Banned   Decision = "banned"   // not even kept
)

// A Recommendation says whether an approved server is recommended to users.
type Recommendation string

// The recommendations.
const (
	Automatic Recommendation = "automatic" // when it is reliable
	Always    Recommendation = "always"
	Never     Recommendation = "never"
)

// A Record is a decision about one server, as it is kept. A pending server has none on the disk.
type Record struct {
	ID        crypt.KeyID
	Nickname  string // "" if the server had shown none yet; an approved server keeps it
	Decision  Decision
	Recommend Recommendation
	Day       time.Time // midnight UTC of the day of the decision
	Reason    string    // told to the server when it is rejected or banned
}

const (
	maxDecisions = 4 << 20 // bytes of the file
	maxReason    = 200
	dayLayout    = "2006-01-02"
)

// decisionLimits let the file hold as many records as fit.
var decisionLimits = directory.Limits{Bytes: maxDecisions, Sections: maxDecisions / 64, Entries: maxDecisions / 8}

// ErrReason says that a reason cannot be kept and told as it is.
var ErrReason = fmt.Errorf("a reason is at most %d printable ASCII characters in one line", maxReason)

// CheckReason returns ErrReason unless reason can be given for a decision.
func CheckReason(reason string) error {
	if len(reason) > maxReason || strings.TrimSpace(reason) != reason {
		return ErrReason
	}
	for _, c := range []byte(reason) {
		if c < ' ' || c > '~' {
			return ErrReason
		}
	}
	return nil
}

const recordSection = "Decision"

func formatDecisions(decisions map[crypt.KeyID]Record) ([]byte, error) {
	var sections []directory.Section
	ids := slices.SortedFunc(maps.Keys(decisions), func(a, b crypt.KeyID) int { return bytes.Compare(a[:], b[:]) })
	for _, id := range ids {
		r := decisions[id]
		s := directory.Section{Name: recordSection}
		for _, e := range [][2]string{
			{"Fingerprint", id.Fingerprint()}, {"Nickname", r.Nickname}, {"Decision", string(r.Decision)},
			{"Recommend", string(r.Recommend)}, {"Day", r.Day.UTC().Format(dayLayout)}, {"Reason", r.Reason},
		} {
			if e[1] != "" {
				s.Entries = append(s.Entries, directory.Entry{Key: e[0], Value: e[1]})
			}
		}
		sections = append(sections, s)
	}
	text, err := directory.Format(sections)
	if err == nil && len(text) > maxDecisions {
		err = errors.New("there are too many decisions")
	}
	return text, err
}

// parseDecisions is strict: who edits the file by hand must not have a word ignored.
func parseDecisions(text []byte) (map[crypt.KeyID]Record, error) {
	out := map[crypt.KeyID]Record{}
	if len(text) == 0 {
		return out, nil
	}
	sections, err := directory.Parse(text, decisionLimits)
	if err != nil {
		return nil, err
	}
	for _, s := range sections {
		if s.Name != recordSection {
			return nil, fmt.Errorf("line %d: unknown section [%s]", s.Line, s.Name)
		}
		r, err := parseRecord(s.Entries)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", s.Line, err)
		}
		if _, ok := out[r.ID]; ok {
			return nil, fmt.Errorf("line %d: a second decision about %s", s.Line, r.ID.Fingerprint())
		}
		out[r.ID] = r
	}
	return out, nil
}

func parseRecord(entries []directory.Entry) (r Record, err error) {
	r.Recommend = Automatic
	seen := map[string]bool{}
	for _, e := range entries {
		if seen[e.Key] {
			return r, fmt.Errorf("%s stands twice", e.Key)
		}
		seen[e.Key] = true
		var ok bool
		switch e.Key {
		case "Fingerprint":
			r.ID, ok = parseFingerprint(e.Value)
		case "Nickname":
			r.Nickname, ok = e.Value, directory.ValidNickname(e.Value)
		case "Decision":
			r.Decision = Decision(e.Value)
			ok = slices.Contains([]Decision{Approved, Rejected, Banned}, r.Decision)
		case "Recommend":
			r.Recommend = Recommendation(e.Value)
			ok = slices.Contains([]Recommendation{Automatic, Always, Never}, r.Recommend)
		case "Day":
			r.Day, err = time.Parse(dayLayout, e.Value)
			ok = err == nil
		case "Reason":
			r.Reason, ok = e.Value, CheckReason(e.Value) == nil
		default:
			return r, fmt.Errorf("unknown key %q", e.Key)
		}
		if !ok {
			return r, fmt.Errorf("%s is wrong: %q", e.Key, e.Value)
		}
	}
	if !seen["Fingerprint"] || !seen["Decision"] || !seen["Day"] {
		return r, errors.New("a decision needs Fingerprint, Decision and Day")
	}
	return r, nil
}

// parseFingerprint reads 40 hexadecimal digits.
func parseFingerprint(s string) (id crypt.KeyID, ok bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, false
	}
	return crypt.KeyID(b), true
}

// record returns the decision about a server, which is Pending if there is none.
func (b *Inbox) record(id crypt.KeyID) Record {
	if r, ok := b.decisions[id]; ok {
		return r
	}
	return Record{ID: id, Decision: Pending, Recommend: Automatic}
}

// decide writes a decision down; Pending takes back the one there is.
func (b *Inbox) decide(r Record) error {
	next := maps.Clone(b.decisions)
	next[r.ID] = r
	if r.Decision == Pending {
		delete(next, r.ID)
	}
	text, err := formatDecisions(next)
	if err != nil {
		return fmt.Errorf("write decisions: %w", err)
	}
	if err := writeFile(b.fs, b.path(decisionsFile), text); err != nil {
		return err
	}
	b.text, b.decisions = text, next
	if r.Decision != Pending {
		delete(b.sources, r.ID)
	}
	return nil
}

func day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }
