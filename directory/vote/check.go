// Package vote checks the votes of directory authorities and tabulates them into a consensus (dir-spec 7.3). It is
// pure: the same votes give the same bytes to every authority, in whatever order and however often they come.
package vote

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"mixminion/directory"
)

// Errors about votes. All but ErrNoMajority match ErrVote.
var (
	ErrVote   = errors.New("invalid vote")
	ErrStatus = fmt.Errorf("%w: its status is not vote", ErrVote)
	ErrDay    = fmt.Errorf("%w: it is for another day", ErrVote)
	ErrGroup  = fmt.Errorf("%w: its voting group is not ours", ErrVote)
	ErrSigner = fmt.Errorf("%w: it needs one valid signature, by a member of the group", ErrVote)
	ErrFormat = fmt.Errorf("%w: malformed", ErrVote)
)

// CheckVote reads a vote for the day that begins at the given midnight UTC and makes all the checks of step 1 in dir-spec 7.3. The cache
// may be nil. Errors match ErrVote.
func CheckVote(cache *directory.Cache, text []byte, day time.Time, group []directory.Voter) (*directory.Directory, error) {
	d, err := cache.ParseDirectory(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err := Check(d, day, group); err != nil {
		return nil, err
	}
	return d, nil
}

// Check makes those checks of CheckVote that come after parsing.
func Check(d *directory.Directory, day time.Time, group []directory.Voter) error {
	switch {
	case d.Status != directory.Vote:
		return ErrStatus
	case !d.ValidAfter.Equal(day) || !d.ValidUntil.Equal(day.AddDate(0, 0, 1)):
		return fmt.Errorf("%w: %s", ErrDay, d.ValidAfter.Format(time.DateOnly))
	case !slices.Equal(d.Voters, canonicalGroup(group)):
		return ErrGroup
	}
	for _, n := range d.Notes {
		if n.Corrupt {
			return fmt.Errorf("%w: %v", ErrFormat, n)
		}
	}
	for _, s := range d.Servers {
		for _, n := range s.Notes {
			if n.Corrupt {
				return fmt.Errorf("%w: descriptor of %s: %v", ErrFormat, s.Nickname, n)
			}
		}
	}
	if len(d.Signers) != 1 || !isMember(group, d.Signers[0].Fingerprint()) {
		return ErrSigner
	}
	if err := d.Signers[0].Err; err != nil {
		return fmt.Errorf("%w: %w", ErrSigner, err)
	}
	return nil
}

func canonicalGroup(group []directory.Voter) []directory.Voter {
	return slices.Compact(slices.SortedFunc(slices.Values(group), directory.CompareVoters))
}

func isMember(group []directory.Voter, fingerprint string) bool {
	return slices.ContainsFunc(group, func(v directory.Voter) bool { return v.Fingerprint == fingerprint })
}
