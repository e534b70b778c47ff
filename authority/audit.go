package authority

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"mixminion/directory"
)

// An AuditReport is what Audit found.
type AuditReport struct {
	Consensuses int
	First, Last time.Time // days; zero if there are none
	Head        string    // SHA-256 of the body of the last one, hexadecimal: who has the same has the same history
	Missing     []string  // days without a consensus
	Notes       []string  // what is unusual and may be in order
	Problems    []string  // what cannot be in order
}

// OK reports whether nothing is wrong.
func (r *AuditReport) OK() bool { return len(r.Problems) == 0 }

func (r *AuditReport) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func (r *AuditReport) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// Audit verifies the history of the authority that keeps its files in dir: that each consensus in it is whole, that a majority of the group
// has signed the last one, and that each names the one before. It changes nothing, and the authority may be running. An error comes
// from the system.
//
// Once a consensus is vouched for, so is the one that it names, whoever signed that: groups change, and keys that were
// stolen long after must not be able to write another past.
func Audit(dir string, group []directory.Voter) (*AuditReport, error) {
	dir = filepath.Join(dir, historyDir)
	days, err := historyDays(dir)
	if err != nil {
		return nil, err
	}
	r := &AuditReport{Consensuses: len(days)}
	if len(days) == 0 {
		return r, nil
	}
	r.First, r.Last = days[0], days[len(days)-1]
	for d := r.First; d.Before(r.Last); d = d.Add(day) {
		if !slices.ContainsFunc(days, d.Equal) {
			r.Missing = append(r.Missing, d.Format(dateLayout))
		}
	}
	var cache directory.Cache
	trusted := Members(group)
	var next *directory.Directory
	var forks []fork
	for _, d := range slices.Backward(days) {
		c, sigs, err := readHistory(&cache, dir, d)
		name := d.Format(dateLayout)
		switch {
		case err != nil:
			r.problem("%s cannot be read: %v", name, err)
			next = nil
			continue
		case c.Status != directory.Consensus || !c.ValidAfter.Equal(d):
			r.problem("%s holds a %s for %s", name, c.Status, c.ValidAfter.Format(dateLayout))
			next = nil
			continue
		}
		hash := c.BodyHash()
		var vouched, late bool
		if next != nil {
			vouched, late = r.follows(c, next)
		}
		forks = slices.DeleteFunc(forks, func(f fork) bool {
			if f.names != hash {
				return false
			}
			vouched = true
			r.note("%s names that of %s as the one before it: that of %s came late, so it rests on its own signatures", f.of, name, f.late)
			return true
		})
		if late {
			forks = append(forks, fork{of: next.ValidAfter.Format(dateLayout), late: name, names: *next.Previous})
		}
		if q, err := directory.CheckQuorum(c, sigs, trusted); err != nil {
			other := !slices.Equal(c.Voters, sortedGroup(group))
			if !errors.Is(err, directory.ErrQuorum) || !vouched && !(late && other) {
				r.problem("%s is signed by %d of %d of the authorities, which is no majority", name, q.Signed, q.Trusted)
			} else if !vouched {
				r.note("%s was made by another group, and none that is kept vouches for it", name)
			} else if other {
				r.note("%s was made by another group; it is vouched for by the one after it", name)
			} else {
				r.problem("%s is signed by %d of %d of the authorities only, though it is vouched for by the one after it", name, q.Signed, q.Trusted)
			}
		}
		if d.Equal(r.Last) {
			r.Head = hex.EncodeToString(hash[:])
		}
		next = c
	}
	for _, f := range forks {
		r.problem("%s names another consensus before it than the one of %s: one of the two was replaced", f.of, f.late)
	}
	return r, nil
}

// A fork is a consensus that does not name the one of the day before. That is in order if it names an older one, because the other got its
// last signatures when most had voted for the next day.
type fork struct {
	of, late string // days
	names    [sha256.Size]byte
}

func sortedGroup(group []directory.Voter) []directory.Voter {
	return slices.Compact(slices.SortedFunc(slices.Values(group), directory.CompareVoters))
}

// follows reports whether next names c, the consensus that is kept before it, or else whether c may have come late.
func (r *AuditReport) follows(c, next *directory.Directory) (follows, late bool) {
	switch {
	case next.Previous == nil:
		r.note("%s names no consensus before it, so what was before rests on its own signatures", next.ValidAfter.Format(dateLayout))
	case *next.Previous == c.BodyHash():
		return true, false
	case next.ValidAfter.Sub(c.ValidAfter) > day:
		r.note("%s names a consensus before it that is not the one of %s: one of a day in between, which is missing here",
			next.ValidAfter.Format(dateLayout), c.ValidAfter.Format(dateLayout))
	default:
		return false, true
	}
	return false, false
}
