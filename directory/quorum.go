package directory

import (
	"errors"
	"fmt"
)

// ErrQuorum says that too few trusted authorities have signed a directory.
var ErrQuorum = errors.New("not signed by a majority of the trusted directory authorities")

// ErrVote says that a directory is one authority's vote, which nobody may use as a directory (dir-spec 4.1).
var ErrVote = errors.New("a vote is no directory")

// An Authority is a directory authority that somebody trusts.
type Authority struct {
	Fingerprint string   // 40 upper-case hexadecimal digits
	URLs        []string // base URLs, each ending with "/"; may be empty
}

// A Standing is what one trusted authority has done about a directory.
type Standing struct {
	Fingerprint string
	Signed      bool // a valid signature in the directory, over SHA-1
	Detached    bool // a valid detached signature by the same key, over SHA-256
}

// A Quorum is how a directory fares with the trusted authorities.
type Quorum struct {
	Trusted   int // how many authorities are trusted
	Signed    int // how many of them have given both signatures
	Standings []Standing
}

// Reached reports whether more than half of the trusted authorities have given both signatures.
func (q *Quorum) Reached() bool { return 2*q.Signed > q.Trusted }

// CheckQuorum checks that more than half of the trusted authorities have signed a consensus, each of them twice and
// with the same key: in the directory (dir-spec 8), and detached. The Quorum is complete also if the error is
// ErrQuorum. A vote gives ErrVote.
func CheckQuorum(d *Directory, sigs []Detached, trusted []Authority) (Quorum, error) {
	if d.Status != Consensus {
		return Quorum{}, ErrVote
	}
	detached := make(map[string]*Detached)
	for i := range sigs {
		if s := &sigs[i]; s.Verify(d.hash) == nil {
			detached[s.Fingerprint()] = s
		}
	}
	var q Quorum
	seen := make(map[string]bool)
	for _, a := range trusted {
		if seen[a.Fingerprint] {
			continue
		}
		seen[a.Fingerprint] = true
		inside, beside := d.signer(a.Fingerprint), detached[a.Fingerprint]
		q.Trusted++
		q.Standings = append(q.Standings, Standing{a.Fingerprint, inside != nil, beside != nil})
		if inside != nil && beside != nil && inside.Identity.Equal(beside.Identity) {
			q.Signed++
		}
	}
	if !q.Reached() {
		return q, fmt.Errorf("%w: %d of %d", ErrQuorum, q.Signed, q.Trusted)
	}
	return q, nil
}
