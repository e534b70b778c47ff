package vote

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mixminion/directory"
)

// ErrNoMajority says that not more than half of the group has cast a valid vote, so that there is nothing to agree on.
var ErrNoMajority = errors.New("votes of half of the group or fewer")

// A Rejection is a vote that did not count.
type Rejection struct {
	Fingerprint string // of its only signer, even if the signature is wrong; "" if there is none or several
	BodyHash    [sha256.Size]byte
	Err         error
}

// A Result is the outcome of a vote.
type Result struct {
	Info    directory.Info
	Servers []*directory.Descriptor
	Body    []byte // what to sign

	Counted      []string // fingerprints of those whose votes counted, sorted
	Missing      []string // of those who cast no valid vote
	Rejected     []Rejection
	Equivocators []Equivocation // their votes count for nobody
	Excluded     []Exclusion
}

// Tabulate computes the consensus for the day that begins at the given midnight UTC from the votes (dir-spec 7.3). A
// majority is more than half of all members of the group; who casts no valid vote has voted against everything. All
// votes are checked again. The error is ErrNoMajority, with a Result that says who failed but has no Body, or matches
// directory.ErrDirectory.
func Tabulate(day time.Time, group []directory.Voter, votes []*directory.Directory) (*Result, error) {
	r := &Result{}
	counted := r.sift(day, group, votes)
	members := memberFingerprints(group)
	t := tally{day: day, members: len(members), votes: counted}
	for _, d := range counted {
		r.Counted = append(r.Counted, d.Signers[0].Fingerprint())
	}
	for _, fp := range members {
		if !slices.Contains(r.Counted, fp) && !slices.ContainsFunc(r.Equivocators, func(e Equivocation) bool { return e.Fingerprint == fp }) {
			r.Missing = append(r.Missing, fp)
		}
	}
	if !t.majority(len(counted)) {
		return r, fmt.Errorf("%w: %d of %d", ErrNoMajority, len(counted), len(members))
	}
	r.Servers, r.Excluded = t.servers()
	included := make(map[string]bool)
	for _, s := range r.Servers {
		included[strings.ToLower(s.Nickname)] = true
	}
	r.Info = directory.Info{
		Status: directory.Consensus, ValidAfter: day, ValidUntil: day.AddDate(0, 0, 1),
		Voters: canonicalGroup(group),
		Recommended: slices.DeleteFunc(t.strings(func(d *directory.Directory) []string { return d.Recommended }),
			func(name string) bool { return !included[name] }),
		ClientVersions: t.strings(func(d *directory.Directory) []string { return d.ClientVersions }),
		ServerVersions: t.strings(func(d *directory.Directory) []string { return d.ServerVersions }),
		Previous:       t.previous(),
	}
	slices.SortFunc(r.Info.ClientVersions, directory.CompareVersions)
	slices.SortFunc(r.Info.ServerVersions, directory.CompareVersions)
	var err error
	r.Body, err = directory.FormatDirectory(r.Info, r.Servers)
	return r, err
}

func memberFingerprints(group []directory.Voter) []string {
	var out []string
	for _, v := range canonicalGroup(group) {
		out = append(out, v.Fingerprint)
	}
	return slices.Compact(out)
}

// sift checks the votes and returns those that count, one for each member and sorted by its fingerprint.
func (r *Result) sift(day time.Time, group []directory.Voter, votes []*directory.Directory) []*directory.Directory {
	valid := make(map[string][]*directory.Directory)
	var members []string
	for _, d := range votes {
		if d == nil {
			continue
		}
		if err := Check(d, day, group); err != nil {
			rejection := Rejection{BodyHash: d.BodyHash(), Err: err}
			if len(d.Signers) == 1 {
				rejection.Fingerprint = d.Signers[0].Fingerprint()
			}
			r.Rejected = append(r.Rejected, rejection)
			continue
		}
		fp := d.Signers[0].Fingerprint()
		if valid[fp] == nil {
			members = append(members, fp)
		}
		valid[fp] = append(valid[fp], d)
	}
	slices.SortFunc(r.Rejected, func(a, b Rejection) int {
		return cmp.Or(strings.Compare(a.Fingerprint, b.Fingerprint), bytes.Compare(a.BodyHash[:], b.BodyHash[:]), strings.Compare(a.Err.Error(), b.Err.Error()))
	})
	r.Rejected = slices.CompactFunc(r.Rejected, func(a, b Rejection) bool {
		return a.Fingerprint == b.Fingerprint && a.BodyHash == b.BodyHash && a.Err.Error() == b.Err.Error()
	})
	slices.Sort(members)
	var counted []*directory.Directory
	for _, fp := range members {
		ds := valid[fp]
		slices.SortFunc(ds, func(a, b *directory.Directory) int {
			x, y := a.BodyHash(), b.BodyHash()
			return cmp.Or(bytes.Compare(x[:], y[:]), bytes.Compare(a.Text(), b.Text()))
		})
		other := slices.IndexFunc(ds, func(d *directory.Directory) bool { return d.BodyHash() != ds[0].BodyHash() })
		if other > 0 {
			r.Equivocators = append(r.Equivocators, Equivocation{fp, [2][]byte{ds[0].Text(), ds[other].Text()}})
			continue
		}
		counted = append(counted, ds[0])
	}
	return counted
}

type tally struct {
	day     time.Time
	members int
	votes   []*directory.Directory
}

func (t *tally) majority(n int) bool { return 2*n > t.members }

// strings returns, sorted, what more than half of the group have in a list.
func (t *tally) strings(list func(*directory.Directory) []string) []string {
	count := make(map[string]int)
	for _, d := range t.votes {
		for _, s := range list(d) {
			count[s]++
		}
	}
	var out []string
	for s, n := range count {
		if t.majority(n) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

// previous returns the hash of the consensus before that more than half of the group state.
func (t *tally) previous() *[sha256.Size]byte {
	count := make(map[[sha256.Size]byte]int)
	for _, d := range t.votes {
		if d.Previous != nil {
			count[*d.Previous]++
		}
	}
	for hash, n := range count {
		if t.majority(n) {
			return &hash
		}
	}
	return nil
}
