package authority

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"mixminion/directory"
	"mixminion/directory/vote"
)

// checkVote makes all checks of dir-spec 7.3, and that the vote is of the member that it should be of.
func (a *Authority) checkVote(text []byte, d time.Time, fingerprint string) (*directory.Directory, error) {
	v, err := vote.CheckVote(&a.cache, text, d, a.cfg.Group)
	if err != nil {
		return nil, err
	}
	if !v.SignedBy(fingerprint) {
		return nil, fmt.Errorf("%w: it is signed by %s", vote.ErrSigner, v.Signers[0].Fingerprint())
	}
	return v, nil
}

// accept takes a valid vote of a member and publishes it for all others to see. A second one that says something else is published too, as
// the proof that its author has signed two; a third one adds nothing.
func (a *Authority) accept(c *cycle, fingerprint string, v *directory.Directory) error {
	held := c.votes[fingerprint]
	for _, h := range held {
		if h.BodyHash() == v.BodyHash() {
			return nil
		}
	}
	name := copyName(c.day, fingerprint)
	switch {
	case len(held) > 1:
		return nil
	case len(held) == 1:
		name = proofName(c.day, fingerprint)
	case fingerprint == a.id:
		name = voteName(c.day)
	}
	if err := a.shelf.putText(name, v.Text()); err != nil {
		return fmt.Errorf("publish the vote of %s: %w", fingerprint, err)
	}
	c.votes[fingerprint] = append(held, v)
	if len(held) == 0 {
		return nil
	}
	c.rec.member(fingerprint).Equivocated = true
	if fingerprint == a.id {
		a.cfg.Logger.Error("another vote for the same day carries our signature: the identity key is in use twice, or stolen; "+
			"our votes do not count today", "day", c.rec.Day, "file", name)
		return nil
	}
	a.cfg.Logger.Error("an authority has signed two different votes for one day; neither counts, and both are published as proof",
		"day", c.rec.Day, "authority", fingerprint, "first", copyName(c.day, fingerprint), "second", name)
	return nil
}

// recall gets our own vote back from the others, if our disk has lost it since they got it: a second one would be void, and the first too.
func (a *Authority) recall(ctx context.Context, c *cycle) (err error) {
	var wants []want
	for _, m := range a.others {
		wants = append(wants, want{from: m, name: copyName(c.day, a.id), limit: maxDocument, got: func(f Fetched, fetchErr error) {
			if fetchErr != nil {
				return
			}
			if v, checkErr := a.checkVote(f.Body, c.day, a.id); checkErr == nil {
				a.cfg.Logger.Warn("our vote is not on the disk, and another authority has it; it is taken from there", "authority", a.name(m.Fingerprint))
				err = errors.Join(err, a.accept(c, a.id, v))
			}
		}})
	}
	a.round(ctx, wants)
	return err
}

// collect gets the votes that are missing from those who made them.
func (a *Authority) collect(ctx context.Context, c *cycle) (next time.Time, err error) {
	var wants []want
	for _, m := range a.others {
		if len(c.votes[m.Fingerprint]) > 0 {
			continue
		}
		wants = append(wants, want{from: m, name: voteName(c.day), limit: maxDocument, got: func(f Fetched, fetchErr error) {
			r := c.rec.member(m.Fingerprint)
			if fetchErr != nil {
				r.VoteError = describe(fetchErr)
				return
			}
			v, checkErr := a.checkVote(f.Body, c.day, m.Fingerprint)
			if checkErr != nil {
				r.VoteError = checkErr.Error()
				return
			}
			r.VoteError = ""
			err = errors.Join(err, a.accept(c, m.Fingerprint, v))
		}})
	}
	a.round(ctx, wants)
	for _, m := range a.others {
		if len(c.votes[m.Fingerprint]) == 0 {
			return a.now.Add(collectEvery), err
		}
	}
	return c.day, err
}

// compare gets the copies of votes that the others publish, and takes those that are news. Once there is a vote of everybody, and all show
// what we hold, there is nothing more to learn. A vote that nobody has yet may still come to somebody whose clock is slow.
func (a *Authority) compare(ctx context.Context, c *cycle) (next time.Time, err error) {
	if c.rec.Compared {
		return c.day, nil
	}
	agreed := map[string]bool{}
	for _, m := range a.others {
		agreed[m.Fingerprint] = true
	}
	var wants []want
	for _, from := range a.others {
		for _, author := range a.members {
			if author.Fingerprint == from.Fingerprint {
				continue
			}
			for i, name := range []string{copyName(c.day, author.Fingerprint), proofName(c.day, author.Fingerprint)} {
				wants = append(wants, want{from: from, name: name, limit: maxDocument, got: func(f Fetched, fetchErr error) {
					same, acceptErr := a.compareOne(c, from.Fingerprint, author.Fingerprint, i, f, fetchErr)
					err = errors.Join(err, acceptErr)
					if !same {
						agreed[from.Fingerprint] = false
					}
				}})
			}
		}
	}
	a.round(ctx, wants)
	for _, m := range a.others {
		if !agreed[m.Fingerprint] || len(c.votes[m.Fingerprint]) == 0 {
			return a.now.Add(copiesEvery), err
		}
	}
	c.rec.Compared = true
	return c.day, err
}

// compareOne looks at a copy of an author's vote at another member, the first or the second one (i), and reports whether that member shows
// what we hold.
func (a *Authority) compareOne(c *cycle, from, author string, i int, f Fetched, fetchErr error) (same bool, err error) {
	if errors.Is(fetchErr, ErrNotFound) {
		c.rec.member(from).Answered = true
		return len(c.votes[author]) <= i, nil
	}
	if fetchErr != nil {
		return false, nil
	}
	c.rec.member(from).Answered = true
	v := a.known(c, author, f.Body)
	if v == nil {
		var checkErr error
		if v, checkErr = a.checkVote(f.Body, c.day, author); checkErr != nil {
			c.rec.problem("%s publishes as the vote of %s what is none: %v", a.name(from), a.name(author), checkErr)
			return false, nil
		}
	}
	if err := a.accept(c, author, v); err != nil {
		return false, err
	}
	r := c.rec.member(author)
	if author != a.id && c.rec.member(author).VoteError != "" {
		r.VoteError = ""
		r.Indirect = true
	}
	if own := c.ownVote(a.id); author == a.id && own != nil && own.BodyHash() == v.BodyHash() {
		c.rec.OwnSeen = true
	}
	return true, nil
}

// known returns the vote that we hold with exactly this text.
func (a *Authority) known(c *cycle, author string, text []byte) *directory.Directory {
	for _, v := range c.votes[author] {
		if bytes.Equal(v.Text(), text) {
			return v
		}
	}
	return nil
}

// describe says why a document could not be had, without the URL that package net/http puts in front.
func describe(err error) string {
	if errors.Is(err, ErrNotFound) {
		return ErrNotFound.Error()
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return "no answer in time"
	}
	return rootCause(err).Error()
}

func rootCause(err error) error {
	for {
		u := errors.Unwrap(err)
		if u == nil {
			return err
		}
		err = u
	}
}
