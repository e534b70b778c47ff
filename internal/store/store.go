package store

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// Limits of what a store takes.
const (
	// MaxBody is the longest body, in bytes.
	MaxBody = 1<<16 - 1
	// MaxQueueName is the longest name of a queue, in bytes.
	MaxQueueName = 255
	// MaxCommit is the greatest sum of bodies of one Commit, in bytes.
	MaxCommit = 256 << 20
)

// Options of a store; the zero value is good for a mix.
type Options struct {
	// FS is the disk; nil means OS. With one that Sealed made, all but the ballast is encrypted.
	FS FS
	// MaxBytes is the greatest disk use of segments and runs of open replay logs; 0 means what the disk has.
	// Erasing and moving packets, and merging runs, may exceed it a little.
	MaxBytes int64
	// SegmentBytes is the size at which a segment is sealed; 0 means 64 MiB. At least 4096, at most 1 GiB, and never
	// more than an eighth of MaxBytes.
	SegmentBytes int64
	// TickBytes is what the largest Commit needs; Room keeps it free. 0 means 4 MiB.
	TickBytes int64
	// RunEntries is the number of hashes of a replay log in memory at which they are written as a run; 0 means
	// 262,144. Memory holds up to three times as many.
	RunEntries int
	// Manual leaves the background work (writing runs and sidecars, merging, reclaiming) to calls of Tend;
	// without it the store has goroutines of its own.
	Manual bool
}

const minSegment = 4096

func (o *Options) fill() error {
	if o.FS == nil {
		o.FS = OS
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 64 << 20
	}
	o.SegmentBytes = shareOf(o.MaxBytes, o.SegmentBytes).segment
	if o.TickBytes == 0 {
		o.TickBytes = 4 << 20
	}
	if o.RunEntries == 0 {
		o.RunEntries = 1 << 18
	}
	if o.SegmentBytes < minSegment || o.SegmentBytes > 1<<30 || o.TickBytes < 0 || o.RunEntries < 0 || o.MaxBytes < 0 {
		return fmt.Errorf("%w: options of the store", ErrInvalid)
	}
	return nil
}

// Store is an open packet store with its replay logs. All methods may be called at the same time.
type Store struct {
	dir  string
	opts Options
	fs   FS
	id   storeID
	lock io.Closer

	// life is read-locked by every exported method; Close locks it.
	life    sync.RWMutex
	stop    chan struct{}
	stopped sync.Once
	wake    chan struct{}
	mergers chan struct{}
	group   sync.WaitGroup

	// syncMu admits one sync of the journal at a time: those who wait find their bytes synced with it.
	// Order of locks: life, reclaimMu, ReplayLog.flushMu and mergeMu, syncMu, ReplayLog.manMu, mu,
	// ReplayLog.runMu, segment.pin.
	syncMu    sync.Mutex
	reclaimMu sync.Mutex
	shredMu   sync.Mutex // after reclaimMu, before syncMu

	runBytes atomic.Int64 // size of all runs of open logs
	share    atomic.Pointer[share]

	mu       sync.Mutex
	closed   bool
	failed   error      // sticky
	segs     []*segment // ascending; the last is active
	segBytes int64      // size of all segments and sidecars
	written  uint64     // bytes appended since Open
	durable  uint64     // of these, known durable
	seq      uint64     // of the last frame
	nextID   ID
	packets  *index
	logs     map[logID]*ReplayLog
	pending  map[logID][]pendingHashes
	damage   []Damage
	buf      []byte // frames are built here
	ballast  bool   // the ballast file has its full size
	scarce   bool   // there is room for little more than one tick

	// Of an encrypted store; page is nil in one in clear.
	page     *keyPage
	shredNow chan struct{}
	doomed   []doomedKey // guarded by mu; in the order of their records
}

// Open opens the store in dir, made when it is missing (its parent must exist), and recovers what a crash left.
// ErrLocked: another process has it open. ErrSealed: it is encrypted. ErrKey: with another key. A store in clear
// becomes an encrypted one when the FS is one that Sealed made: what is written is encrypted, and what is there as soon
// as [Store.DropOrphans] is called. Damage by the medium does not make Open fail: see Damage.
func Open(dir string, opts Options) (*Store, error) {
	if err := opts.fill(); err != nil {
		return nil, err
	}
	s := &Store{
		dir: dir, opts: opts, fs: opts.FS,
		stop: make(chan struct{}), wake: make(chan struct{}, 1), mergers: make(chan struct{}, 1),
		shredNow: make(chan struct{}, 1),
		nextID:   1, packets: newIndex(),
		logs: map[logID]*ReplayLog{}, pending: map[logID][]pendingHashes{},
	}
	s.share.Store(shareOf(opts.MaxBytes, opts.SegmentBytes))
	if err := s.fs.Mkdir(dir); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := s.fs.SyncDir(filepath.Dir(dir)); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	lock, err := s.fs.Lock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s.lock = lock
	if err := s.recover(); err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, errors.Join(err, s.closeFiles()))
	}
	if !opts.Manual {
		s.group.Add(2)
		go s.keeper()
		go s.merger()
		if s.page != nil {
			s.group.Add(1)
			go s.shredder()
		}
		s.poke()
	}
	return s, nil
}

const (
	lockName    = "lock"
	ballastName = "ballast"
)

// enter begins an exported method; on nil the caller must read-unlock life.
func (s *Store) enter() error {
	s.life.RLock()
	s.mu.Lock()
	err := s.failed
	if s.closed {
		err = ErrClosed
	}
	s.mu.Unlock()
	if err != nil {
		s.life.RUnlock()
	}
	return err
}

// failWith makes the store fail for good. The state of the disk is unknown, so nothing may be promised any more.
func (s *Store) failWith(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failLocked(err)
}

func (s *Store) failLocked(err error) error {
	if s.failed == nil {
		s.failed = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return s.failed
}

// Err returns the error that made the store fail, or nil.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// Damage lists what was found unreadable since Open (at most 1,000 places).
func (s *Store) Damage() []Damage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Damage(nil), s.damage...)
}

func (s *Store) noteDamage(d Damage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noteDamageLocked(d)
}

func (s *Store) noteDamageLocked(d Damage) {
	for _, have := range s.damage {
		if have == d {
			return
		}
	}
	if len(s.damage) < 1000 {
		s.damage = append(s.damage, d)
	}
}

func (s *Store) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// Close stops the background work, writes the hashes of every open log into its directory (so that keys can be
// moved with their logs) and closes the store. It returns the first error; the store is closed anyway.
func (s *Store) Close() error {
	s.stopped.Do(func() { close(s.stop) })
	s.life.Lock()
	defer s.life.Unlock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	err := s.failed
	s.mu.Unlock()
	s.group.Wait()
	if err == nil {
		err = s.settle()
	}
	if cerr := s.closeFiles(); err == nil {
		err = cerr
	}
	return err
}

// settle makes everything durable before a clean end.
func (s *Store) settle() error {
	for _, l := range s.openLogs() {
		// A full disk is no reason not to end: the journal holds the hashes.
		if err := l.flushAll(); err != nil && !errors.Is(err, ErrFull) {
			return err
		}
	}
	s.mu.Lock()
	lsn := s.written
	s.mu.Unlock()
	if err := s.syncTo(lsn); err != nil {
		return err
	}
	s.mu.Lock()
	active := s.segs[len(s.segs)-1]
	active.sealed = true
	s.mu.Unlock()
	if err := s.shred(); err != nil && !errors.Is(err, ErrFull) {
		return err
	}
	if s.page != nil {
		if err := s.fs.Stamp(s.page.path); err != nil {
			return err
		}
	}
	if err := s.finishSegments(); err != nil && !errors.Is(err, ErrFull) {
		return err
	}
	return nil
}

func (s *Store) openLogs() []*ReplayLog {
	s.mu.Lock()
	defer s.mu.Unlock()
	logs := make([]*ReplayLog, 0, len(s.logs))
	for _, l := range s.logs {
		logs = append(logs, l)
	}
	return logs
}

func (s *Store) closeFiles() error {
	var err error
	for _, l := range s.openLogs() {
		err = errors.Join(err, l.closeRuns())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range s.segs {
		err = errors.Join(err, seg.f.Close())
	}
	if s.page != nil {
		err = errors.Join(err, s.page.f.Close())
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}

// Usage tells the operator about a store.
type Usage struct {
	Packets int   // packets in pool and queues
	Live    int64 // bytes of these packets in segments
	Disk    int64 // bytes of segments and runs
	Clear   int64 // of an encrypted store: bytes of segments that are still in clear, from the time before
}

// Usage returns the current use.
func (s *Store) Usage() Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := Usage{Packets: s.packets.n, Disk: s.segBytes + s.runBytes.Load()}
	for _, seg := range s.segs {
		u.Live += seg.live
		if seg.clear {
			u.Clear += seg.size
		}
	}
	return u
}

// Room says whether a tick's worth (Options.TickBytes) fits. The mix asks before it decrypts anything.
func (s *Store) Room() bool {
	if err := s.enter(); err != nil {
		return false
	}
	defer s.life.RUnlock()
	if s.fits(s.share.Load().reserve() + s.opts.TickBytes) {
		return true
	}
	s.poke()
	return false
}

// fits says whether so many more bytes fit on the disk and under the cap.
func (s *Store) fits(need int64) bool {
	s.mu.Lock()
	most := s.share.Load().most
	over := most > 0 && s.segBytes+s.runBytes.Load()+need > most
	s.mu.Unlock()
	if over {
		return false
	}
	// When the system cannot tell, a Commit will: it fails with ErrFull and accepts nothing.
	free, err := s.fs.Free(s.dir)
	return err != nil || free >= need
}
