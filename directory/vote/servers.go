package vote

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mixminion/directory"
	"mixminion/internal/crypt"
)

// window is how many days after the day of a consensus its descriptors may become valid (dir-spec 7.3).
const window = 30

// Beyond these limits a consensus has only descriptors that a majority lists. A single authority and a few servers
// could otherwise invent so many that no directory can hold them. Honest authorities know the same descriptors.
const (
	maxPerServer = 32
	maxInAll     = directory.MaxServers / 2
	maxBytes     = directory.MaxDirectoryLen / 2
)

// An Exclusion is a server or a descriptor that a vote lists and the consensus does not.
type Exclusion struct {
	Nickname    string
	Fingerprint string
	Digest      crypt.Digest // of the descriptor; zero if all of the server are meant
	Reason      string
}

// A candidate is a server that stands in a vote.
type candidate struct {
	id          crypt.KeyID
	votes       int
	names       []string // in lower case
	descriptors map[crypt.Digest]*descriptor
}

type descriptor struct {
	*directory.Descriptor
	votes int
}

// candidates collects the servers of all votes.
func (t *tally) candidates() []*candidate {
	servers := make(map[crypt.KeyID]*candidate)
	for _, d := range t.votes {
		voted := make(map[crypt.KeyID]bool)
		for _, desc := range d.Servers {
			id := desc.KeyID()
			c := servers[id]
			if c == nil {
				c = &candidate{id: id, descriptors: make(map[crypt.Digest]*descriptor)}
				servers[id] = c
			}
			if !voted[id] {
				voted[id] = true
				c.votes++
			}
			c.add(desc)
		}
	}
	return slices.SortedFunc(maps.Values(servers), func(a, b *candidate) int { return bytes.Compare(a.id[:], b.id[:]) })
}

// add takes a descriptor that stands in one more vote.
func (c *candidate) add(desc *directory.Descriptor) {
	if name := strings.ToLower(desc.Nickname); !slices.Contains(c.names, name) {
		c.names = append(c.names, name)
		slices.Sort(c.names)
	}
	d := c.descriptors[desc.Digest()]
	if d == nil {
		d = &descriptor{Descriptor: desc}
		c.descriptors[desc.Digest()] = d
	}
	d.votes++
	// A server can sign one text twice and get two signatures. All authorities must take the same.
	if bytes.Compare(desc.Text(), d.Text()) < 0 {
		d.Descriptor = desc
	}
}

// servers applies step 2 of dir-spec 7.3 to servers.
func (t *tally) servers() (included []*directory.Descriptor, excluded []Exclusion) {
	var chosen []*descriptor
	for _, c := range t.candidates() {
		reason := ""
		switch {
		case len(c.names) > 1:
			reason = "votes give it several nicknames"
		case !t.majority(c.votes):
			reason = fmt.Sprintf("%d of %d authorities list it", c.votes, t.members)
		default:
			in, out := t.choose(c)
			chosen, excluded = append(chosen, in...), append(excluded, out...)
			continue
		}
		excluded = append(excluded, Exclusion{Nickname: strings.Join(c.names, ", "), Fingerprint: c.id.Fingerprint(), Reason: reason})
	}
	chosen, out := t.fit(chosen, maxInAll, maxBytes)
	excluded = append(excluded, out...)
	for _, d := range chosen {
		included = append(included, d.Descriptor)
	}
	slices.SortFunc(included, directory.CompareServers)
	slices.SortFunc(excluded, func(a, b Exclusion) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Nickname), strings.ToLower(b.Nickname)), strings.Compare(a.Fingerprint, b.Fingerprint),
			bytes.Compare(a.Digest[:], b.Digest[:]))
	})
	return included, excluded
}

// choose picks the descriptors of a server that a majority lists.
func (t *tally) choose(c *candidate) (in []*descriptor, out []Exclusion) {
	var known []*directory.Descriptor
	for _, d := range c.descriptors {
		if d.CheckPublished(t.day) == nil {
			known = append(known, d.Descriptor)
		}
	}
	for _, d := range c.descriptors {
		reason := ""
		switch {
		case d.CheckPublished(t.day) != nil:
			reason = "published in the future"
		case d.Expired(t.day):
			reason = "expired"
		case d.ValidAfter.After(t.day.AddDate(0, 0, window)):
			reason = fmt.Sprintf("not valid within %d days", window)
		case directory.Superseded(d.Descriptor, known, t.day):
			reason = "superseded"
		default:
			in = append(in, d)
			continue
		}
		out = append(out, exclusion(d, reason))
	}
	in, more := t.fit(in, maxPerServer, maxBytes)
	return in, append(out, more...)
}

// fit leaves descriptors out if there are more than a number, or if they have more bytes.
func (t *tally) fit(chosen []*descriptor, number, bytes int) (in []*descriptor, out []Exclusion) {
	for _, d := range chosen {
		bytes -= len(d.Text())
	}
	if len(chosen) > number || bytes < 0 {
		return t.onlyMajority(chosen)
	}
	return chosen, nil
}

func (t *tally) onlyMajority(ds []*descriptor) (in []*descriptor, out []Exclusion) {
	for _, d := range ds {
		if t.majority(d.votes) {
			in = append(in, d)
		} else {
			out = append(out, exclusion(d, "too many descriptors, and no majority lists this one"))
		}
	}
	return in, out
}

func exclusion(d *descriptor, reason string) Exclusion {
	return Exclusion{d.Nickname, d.Fingerprint(), d.Digest(), reason}
}
