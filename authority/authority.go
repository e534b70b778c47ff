package authority

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mixminion/authority/inbox"
	"mixminion/directory"
	"mixminion/internal/clock"
	"mixminion/internal/store/durable"
	"mixminion/internal/store/lockfile"
)

// maxDocument bounds a document, compressed or not.
const maxDocument = directory.MaxDirectoryLen + 1<<20

// The files in Config.Dir.
const (
	publicDir   = "public"   // what is served, under its names there
	historyDir  = "history"  // every consensus that a majority has signed
	recordDir   = "records"  // what happened on each day
	evidenceDir = "evidence" // consensuses of others that contradict ours
	lockName    = "authority.lock"
)

// A Source says which servers an authority votes for. It must be safe for concurrent use.
type Source interface {
	// Candidates returns the descriptors that this authority wants to be listed. What is over, superseded or in conflict with another one
	// is left out of the vote in any case; of two servers with one nickname the first stays.
	Candidates(now time.Time) []*directory.Descriptor
	// Recommended reports whether this authority calls the server of a descriptor reliable and trustworthy.
	Recommended(now time.Time, d *directory.Descriptor) bool
}

// An Exchange passes descriptors on between authorities (dir-spec 7.1.1). It must be safe for concurrent use.
type Exchange interface {
	// RawList returns the body of current-raw-servers.gz: the descriptors that this authority knows.
	RawList() ([]byte, error)
	// AddRawList treats each descriptor in such a document of another authority as if it had just been published.
	AddRawList(ctx context.Context, gz io.Reader, from string) (inbox.Summary, error)
}

var (
	_ Source   = (*inbox.Inbox)(nil)
	_ Exchange = (*inbox.Inbox)(nil)
)

// Config of an authority.
type Config struct {
	Dir      string            // where it keeps everything; made if missing
	Identity *rsa.PrivateKey   // see LoadIdentity
	Group    []directory.Voter // all members of the voting group, this one among them; all members must have the same
	Source   Source
	Exchange Exchange     // nil: no raw lists are exchanged
	Upload   http.Handler // takes descriptors at B/upload (dir-spec 5.2); nil: nobody does

	ClientVersions, ServerVersions []string // software to recommend
	Contact, Policy                string   // shown on the page

	Fetcher Fetcher     // nil: HTTP
	Clock   clock.Clock // nil: the real one; Step does not look at it
	Rand    io.Reader   // nil: crypto/rand; spreads the times of what is not bound to the schedule
	Logger  *slog.Logger

	// KeepVotes is how long votes, records and consensuses that never got a majority are kept; zero means 30 days.
	KeepVotes time.Duration
	// KeepConsensuses is how long consensuses are kept; zero means for ever.
	KeepConsensuses time.Duration
}

// ErrGroup says that the voting group cannot be right.
var ErrGroup = errors.New("the voting group cannot be right")

// Members returns the members of a group, each once with all its URLs, sorted by fingerprint.
func Members(group []directory.Voter) []directory.Authority {
	sorted := slices.Compact(slices.SortedFunc(slices.Values(group), directory.CompareVoters))
	var out []directory.Authority
	for _, v := range sorted {
		if n := len(out); n > 0 && out[n-1].Fingerprint == v.Fingerprint {
			out[n-1].URLs = append(out[n-1].URLs, v.URL)
			continue
		}
		out = append(out, directory.Authority{Fingerprint: v.Fingerprint, URLs: []string{v.URL}})
	}
	return out
}

// An Authority is one directory authority. Open it, run it or step it, close it.
type Authority struct {
	cfg     Config
	id      string // our fingerprint
	members []directory.Authority
	others  []directory.Authority
	shelf   *shelf
	lock    *os.File
	own     *HTTPFetcher // to be closed

	cache directory.Cache

	mu      sync.Mutex // held by Step, guards the rest
	now     time.Time
	cycles  map[time.Time]*cycle
	skews   map[string]time.Duration // of the others' clocks, by fingerprint
	rawAt   time.Time                // when the raw lists are fetched next
	lateAt  time.Time                // when a missing majority is looked for next
	swept   time.Time                // the day on which old documents were removed
	greeted bool                     // it was said that there is no consensus yet
	current *directory.Directory     // the last consensus that a majority signed; nil: none yet
	quorum  directory.Quorum         // of current

	view atomic.Pointer[view] // for those who do not hold mu

	pageMu sync.Mutex
	shown  renderedPage
}

// A view is what the page shows; it is replaced as a whole.
type view struct {
	voteDay string
	current *directory.Directory
	quorum  directory.Quorum
	records []*Record              // newest first
	votes   map[string]*viewedVote // for voteDay, by fingerprint
	skews   map[string]time.Duration
}

type viewedVote struct {
	*directory.Directory
	equivocal bool
}

// Open prepares an authority: it reads what it published before. Another process that has the directory open makes it fail with
// lockfile.ErrHeld. Other errors match ErrGroup or come from the system.
func Open(cfg Config) (_ *Authority, err error) {
	a := &Authority{
		cfg: cfg, id: Fingerprint(cfg.Identity), members: Members(cfg.Group),
		cycles: map[time.Time]*cycle{}, skews: map[string]time.Duration{},
	}
	if a.cfg.Clock == nil {
		a.cfg.Clock = clock.Real{}
	}
	if a.cfg.Rand == nil {
		a.cfg.Rand = rand.Reader
	}
	if a.cfg.Logger == nil {
		a.cfg.Logger = slog.New(slog.DiscardHandler)
	}
	a.cfg.KeepVotes = cmp.Or(a.cfg.KeepVotes, 30*day)
	if a.cfg.Fetcher == nil {
		a.own = NewHTTPFetcher()
		a.cfg.Fetcher = a.own
	}
	if err := cfg.CheckGroup(); err != nil {
		return nil, err
	}
	for _, m := range a.members {
		if m.Fingerprint != a.id {
			a.others = append(a.others, m)
		}
	}
	for _, dir := range []string{"", historyDir, recordDir, evidenceDir} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, dir), 0o700); err != nil {
			return nil, fmt.Errorf("make the directory of the authority: %w", err)
		}
	}
	// The lock is what keeps two processes from signing two votes.
	if a.lock, err = lockfile.Try(filepath.Join(cfg.Dir, lockName)); err != nil {
		return nil, fmt.Errorf("open the directory authority: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.lock.Close())
		}
	}()
	if a.shelf, err = openShelf(filepath.Join(cfg.Dir, publicDir)); err != nil {
		return nil, err
	}
	if err := durable.SyncDir(filepath.Join(cfg.Dir, historyDir)); err != nil {
		return nil, err
	}
	if err := a.loadCurrent(); err != nil {
		return nil, err
	}
	a.publishView()
	return a, nil
}

// Close gives the directory free. It must not be called while Step or Run is running.
func (a *Authority) Close() error {
	if a.own != nil {
		a.own.Close()
	}
	return a.lock.Close()
}

// Fingerprint is the authority's name in the group.
func (a *Authority) Fingerprint() string { return a.id }

// Current returns the last consensus that a majority of the group has signed, nil before the first one.
func (a *Authority) Current() *directory.Directory { return a.view.Load().current }

// Step does what is due at now and returns when there will be more to do. It asks other authorities and waits for their answers, for
// minutes if they are slow; what others do wrong is recorded and reported, and not an error. An error is about our own files or
// Source, and worth trying again: the time returned is soon then. Calls do not overlap.
func (a *Authority) Step(ctx context.Context, now time.Time) (next time.Time, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = now.UTC()
	start := today(a.now)
	tomorrow := start.Add(day)
	next = tomorrow
	run := func(at time.Time, stepErr error) {
		if stepErr != nil {
			err = errors.Join(err, stepErr)
			at = a.now.Add(failedEvery)
		}
		if at.After(a.now) {
			next = earliest(next, at)
		}
	}
	// Slow answers about yesterday must not delay the vote. This is the machine's time, which the network takes too.
	past, cancel := context.WithTimeout(ctx, max(0, min(finishTimeout, tomorrow.Add(-beforeCollect).Sub(a.now))))
	defer cancel()
	run(a.finish(past, start))
	if voting := tomorrow.Add(-beforeVote); a.now.Before(voting) {
		run(voting, nil)
	} else {
		run(a.advance(ctx, tomorrow))
	}
	run(a.exchangeRaw(ctx))
	run(tomorrow, a.sweep(start))
	run(tomorrow, a.saveRecords())
	a.publishView()
	return next, err
}

// noteClock remembers how far another member's clock is from ours.
func (a *Authority) noteClock(fingerprint string, date time.Time) {
	skew := date.Sub(a.now)
	if skew > -maxSkew && skew < maxSkew {
		skew = 0
	}
	a.skews[fingerprint] = skew
}
