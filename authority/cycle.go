package authority

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"mixminion/directory"
)

// A cycle is the making of one day's consensus, from our vote to the signatures of the others. All of it is on the shelf as well.
type cycle struct {
	day time.Time
	rec *Record
	// votes holds the valid votes of each member, the first one that came first, and a second one if it contradicts.
	votes map[string][]*directory.Directory
	// consensus is what we signed, with the signatures that we have of others; nil before.
	consensus *directory.Directory
	sigs      []directory.Detached
	// lost says that we have signed a consensus that cannot be read any more. Nothing else may be signed then.
	lost bool
}

func (c *cycle) ownVote(id string) *directory.Directory {
	if v := c.votes[id]; len(v) > 0 {
		return v[0]
	}
	return nil
}

// cycle returns the cycle of a day, from memory or from the shelf.
func (a *Authority) cycle(d time.Time) (*cycle, error) {
	if c := a.cycles[d]; c != nil {
		return c, nil
	}
	rec, err := a.loadRecord(d)
	if err != nil {
		return nil, err
	}
	c := &cycle{day: d, rec: rec, votes: map[string][]*directory.Directory{}}
	for _, m := range a.members {
		names := []string{copyName(d, m.Fingerprint), proofName(d, m.Fingerprint)}
		if m.Fingerprint == a.id {
			names[0] = voteName(d)
		}
		for _, name := range names {
			text, err := a.shelf.text(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			var v *directory.Directory
			if err == nil {
				v, err = a.checkVote(text, d, m.Fingerprint)
			}
			if err != nil {
				// A group that was changed since, or a damaged disk. The file stays, so that we sign no second vote, but no longer counts.
				a.cfg.Logger.Warn("a vote on the disk is not valid and does not count", "file", name, "error", err)
				continue
			}
			c.votes[m.Fingerprint] = append(c.votes[m.Fingerprint], v)
		}
	}
	if err := a.loadConsensus(c); err != nil {
		return nil, err
	}
	// Of older cycles nobody asks any more.
	for old := range a.cycles {
		if old.Before(d.Add(-day)) {
			delete(a.cycles, old)
		}
	}
	a.cycles[d] = c
	return c, nil
}

// advance does what is due before the midnight at which a day begins.
func (a *Authority) advance(ctx context.Context, d time.Time) (next time.Time, err error) {
	c, err := a.cycle(d)
	if err != nil {
		return next, err
	}
	left := d.Sub(a.now)
	if !a.shelf.has(voteName(d)) && left <= beforeCollect {
		if err := a.recall(ctx, c); err != nil {
			return next, err
		}
	}
	if !a.shelf.has(voteName(d)) && left > beforeCopies {
		if err := a.vote(c); err != nil {
			return next, err
		}
	}
	switch {
	case left > beforeCollect:
		return d.Add(-beforeCollect), nil
	case left > beforeCopies:
		next, err := a.collect(ctx, c)
		return earliest(next, d.Add(-beforeCopies)), err
	case left > beforeFreeze:
		next, err := a.compare(ctx, c)
		return earliest(next, d.Add(-beforeFreeze)), err
	}
	if c.consensus == nil {
		// A member that was started late comes here at once. It takes what the others show each other.
		if left <= beforeSigs {
			if err := a.recallConsensus(ctx, c); err != nil {
				return next, err
			}
		}
	}
	if c.consensus == nil && !c.lost {
		if _, err := a.compare(ctx, c); err != nil {
			return next, err
		}
		if err := a.tabulate(c); err != nil {
			return next, err
		}
	}
	switch {
	case c.consensus == nil:
		next = a.now.Add(sigsEvery)
	case left > beforeSigs:
		return d.Add(-beforeSigs), nil
	default:
		if err := a.collectSignatures(ctx, c); err != nil {
			return next, err
		}
		next = a.now.Add(sigsEvery)
		if a.allSigned(c) {
			next = d
		}
	}
	return earliest(next, d), nil
}

// vote builds and publishes our vote for a day. The file is the only vote that we shall ever sign for that day: it is made when there is
// none, and nobody sees it before it is safe.
func (a *Authority) vote(c *cycle) error {
	servers := a.eligible(c.day)
	info := directory.Info{
		Status: directory.Vote, ValidAfter: c.day, ValidUntil: c.day.Add(day), Voters: a.cfg.Group,
		ClientVersions: a.cfg.ClientVersions, ServerVersions: a.cfg.ServerVersions,
	}
	// What is recommended is a server, and what decides is its descriptor of that day.
	for _, d := range directory.Newest(servers, c.day, c.day.Add(day)) {
		if a.cfg.Source.Recommended(a.now, d) {
			info.Recommended = append(info.Recommended, strings.ToLower(d.Nickname))
		}
	}
	if a.current != nil {
		hash := a.current.BodyHash()
		info.Previous = &hash
	}
	body, err := directory.FormatDirectory(info, servers)
	if err != nil {
		return fmt.Errorf("vote: %w", err)
	}
	text, err := directory.SignDirectory(body, a.cfg.Identity)
	if err != nil {
		return fmt.Errorf("vote: %w", err)
	}
	// Read back before anybody relies on it: a vote that the others would refuse is better not signed.
	v, err := a.checkVote(text, c.day, a.id)
	if err != nil {
		return fmt.Errorf("our vote would not be valid: %w", err)
	}
	if err := a.shelf.putText(voteName(c.day), text); err != nil {
		return fmt.Errorf("publish our vote: %w", err)
	}
	c.votes[a.id] = append([]*directory.Directory{v}, c.votes[a.id]...)
	a.cfg.Logger.Info("vote published", "day", c.rec.Day, "servers", len(v.Servers), "recommended", len(v.Recommended))
	return nil
}

// eligible returns the candidates that may be listed on a day (dir-spec 7.3).
func (a *Authority) eligible(d time.Time) []*directory.Descriptor {
	candidates := a.cfg.Source.Candidates(a.now)
	var out []*directory.Descriptor
	seen := map[string]bool{}
	for _, s := range candidates {
		digest := s.Digest()
		switch {
		case seen[string(digest[:])], s.Expired(d), s.ValidAfter.After(d.Add(maxAhead)),
			s.CheckPublished(a.now) != nil,
			slices.ContainsFunc(s.Notes, func(n directory.Note) bool { return n.Corrupt }),
			directory.CheckConflict(s, out) != nil,
			directory.Superseded(s, candidates, d):
			continue
		}
		seen[string(digest[:])] = true
		out = append(out, s)
	}
	return a.bounded(out)
}

// bounded leaves out the servers that take most room if there are more descriptors than a vote can hold: a few servers
// with many long ones must not keep us from voting for the rest.
func (a *Authority) bounded(servers []*directory.Descriptor) []*directory.Descriptor {
	size := map[string]int{}
	total := 0
	for _, d := range servers {
		size[d.Fingerprint()] += len(d.Text())
		total += len(d.Text())
	}
	order := slices.SortedFunc(maps.Keys(size), func(x, y string) int { return cmp.Or(cmp.Compare(size[y], size[x]), cmp.Compare(x, y)) })
	for _, fp := range order {
		if total <= maxVoteBytes && len(servers) <= directory.MaxServers {
			break
		}
		a.cfg.Logger.Warn("there is no room in the vote for a server, which has the longest descriptors", "fingerprint", fp, "bytes", size[fp])
		servers = slices.DeleteFunc(servers, func(d *directory.Descriptor) bool { return d.Fingerprint() == fp })
		total -= size[fp]
	}
	return servers
}

// maxVoteBytes bounds the descriptors in our vote. What a directory may hold is more; copies and signatures need some room as well.
const maxVoteBytes = directory.MaxDirectoryLen / 4 * 3
