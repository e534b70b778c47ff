package authority

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"mixminion/directory"
	"mixminion/directory/vote"
	"mixminion/internal/logging"
	"mixminion/internal/store/durable"
)

// loadConsensus reads what we signed for the day of c, if we did, with the signatures collected since.
func (a *Authority) loadConsensus(c *cycle) error {
	name := consensusName(c.day)
	text, err := a.shelf.text(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var d *directory.Directory
	if err == nil {
		d, err = a.cache.ParseDirectory(text)
	}
	if err != nil {
		a.cfg.Logger.Error("the consensus that we signed is damaged on the disk; we sign no other one, and take what the others agree on",
			"file", name, "error", err)
		c.lost = true
		return nil
	}
	if !d.SignedBy(a.id) {
		return nil // what the others agreed on without us
	}
	c.consensus = d
	// A crash may have come between the two files; the body is signed, so the other signature is made for the same one.
	if sigs, err := a.shelf.get(name + sigSuffix); err == nil {
		if c.sigs, err = directory.ParseDetached(sigs); err != nil {
			a.cfg.Logger.Warn("a file of signatures is damaged; they are collected anew", "file", name+sigSuffix, "error", err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read %s: %w", name+sigSuffix, err)
	}
	if !slices.ContainsFunc(c.sigs, func(s directory.Detached) bool { return s.Fingerprint() == a.id && s.Verify(d.BodyHash()) == nil }) {
		own, err := directory.SignDetached(d.Body(), a.cfg.Identity)
		if err != nil {
			return err
		}
		c.sigs = append(c.sigs, own)
		return a.putConsensus(c)
	}
	return nil
}

// tabulate computes the consensus, signs and publishes it, if there are votes of a majority. Nothing is signed otherwise: the majority of a
// group that cannot see each other's votes would agree on an empty directory.
//
// The file is the only consensus that we shall ever sign for that day.
func (a *Authority) tabulate(c *cycle) error {
	var votes []*directory.Directory
	for _, m := range a.members {
		if m.Fingerprint == a.id && !a.countOwn(c) {
			continue
		}
		votes = append(votes, c.votes[m.Fingerprint]...)
	}
	result, err := vote.Tabulate(c.day, a.cfg.Group, votes)
	if result != nil {
		c.rec.Counted = result.Counted
		for _, e := range result.Equivocators {
			c.rec.member(e.Fingerprint).Equivocated = true
		}
	}
	if errors.Is(err, vote.ErrNoMajority) {
		c.rec.NoMajority = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("compute the consensus: %w", err)
	}
	c.rec.NoMajority = false
	text, err := directory.SignDirectory(result.Body, a.cfg.Identity)
	if err != nil {
		return err
	}
	d, err := a.cache.ParseDirectory(text)
	if err != nil {
		return fmt.Errorf("the consensus could not be read: %w", err)
	}
	own, err := directory.SignDetached(d.Body(), a.cfg.Identity)
	if err != nil {
		return err
	}
	// What was counted is written before what came of it, so that a report never lacks it.
	if err := a.saveRecord(c.rec); err != nil {
		return err
	}
	next := *c
	next.consensus, next.sigs = d, []directory.Detached{own}
	if err := a.putConsensus(&next); err != nil {
		return err
	}
	*c = next
	a.cfg.Logger.Info("consensus computed and signed", "day", c.rec.Day, "votes", len(result.Counted), "servers", len(d.Servers),
		"recommended", len(d.Recommended), "sha256", publicHash(d))
	for _, x := range result.Excluded {
		a.cfg.Logger.Debug("not in the consensus", "server", x.Nickname, "reason", x.Reason)
	}
	return nil
}

// recallConsensus gets back what we signed, if our disk has lost it since others got it.
func (a *Authority) recallConsensus(ctx context.Context, c *cycle) error {
	for _, p := range a.sortedPairs(a.fetchPairs(ctx, a.others, consensusName(c.day))) {
		d, err := a.cache.ParseDirectory(p.text)
		if err != nil || d.Status != directory.Consensus || !d.ValidAfter.Equal(c.day) || !d.SignedBy(a.id) {
			continue
		}
		own, err := directory.SignDetached(d.Body(), a.cfg.Identity)
		if err != nil {
			return err
		}
		a.cfg.Logger.Warn("the consensus that we signed is not on the disk, and another authority has it; it is taken from there", "day", c.rec.Day)
		next := *c
		next.consensus, next.sigs = d, []directory.Detached{own}
		if err := a.putConsensus(&next); err != nil {
			return err
		}
		*c = next
		return nil
	}
	return nil
}

// countOwn reports whether our own vote counts. It does if somebody else shows it: a vote that no other member has got counts for none of
// them either. Only when nobody answers at all there is nothing to go by, and nothing to lose.
func (a *Authority) countOwn(c *cycle) bool {
	if c.rec.OwnSeen {
		return true
	}
	for _, m := range a.others {
		if c.rec.member(m.Fingerprint).Answered {
			c.rec.problem("no other authority has our vote, so it does not count: can others reach this authority at its URL?")
			return false
		}
	}
	return true
}

// putConsensus writes both files of a consensus. The first one is what commits us.
func (a *Authority) putConsensus(c *cycle) error {
	sigs, err := directory.FormatDetached(c.sigs)
	if err != nil {
		return err
	}
	if err := a.shelf.putText(consensusName(c.day), c.consensus.Text()); err != nil {
		return err
	}
	return a.shelf.put(consensusName(c.day)+sigSuffix, sigs)
}

// signedBoth reports whether we hold both signatures of a member under the consensus.
func (c *cycle) signedBoth(fingerprint string) bool {
	q, err := directory.CheckQuorum(c.consensus, c.sigs, []directory.Authority{{Fingerprint: fingerprint}})
	return err == nil && q.Signed == 1
}

func (a *Authority) allSigned(c *cycle) bool {
	return !slices.ContainsFunc(a.others, func(m directory.Authority) bool { return !c.signedBoth(m.Fingerprint) })
}

// collectSignatures gets what other members have signed, and adds the signatures of what we signed too (dir-spec 7.4).
func (a *Authority) collectSignatures(ctx context.Context, c *cycle) error {
	found := map[string][2]Fetched{}
	var wants []want
	for _, m := range a.others {
		if c.signedBoth(m.Fingerprint) {
			continue
		}
		for i, name := range []string{consensusName(c.day), consensusName(c.day) + sigSuffix} {
			wants = append(wants, want{from: m, name: name, limit: maxDocument, got: func(f Fetched, err error) {
				if err != nil {
					c.rec.member(m.Fingerprint).SignError = describe(err)
					return
				}
				pair := found[m.Fingerprint]
				pair[i] = f
				found[m.Fingerprint] = pair
			}})
		}
	}
	a.round(ctx, wants)
	var signers []directory.Signer
	var sigs []directory.Detached
	for _, m := range a.others {
		if pair, ok := found[m.Fingerprint]; ok {
			s, t, err := a.examine(c, m.Fingerprint, pair[0].Body, pair[1].Body)
			if err != nil {
				return err
			}
			signers, sigs = append(signers, s...), append(sigs, t...)
		}
		if r := c.rec.member(m.Fingerprint); r.OtherBody != "" && r.Votes == nil {
			a.explain(ctx, c, m)
		}
	}
	return a.affix(c, signers, sigs)
}

// affix adds signatures to ours and publishes the result if there is anything new.
func (a *Authority) affix(c *cycle, signers []directory.Signer, sigs []directory.Detached) error {
	signers = slices.DeleteFunc(signers, func(s directory.Signer) bool { return s.Err != nil || !a.isMember(s.Fingerprint()) })
	sigs = slices.DeleteFunc(sigs, func(s directory.Detached) bool { return !a.isMember(s.Fingerprint()) })
	next, d := *c, c.consensus
	if len(signers) > 0 {
		var err error
		if d, err = a.cache.ParseDirectory(c.consensus.WithSigners(signers...)); err != nil {
			return err
		}
	}
	next.consensus = d
	next.sigs = d.MergeDetached(c.sigs, sigs)
	if len(d.Signers) != len(c.consensus.Signers) || len(next.sigs) != len(c.sigs) {
		if err := a.putConsensus(&next); err != nil {
			return err
		}
		*c = next
	}
	c.rec.Signed = nil
	for _, m := range a.members {
		if c.signedBoth(m.Fingerprint) {
			c.rec.Signed = append(c.rec.Signed, m.Fingerprint)
			c.rec.member(m.Fingerprint).SignError = ""
		}
	}
	return nil
}

// examine reads what another member publishes as the consensus, and returns the signatures of what we signed.
func (a *Authority) examine(c *cycle, from string, text, sigText []byte) ([]directory.Signer, []directory.Detached, error) {
	if text == nil {
		return nil, nil, nil // SignError says why
	}
	r := c.rec.member(from)
	d, err := a.cache.ParseDirectory(text)
	switch {
	case err != nil:
		r.SignError = "malformed: " + err.Error()
		return nil, nil, nil
	case d.Status != directory.Consensus || !d.ValidAfter.Equal(c.day):
		r.SignError = fmt.Sprintf("it publishes a %s for %s", d.Status, d.ValidAfter.Format(dateLayout))
		return nil, nil, nil
	case d.BodyHash() != c.consensus.BodyHash() && d.SignedBy(from):
		return nil, nil, a.fragmented(c, from, d, text)
	case d.BodyHash() != c.consensus.BodyHash():
		r.SignError = "it publishes another consensus that it has not signed"
		return nil, nil, nil
	case !d.SignedBy(from):
		r.SignError = "it publishes our consensus without a signature of its own"
	case sigText == nil:
		r.SignError = "its SHA-256 signature is missing"
	}
	sigs, err := directory.ParseDetached(sigText)
	if err != nil && sigText != nil {
		r.SignError = "its SHA-256 signature is malformed: " + err.Error()
	}
	return d.Signers, sigs, nil
}

// fragmented records that another member has signed something else (dir-spec 7.4), and keeps it for the operator. Who
// has signed that and what we signed too is named: honest members sign once.
func (a *Authority) fragmented(c *cycle, from string, d *directory.Directory, text []byte) error {
	hash := d.BodyHash()
	said := hex.EncodeToString(hash[:])
	r := c.rec.member(from)
	r.SignError = "it has signed another consensus"
	seen := r.OtherBody == said
	var both []string
	for _, s := range d.Signers {
		if fp := s.Fingerprint(); s.Err == nil && a.isMember(fp) && c.consensus.SignedBy(fp) && !c.rec.member(fp).SignedTwo {
			both = append(both, fp)
		}
	}
	if seen && len(both) == 0 {
		return nil
	}
	data, err := compress(text)
	if err != nil {
		return err
	}
	file := filepath.Join(a.cfg.Dir, evidenceDir, c.rec.Day+"-"+from+zipSuffix)
	if err := durable.WriteFile(file, data, 0o600); err != nil {
		return err
	}
	r.OtherBody = said
	for _, fp := range both {
		c.rec.member(fp).SignedTwo = true
		a.cfg.Logger.Error("an authority has signed two different consensuses for one day: ours, and the one that is kept", "day", c.rec.Day,
			"authority", logging.Public(a.name(fp)), "kept", logging.Public(file))
	}
	if seen {
		return nil
	}
	a.cfg.Logger.Error("fragmentation: another authority has signed a different consensus for the same day", "day", c.rec.Day,
		"authority", logging.Public(a.name(from)), "theirs", publicHash(d), "ours", publicHash(c.consensus), "kept", logging.Public(file))
	return nil
}

// explain finds out by which votes another member came to another consensus: those that it publishes.
func (a *Authority) explain(ctx context.Context, c *cycle, from directory.Authority) {
	r := c.rec.member(from.Fingerprint)
	r.Votes = []string{}
	var wants []want
	for _, author := range a.members {
		name := copyName(c.day, author.Fingerprint)
		if author.Fingerprint == from.Fingerprint {
			name = voteName(c.day)
		}
		ours := slices.Contains(c.rec.Counted, author.Fingerprint)
		wants = append(wants, want{from: from, name: name, limit: maxDocument, got: func(f Fetched, err error) {
			switch {
			case errors.Is(err, ErrNotFound) && ours:
				r.Votes = append(r.Votes, "it does not show the vote of "+a.name(author.Fingerprint)+", which we counted")
			case err == nil && !ours:
				r.Votes = append(r.Votes, "it shows a vote of "+a.name(author.Fingerprint)+", and we counted none")
			case err == nil && a.known(c, author.Fingerprint, f.Body) == nil:
				r.Votes = append(r.Votes, "it shows another vote of "+a.name(author.Fingerprint)+" than the one that we counted")
			}
		}})
	}
	a.round(ctx, wants)
}

func (a *Authority) isMember(fingerprint string) bool {
	return slices.ContainsFunc(a.members, func(m directory.Authority) bool { return m.Fingerprint == fingerprint })
}

// name is how a member is called in texts for people.
func (a *Authority) name(fingerprint string) string {
	for _, m := range a.members {
		if m.Fingerprint == fingerprint {
			return m.URLs[0] + " (" + fingerprint[:8] + ")"
		}
	}
	return fingerprint
}

// finish looks after the consensus of the day that has begun: it is published once a majority has signed it (dir-spec 7.5), at midnight or
// later.
func (a *Authority) finish(ctx context.Context, d time.Time) (next time.Time, err error) {
	c, err := a.cycle(d)
	if err != nil {
		return next, err
	}
	if a.current != nil && !a.current.ValidAfter.Before(d) {
		a.report(c)
		return d.Add(day), nil
	}
	done, err := a.publishOwn(c)
	if err != nil {
		return next, err
	}
	if voting := d.Add(day - beforeCollect); !done && !a.now.Before(voting) {
		return d.Add(day), nil // slow answers about yesterday must not delay the vote
	}
	if !done && a.now.Before(a.lateAt) {
		return a.lateAt, nil // a step for another reason
	}
	if !done && c.consensus != nil {
		if err := a.collectSignatures(ctx, c); err != nil {
			return next, err
		}
		if done, err = a.publishOwn(c); err != nil {
			return next, err
		}
	}
	if !done {
		if done, err = a.catchUp(ctx, d); err != nil {
			return next, err
		}
	}
	a.report(c)
	if done {
		return d.Add(day), nil
	}
	wait := lateEvery
	if a.now.Sub(d) < lateOften {
		wait = lateSoon
	}
	a.lateAt = earliest(a.now.Add(wait), d.Add(day))
	return a.lateAt, nil
}

// publishOwn makes what we signed the current consensus if a majority has signed it.
func (a *Authority) publishOwn(c *cycle) (bool, error) {
	if c.consensus == nil {
		return false, nil
	}
	if _, err := directory.CheckQuorum(c.consensus, c.sigs, a.members); err != nil {
		return false, nil
	}
	return true, a.adopt(c.consensus, c.sigs)
}

// publicHash is the hash of a directory, by which its readers compare it.
func publicHash(d *directory.Directory) logging.Public {
	hash := d.BodyHash()
	return logging.Public(hex.EncodeToString(hash[:]))
}
