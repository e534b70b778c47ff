package authority

import (
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
		vouched := next != nil && r.follows(c, next)
		if q, err := directory.CheckQuorum(c, sigs, trusted); err != nil {
			if !errors.Is(err, directory.ErrQuorum) || !vouched {
				r.problem("%s is signed by %d of %d of the authorities, which is no majority", name, q.Signed, q.Trusted)
			} else if !slices.Equal(c.Voters, sortedGroup(group)) {
				r.note("%s was made by another group; it is vouched for by the one after it", name)
			} else {
				r.problem("%s is signed by %d of %d of the authorities only, though it is vouched for by the one after it", name, q.Signed, q.Trusted)
			}
		}
		if d.Equal(r.Last) {
			hash := c.BodyHash()
			r.Head = hex.EncodeToString(hash[:])
		}
		next = c
	}
	return r, nil
}

func sortedGroup(group []directory.Voter) []directory.Voter {
	return slices.Compact(slices.SortedFunc(slices.Values(group), directory.CompareVoters))
}

// follows checks that next names c, the consensus that is kept before it, and reports whether it does.
func (r *AuditReport) follows(c, next *directory.Directory) bool {
	name, after := c.ValidAfter.Format(dateLayout), next.ValidAfter.Format(dateLayout)
	gap := next.ValidAfter.Sub(c.ValidAfter) > day
	switch {
	case next.Previous == nil:
		r.note("%s names no consensus before it, so what was before rests on its own signatures", after)
	case *next.Previous == c.BodyHash():
		return true
	case gap:
		r.note("%s names a consensus before it that is not the one of %s: one of a day in between, which is missing here", after, name)
	default:
		r.problem("%s names another consensus before it than the one of %s: one of the two was replaced", after, name)
	}
	return false
}
