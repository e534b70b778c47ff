package authority

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A Record is what happened in the making of one day's consensus. It is kept for reports and the page; what must not be lost is in the
// documents themselves.
type Record struct {
	Day     string             // YYYY-MM-DD, on which the consensus is valid
	Members map[string]*Member // by fingerprint

	Compared   bool     // there was a vote of every member, and all showed those that we hold
	OwnSeen    bool     // another member showed our vote
	NoMajority bool     // at the last attempt there were votes of half of the group or fewer
	Counted    []string // fingerprints of those whose votes counted
	Signed     []string // fingerprints of those who signed what we signed, twice each
	Problems   []string

	Outcome Outcome // as it was last reported

	saved []byte
}

// A Member is what a Record has about one member of the group.
type Member struct {
	VoteError   string // why its vote could not be had from itself
	Indirect    bool   // its vote came from others
	Answered    bool   // it showed copies of votes
	Equivocated bool   // it signed two different votes
	SignError   string // why its signatures are missing
	OtherBody   string // SHA-256 of another consensus that it signed, hexadecimal
	SignedTwo   bool   // it signed our consensus and another one
	// Votes says which votes it then shows that are not those that we counted; nil if nobody has looked yet.
	Votes []string
}

// An Outcome is how the making of a day's consensus ended.
type Outcome string

// The outcomes.
const (
	Pending Outcome = ""
	Reached Outcome = "reached" // a majority of the group has signed, and the consensus is current
	Failed  Outcome = "failed"  // at midnight there was no majority; a signature that comes later changes this to Reached
)

// maxProblems bounds what others can make us write down.
const maxProblems = 50

func (r *Record) member(fingerprint string) *Member {
	m := r.Members[fingerprint]
	if m == nil {
		m = &Member{}
		r.Members[fingerprint] = m
	}
	return m
}

// of is like member for those who only read.
func (r *Record) of(fingerprint string) Member {
	if m := r.Members[fingerprint]; m != nil {
		return *m
	}
	return Member{}
}

// problem adds a line to the report of the day, once.
func (r *Record) problem(format string, args ...any) {
	if line := fmt.Sprintf(format, args...); len(r.Problems) < maxProblems && !slices.Contains(r.Problems, line) {
		r.Problems = append(r.Problems, line)
	}
}

// copy is for readers that do not hold Authority.mu.
func (r *Record) copy() *Record {
	out := *r
	out.Members = make(map[string]*Member, len(r.Members))
	for fp, m := range r.Members {
		member := *m
		member.Votes = slices.Clone(m.Votes)
		out.Members[fp] = &member
	}
	out.Counted, out.Signed, out.Problems = slices.Clone(r.Counted), slices.Clone(r.Signed), slices.Clone(r.Problems)
	return &out
}

func (a *Authority) recordPath(d string) string {
	return filepath.Join(a.cfg.Dir, recordDir, d+".json")
}

// loadRecord reads the record of a day, or begins one. A damaged one is begun anew: it is not worth stopping for.
func (a *Authority) loadRecord(d time.Time) (*Record, error) {
	r := &Record{Day: d.Format(dateLayout), Members: map[string]*Member{}}
	data, err := os.ReadFile(a.recordPath(r.Day))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of the day: %w", err)
	}
	var old Record
	if err := json.Unmarshal(data, &old); err != nil || old.Day != r.Day {
		a.cfg.Logger.Warn("the record of a day is damaged and begun anew", "file", a.recordPath(r.Day), "error", err)
		return r, nil
	}
	maps.DeleteFunc(old.Members, func(_ string, m *Member) bool { return m == nil })
	if old.Members == nil {
		old.Members = r.Members
	}
	old.saved = data
	return &old, nil
}

func (a *Authority) saveRecord(r *Record) error {
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("record of the day: %w", err)
	}
	data = append(data, '\n')
	if bytes.Equal(data, r.saved) {
		return nil
	}
	if err := replaceFile(a.recordPath(r.Day), data, 0o600); err != nil {
		return fmt.Errorf("record of the day: %w", err)
	}
	r.saved = data
	return nil
}

func (a *Authority) saveRecords() (err error) {
	for _, c := range a.cycles {
		err = errors.Join(err, a.saveRecord(c.rec))
	}
	return err
}

// publishView shows the state to the page.
func (a *Authority) publishView() {
	v := &view{current: a.current, quorum: a.quorum, votes: map[string]*viewedVote{}, skews: maps.Clone(a.skews)}
	days := slices.SortedFunc(maps.Keys(a.cycles), func(x, y time.Time) int { return y.Compare(x) })
	for _, d := range days {
		c := a.cycles[d]
		v.records = append(v.records, c.rec.copy())
		// What is shown beside the current consensus are the votes that it comes from, or else the latest.
		if len(c.votes) == 0 || v.voteDay != "" && (a.current == nil || !a.current.ValidAfter.Equal(d)) {
			continue
		}
		v.voteDay, v.votes = c.rec.Day, map[string]*viewedVote{}
		for fp, votes := range c.votes {
			if len(votes) > 0 {
				v.votes[fp] = &viewedVote{votes[0], len(votes) > 1}
			}
		}
	}
	a.view.Store(v)
}
