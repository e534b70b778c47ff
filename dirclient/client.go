package dirclient

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"mixminion/directory"
	"mixminion/internal/uniform"
)

// ErrNoAuthorities says that nobody is trusted, so that no directory can be.
var ErrNoAuthorities = errors.New("no directory authority is known: write lines \"Authority: FINGERPRINT URL\", as the authorities publish them, " +
	"into the section [DirectoryServers] of your configuration")

// Options configures a Client.
type Options struct {
	// Dir is where the directory is held. It must exist.
	Dir string
	// Trusted are the authorities, more than half of which must have signed a directory.
	Trusted []directory.Authority
	// Mirrors are the URL bases of other places to download from. Those of the authorities, and those that stand in the directory that is
	// held, are used in any case.
	Mirrors []string
	Fetch   FetchOptions
}

// A Client holds a directory and downloads newer ones. It is safe for concurrent use, also by several processes.
type Client struct {
	opts  Options
	fetch *Fetcher
	now   func() time.Time

	mu    sync.Mutex
	held  *Consensus
	stamp os.FileInfo // of the file that held was read from
}

// New returns a Client.
func New(o Options) *Client {
	f := NewFetcher(o.Fetch)
	return &Client{opts: o, fetch: f, now: f.opts.Now}
}

// Trusts reports whether there are authorities at all.
func (c *Client) Trusts() bool { return len(c.opts.Trusted) > 0 }

// Fetcher is what the client makes its requests with.
func (c *Client) Fetcher() *Fetcher { return c.fetch }

// Held returns the directory that is held, its signatures verified, whatever its age; nil if there is none or nobody is
// trusted. ErrHeld says that there is one that cannot be used.
func (c *Client) Held() (*Consensus, error) {
	if !c.Trusts() {
		return nil, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read()
}

// read reads what is held unless the file is the one that was read last. mu is held.
func (c *Client) read() (*Consensus, error) {
	info, err := os.Stat(filepath.Join(c.opts.Dir, heldName))
	same := err == nil && c.stamp != nil && os.SameFile(info, c.stamp) && info.ModTime().Equal(c.stamp.ModTime()) && info.Size() == c.stamp.Size()
	if !same {
		c.held, c.stamp = nil, nil
		held, err := load(c.opts.Dir, c.opts.Trusted, c.now())
		if held == nil || err != nil {
			return nil, err
		}
		c.held, c.stamp = held, info
	}
	held := *c.held
	held.Day = readDay(c.opts.Dir)
	return &held, nil
}

// LastDay is the day (UTC) of the last download, as midnight; zero if there was none.
func (c *Client) LastDay() time.Time { return readDay(c.opts.Dir) }

// Due reports whether a directory has to be downloaded before packets are made (dir-spec 8): since midnight none was, or what is held is
// missing or cannot be used.
func (c *Client) Due() bool {
	if !c.Trusts() {
		return false
	}
	held, err := c.Held()
	return held == nil || err != nil || Due(c.now(), held.Day)
}

// maxSources is how many places one download tries.
const maxSources = 8

// warnSkew is from what difference on somebody's clock is wrong.
const warnSkew = 30 * time.Minute

// An Update is the outcome of a download.
type Update struct {
	// Consensus is what is held now.
	Consensus *Consensus
	// New says that it was not held before; Source is then where it came from.
	New    bool
	Source string
	// Failures are the sources that were of no use.
	Failures []SourceError
	// Skews are the sources whose clocks differ much from ours.
	Skews []Skew
}

// A SourceError says why a source was of no use.
type SourceError struct {
	URL string
	Err error
}

func (e SourceError) Error() string { return e.URL + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e SourceError) Unwrap() error { return e.Err }

// A Skew is by how much a source's clock is ahead of ours.
type Skew struct {
	URL   string
	Ahead time.Duration
}

func (s Skew) String() string {
	ahead, word := s.Ahead, "ahead of"
	if ahead < 0 {
		ahead, word = -ahead, "behind"
	}
	return fmt.Sprintf("the clock of %s is %v %s ours", s.URL, ahead.Round(time.Minute), word)
}

// An UpdateError says that no source had a directory that can be used, and why not.
type UpdateError struct {
	Failures []SourceError
	Skews    []Skew
}

func (e *UpdateError) Error() string {
	var parts []string
	for _, f := range e.Failures {
		parts = append(parts, f.Error())
	}
	text := "no directory could be downloaded; " + e.advice() + ". " + strings.Join(parts, "; ")
	if len(e.Skews) > 0 {
		text += "; " + e.Skews[0].String()
	}
	return text
}

// Unwrap returns the causes.
func (e *UpdateError) Unwrap() []error {
	var errs []error
	for _, f := range e.Failures {
		errs = append(errs, f)
	}
	return errs
}

func (e *UpdateError) advice() string {
	switch {
	case errors.Is(e, directory.ErrEarly):
		return "check your clock"
	case errors.Is(e, directory.ErrQuorum):
		return "compare the authorities in your configuration with those that are announced"
	case len(e.Skews) > 0:
		return "check your clock"
	}
	return "check your connection, or try again later"
}

// Update downloads the directory from sources in random order until one has what is valid now, and holds the newest that it found. That
// may be the one that was held before. If no source had a directory that counts, the error is an *UpdateError and what was held stays.
func (c *Client) Update(ctx context.Context) (*Update, error) {
	if !c.Trusts() {
		return nil, ErrNoAuthorities
	}
	if err := c.opts.Fetch.Proxy.refusal; err != nil {
		return nil, fmt.Errorf("download the directory: %w", err)
	}
	held, err := c.Held()
	if err != nil && !errors.Is(err, ErrHeld) {
		return nil, err
	}
	sources, err := c.sources(held)
	if err != nil {
		return nil, err
	}
	up := &Update{Consensus: held}
	answered := false
	for _, url := range sources[:min(len(sources), maxSources)] {
		better, err := c.try(ctx, url, up)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("download the directory: %w", ctx.Err())
		}
		if err != nil {
			up.Failures = append(up.Failures, SourceError{url, err})
			continue
		}
		answered = true
		if better != nil {
			up.Consensus, up.New, up.Source = better, true, url
		}
		if up.Consensus.Freshness(c.now()) == directory.Fresh {
			break
		}
	}
	if !answered {
		return nil, &UpdateError{up.Failures, up.Skews}
	}
	return up, c.keep(ctx, up)
}

// sources returns the URL bases of all places to download from, in random order.
func (c *Client) sources(held *Consensus) ([]string, error) {
	var all []string
	for _, a := range c.opts.Trusted {
		all = append(all, a.URLs...)
	}
	all = append(all, c.opts.Mirrors...)
	if held != nil {
		for _, v := range held.Voters {
			all = append(all, v.URL)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: no URL of an authority or mirror is known", ErrURL)
	}
	return all, uniform.ShuffleSlice(rand.Reader, all)
}

// try downloads from one source. It returns the directory if it is newer than the best one so far, and nil if it is that one.
func (c *Client) try(ctx context.Context, base string, up *Update) (*Consensus, error) {
	s := c.fetch.session()
	defer s.close()
	gz, err := s.get(ctx, base+CurrentName, maxCompressed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", CurrentName, err)
	}
	if gz.Skew > warnSkew || gz.Skew < -warnSkew {
		up.Skews = append(up.Skews, Skew{base, gz.Skew})
	}
	sig, err := s.get(ctx, base+CurrentSigName, directory.MaxDetachedLen)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", CurrentSigName, err)
	}
	served, err := Judge(gz.Body, sig.Body, c.opts.Trusted, c.now())
	if err != nil {
		return nil, err
	}
	if better, err := prefer(served, up.Consensus); err != nil || !better {
		return nil, err
	}
	return served, nil
}

// keep writes down what a download led to, unless another process has been faster.
func (c *Client) keep(ctx context.Context, up *Update) (err error) {
	unlock, err := lock(ctx, c.opts.Dir)
	if err != nil {
		return fmt.Errorf("keep the directory: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	c.mu.Lock()
	defer c.mu.Unlock()
	if up.New {
		if err := c.replace(up); err != nil {
			return fmt.Errorf("keep the directory: %w", err)
		}
	}
	if err := saveDay(c.opts.Dir, c.now()); err != nil {
		return fmt.Errorf("keep the directory: %w", err)
	}
	up.Consensus.Day = midnight(c.now())
	return nil
}

// replace writes the new directory unless one as new is held meanwhile. mu is held.
func (c *Client) replace(up *Update) error {
	held, err := c.read()
	switch {
	case err != nil && !errors.Is(err, ErrHeld):
		return err
	case held != nil && !up.Consensus.NewerThan(held.Directory):
		up.Consensus, up.New, up.Source = held, false, ""
		return nil
	}
	if err := save(c.opts.Dir, up.Consensus); err != nil {
		return err
	}
	// What was just verified need not be verified again; the lock keeps other processes from having replaced it.
	if info, err := os.Stat(filepath.Join(c.opts.Dir, heldName)); err == nil {
		written := *up.Consensus
		c.held, c.stamp = &written, info
	}
	return nil
}
