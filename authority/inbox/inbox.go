// Package inbox is where a directory authority keeps what mixes and operators tell it: the descriptors that were uploaded, and
// what the operator has decided about each mix. It checks uploads, answers them, and says which descriptors the authority
// votes for. The source is dir-spec 3.1, dir-spec 3.2, dir-spec 5.2 and dir-spec 7.1.
//
// A server is its identity key. It is pending until the operator approves, rejects or bans it. Descriptors of pending and of
// rejected servers are kept and passed on to other authorities (dir-spec 7.1.1), but only approved servers are voted for. Of a
// banned server nothing is kept.
//
// Everything lies in small files, each replaced as a whole, below one directory: "decisions", and "descriptors" with one file
// for each descriptor. The daemon and the commands of the operator work on them at the same time: who changes something holds
// a lock for as long as it takes, and every use begins by reading what others have changed.
//
// Anybody can upload. Uploads are limited by source and in all, pending servers are limited in number and bytes, and when there are
// too many, those go that came from where most came from. Approved servers are never pushed out. Addresses of uploaders are
// held in memory only, as prefixes, and never logged.
package inbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"mixminion/directory"
	"mixminion/internal/clock"
	"mixminion/internal/crypt"
	"mixminion/internal/store"
)

// A Config says how an Inbox works. Only Dir is needed.
type Config struct {
	// Dir holds all files. It is made if its parent exists.
	Dir string
	// AutoApprove approves every new server, up to Limits.AutoApproved: for test networks.
	AutoApprove bool
	// BehindProxy takes the last address of X-Forwarded-For for the source of an upload.
	BehindProxy bool
	// Reliability says which servers work; nil: nothing is known, and all count as reliable.
	Reliability Reliability

	Limits Limits       // zero: DefaultLimits
	FS     store.FS     // nil: the operating system's
	Clock  clock.Clock  // nil: the system's
	Logger *slog.Logger // nil: none
}

// Limits bound what strangers can make an Inbox hold and do.
type Limits struct {
	Pending      int   // servers that wait for a decision
	PendingBytes int64 // of all their descriptors
	Descriptors  int   // of one server; those published last are kept
	AutoApproved int   // servers that are approved without a person

	PerSource Rate // uploads from one prefix of addresses (IPv4 /24, IPv6 /48)
	Overall   Rate // uploads from everywhere
	Sources   int  // prefixes that are remembered
}

// A Rate is a token bucket: Burst at once, and one more each Every.
type Rate struct {
	Every time.Duration
	Burst int
}

// DefaultLimits are far above what a network of some hundred mixes needs, and far below what hurts a small machine.
var DefaultLimits = Limits{
	Pending: 500, PendingBytes: 8 << 20, Descriptors: 8, AutoApproved: 500,
	PerSource: Rate{30 * time.Second, 30}, Overall: Rate{100 * time.Millisecond, 200}, Sources: 4096,
}

// The files below Config.Dir.
const (
	lockFile       = "lock"
	decisionsFile  = "decisions"
	descriptorsDir = "descriptors"
)

// An Inbox is safe for concurrent use, and so are several of them, in one or more processes, on one directory.
type Inbox struct {
	cfg   Config
	fs    store.FS
	clock clock.Clock
	log   *slog.Logger
	limit *limiter
	// lists remembers what came in lists: every hour the other authorities show the same descriptors again. What strangers upload is not
	// remembered.
	lists directory.Cache

	mu        sync.Mutex // of all below
	text      []byte     // of the file of decisions that decisions was read from
	decisions map[crypt.KeyID]Record
	files     map[string]*descriptorFile // by name
	damaged   map[string]bool            // files that are no descriptors, by name
	servers   map[crypt.KeyID][]*descriptorFile
	sources   map[crypt.KeyID]string // where pending servers came from, as far as it is known
	raw       rawList
	troubled  throttle
	crowded   throttle
}

// Open reads what is in cfg.Dir, or begins there.
func Open(cfg Config) (*Inbox, error) {
	if cfg.Limits == (Limits{}) {
		cfg.Limits = DefaultLimits
	}
	b := &Inbox{
		cfg: cfg, fs: cfg.FS, clock: cfg.Clock, log: cfg.Logger, limit: newLimiter(cfg.Limits),
		decisions: map[crypt.KeyID]Record{}, files: map[string]*descriptorFile{}, damaged: map[string]bool{},
		servers: map[crypt.KeyID][]*descriptorFile{}, sources: map[crypt.KeyID]string{},
	}
	if b.fs == nil {
		b.fs = store.OS
	}
	if b.clock == nil {
		b.clock = clock.Real{}
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	for _, dir := range []string{cfg.Dir, b.path(descriptorsDir)} {
		if err := b.fs.Mkdir(dir); err != nil {
			return nil, fmt.Errorf("open inbox: %w", err)
		}
		if err := b.fs.SyncDir(filepath.Dir(dir)); err != nil {
			return nil, fmt.Errorf("open inbox: %w", err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.sync(); err != nil {
		return nil, fmt.Errorf("open inbox: %w", err)
	}
	return b, nil
}

func (b *Inbox) path(names ...string) string {
	return filepath.Join(append([]string{b.cfg.Dir}, names...)...)
}

// How long change waits for another process, and how often it looks.
const (
	lockWait = 10 * time.Second
	lockPoll = 20 * time.Millisecond
)

// change does work that changes files, alone among all processes, on what they have left.
func (b *Inbox) change(ctx context.Context, work func(now time.Time) error) (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	lock, err := b.lock(ctx)
	if err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := b.sync(); err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	return work(b.clock.Now())
}

func (b *Inbox) lock(ctx context.Context) (io.Closer, error) {
	// This is the time of the machine: the other process does not follow a clock of ours.
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for {
		lock, err := b.fs.Lock(b.path(lockFile))
		if !errors.Is(err, store.ErrLocked) {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("another process holds %s: %w", b.path(lockFile), ctx.Err())
		case <-ticker.C:
		}
	}
}

// sync reads what other processes, or nobody yet, have changed. On an error the last good state stays.
func (b *Inbox) sync() error {
	text, err := readFile(b.fs, b.path(decisionsFile), maxDecisions)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if string(text) != string(b.text) {
		decisions, err := parseDecisions(text)
		if err != nil {
			return fmt.Errorf("%s: %w", b.path(decisionsFile), err)
		}
		b.text, b.decisions = text, decisions
	}
	return b.syncDescriptors()
}

// look is sync for those who only read: they go on with the last good state, and the operator is told.
func (b *Inbox) look() {
	if err := b.sync(); err != nil && b.troubled.allow(b.clock.Now()) {
		b.log.Error("the inbox of the directory cannot be read anew; what was read before is used", "error", err)
	}
}
