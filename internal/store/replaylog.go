package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// ReplayLog is the replay log of one packet key, open in a [Store]. It lives in a directory of its own, which
// belongs beside the key: whoever moves or deletes the one moves or deletes the other.
type ReplayLog struct {
	s    *Store
	dir  string
	name string
	id   logID
	prf  prf

	// Guarded by Store.mu.
	mem       *memTable // hashes that are in no run
	frozen    *memTable // hashes on their way into a run; read-only
	frozenSeq uint64    // the run will cover the journal up to here
	flushed   uint64    // the runs cover the journal up to here
	closed    bool

	// flushMu admits one flush at a time, mergeMu one merge, manMu one change of the manifest.
	flushMu sync.Mutex
	mergeMu sync.Mutex
	manMu   sync.Mutex
	man     manifest // guarded by manMu

	// runMu guards runs. version changes with every change of runs; written with both Store.mu and runMu held.
	runMu   sync.RWMutex
	runs    []*run
	version uint64
}

// pendingHashes are hashes found in the journal of logs that nobody opened yet.
type pendingHashes struct {
	seq    uint64
	hashes []byte
}

// Name is the name given to CreateLog.
func (l *ReplayLog) Name() string { return l.name }

// CreateLog makes an empty replay log in dir and opens it. The directory is created if it is missing; its parent must
// exist, and neither may be renamed while the log is open. The name (1 to 64 bytes; the mix uses the key's, like
// "0001") is stored, and OpenLog demands the same.
// ErrLogExists: there is a replay log in dir.
func (s *Store) CreateLog(dir, name string) (*ReplayLog, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.life.RUnlock()
	if name == "" || len(name) > maxLogName {
		return nil, fmt.Errorf("%w: name of a replay log", ErrInvalid)
	}
	if err := s.fs.Mkdir(dir); err != nil {
		return nil, fmt.Errorf("create replay log: %w", err)
	}
	names, err := s.fs.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("create replay log: %w", err)
	}
	if slices.Contains(names, manifestName) {
		return nil, fmt.Errorf("create replay log %s in %s: %w", name, dir, ErrLogExists)
	}
	m := manifest{store: s.id, name: name, nextRun: 1}
	fillRandom(m.log[:])
	fillRandom(m.key[:])
	// The commit point of the creation is the rename of the manifest. A crash before leaves a directory
	// without a log, in which CreateLog works again.
	if err := writeNew(s.fs, filepath.Join(dir, manifestName), m.marshal()); err != nil {
		return nil, fmt.Errorf("create replay log: %w", err)
	}
	if err := errors.Join(s.fs.SyncDir(dir), s.fs.SyncDir(filepath.Dir(dir))); err != nil {
		return nil, fmt.Errorf("create replay log: %w", err)
	}
	return s.openLog(dir, name)
}

// OpenLog opens the replay log in dir and adds what the journal holds for it.
// ErrNoLog: there is none, or it has another name. ErrCorrupt: its files cannot be trusted; the key should be
// destroyed with it. ErrLogExists: it is already open.
func (s *Store) OpenLog(dir, name string) (*ReplayLog, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.life.RUnlock()
	return s.openLog(dir, name)
}

func (s *Store) openLog(dir, name string) (*ReplayLog, error) {
	fail := func(err error) (*ReplayLog, error) {
		return nil, fmt.Errorf("open replay log %s in %s: %w", name, dir, err)
	}
	b, err := readFile(s.fs, filepath.Join(dir, manifestName), maxManifest)
	if errors.Is(err, os.ErrNotExist) {
		// A crash may have come while it was destroyed.
		if err := s.removeLog(dir); err != nil {
			return fail(err)
		}
		return fail(ErrNoLog)
	}
	if err != nil {
		return fail(err)
	}
	m, err := parseManifest(b)
	if err != nil {
		return fail(err)
	}
	if s.page != nil {
		if err := s.sealLog(dir, m.runs); err != nil {
			return fail(err)
		}
	}
	if m.name != name {
		return fail(fmt.Errorf("%w of this name, but one named %q", ErrNoLog, m.name))
	}
	l := &ReplayLog{s: s, dir: dir, name: name, id: m.log, man: m}
	if l.prf, err = newPRF(m.key); err != nil {
		return fail(err)
	}
	l.mem = l.newTable()
	if m.store == s.id {
		l.flushed = m.flushed
	}
	l.man.store, l.man.flushed = s.id, l.flushed
	if err := l.openRuns(); err != nil {
		return fail(errors.Join(err, l.closeRuns()))
	}
	s.mu.Lock()
	if s.logs[l.id] != nil {
		s.mu.Unlock()
		return fail(errors.Join(ErrLogExists, l.closeRuns()))
	}
	// Rot may have taken the youngest frames; their numbers must not be used twice, as hashes under them would be
	// passed over at the next start.
	s.seq = max(s.seq, l.flushed)
	for _, p := range s.pending[l.id] {
		if p.seq <= l.flushed {
			continue
		}
		for h := p.hashes; len(h) > 0; h = h[hashLen:] {
			l.mem.add((*replayHash)(h))
		}
	}
	delete(s.pending, l.id)
	s.logs[l.id] = l
	large := l.mem.len() >= s.opts.RunEntries
	s.mu.Unlock()
	if large {
		// Without room for a run the hashes stay in memory and in the journal.
		if err := l.flush(); err != nil && !errors.Is(err, ErrFull) {
			return fail(err)
		}
	}
	return l, nil
}

// sealLog encrypts what is in clear of a replay log.
func (s *Store) sealLog(dir string, runs []uint64) error {
	for _, number := range runs {
		if err := reseal(s.fs, filepath.Join(dir, runName(number))); err != nil {
			if errors.Is(err, os.ErrNotExist) {
				err = fmt.Errorf("%w: %s is missing", ErrCorrupt, runName(number))
			}
			return err
		}
	}
	return errors.Join(reseal(s.fs, filepath.Join(dir, manifestName)), s.fs.SyncDir(dir))
}

func (l *ReplayLog) newTable() *memTable {
	return newMemTable(func(h *replayHash) uint64 { return l.prf.value(h).lo })
}

// openRuns opens the runs that the manifest names and removes what a crash left over.
func (l *ReplayLog) openRuns() error {
	names, err := l.s.fs.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		digits, isRun := strings.CutPrefix(name, runPrefix)
		number, perr := strconv.ParseUint(digits, 10, 64)
		orphan := isRun && perr == nil && !slices.Contains(l.man.runs, number)
		if orphan || strings.HasSuffix(name, tmpExt) {
			if err := ignoreMissing(l.s.fs.Remove(filepath.Join(l.dir, name))); err != nil {
				return err
			}
		}
	}
	for _, number := range l.man.runs {
		r, err := openRun(l.s.fs, filepath.Join(l.dir, runName(number)), number, l.id)
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w: %s is missing", ErrCorrupt, runName(number))
		}
		if err != nil {
			return err
		}
		l.runs = append(l.runs, r)
		l.s.runBytes.Add(r.size)
	}
	// The names may be known to this process and not yet be durable.
	return l.s.fs.SyncDir(l.dir)
}

func (l *ReplayLog) closeRuns() error {
	l.runMu.Lock()
	defer l.runMu.Unlock()
	var err error
	for _, r := range l.runs {
		err = errors.Join(err, r.f.Close())
		l.s.runBytes.Add(-r.size)
	}
	l.runs = nil
	l.version++
	return err
}

// CloseLog writes all hashes of a log to its directory and closes it. Afterwards the directory is complete: it may
// be moved, and opened again at its new place or by another store.
func (s *Store) CloseLog(l *ReplayLog) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	if err := l.flushAll(); err != nil {
		return fmt.Errorf("close replay log %s: %w", l.name, err)
	}
	return s.forgetLog(l)
}

// forgetLog closes the handle. Hashes that are in no run are lost to this process, not to the journal.
func (s *Store) forgetLog(l *ReplayLog) error {
	s.mu.Lock()
	if l.closed {
		s.mu.Unlock()
		return fmt.Errorf("replay log %s: %w", l.name, ErrClosed)
	}
	l.closed = true
	delete(s.logs, l.id)
	s.mu.Unlock()
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	l.mergeMu.Lock()
	defer l.mergeMu.Unlock()
	return l.closeRuns()
}

// DestroyLog closes a log and deletes its directory. The key must be destroyed before or together with it: a key
// without its log would accept replays. Hashes that are still in the journal mean nothing without the log and go
// with their segments.
func (s *Store) DestroyLog(l *ReplayLog) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	if err := s.forgetLog(l); err != nil {
		return err
	}
	err := s.removeLog(l.dir)
	if err == nil {
		err = errors.Join(s.fs.Remove(l.dir), s.fs.SyncDir(filepath.Dir(l.dir)))
	}
	if err != nil {
		return fmt.Errorf("destroy replay log %s: %w", l.name, err)
	}
	return nil
}

// RemoveLog deletes the files of a log that OpenLog cannot open, but not its directory. That there are none is no error.
func (s *Store) RemoveLog(dir string) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	if err := s.removeLog(dir); err != nil {
		return fmt.Errorf("remove replay log in %s: %w", dir, err)
	}
	return nil
}

// removeLog deletes the files of a log that is not open, if there is one.
func (s *Store) removeLog(dir string) error {
	names, err := s.fs.ReadDir(dir)
	if err != nil {
		return ignoreMissing(err)
	}
	// The manifest goes first: without it there is no log, so that a crash never leaves one with a part of its
	// hashes.
	if slices.Contains(names, manifestName) {
		if err := errors.Join(s.fs.Remove(filepath.Join(dir, manifestName)), s.fs.SyncDir(dir)); err != nil {
			return err
		}
	}
	for _, name := range names {
		if strings.HasPrefix(name, runPrefix) || strings.HasSuffix(name, tmpExt) {
			err = errors.Join(err, ignoreMissing(s.fs.Remove(filepath.Join(dir, name))))
		}
	}
	return errors.Join(err, s.fs.SyncDir(dir))
}

// DropOrphans forgets hashes in the journal that belong to logs which were not opened since Open. The mix calls
// it when it has opened the log of every key it has; until then segments with such hashes are kept. In an encrypted store it
// then encrypts what is left in clear of the time before; when there is no room for that, later, as room comes: see [Usage].
func (s *Store) DropOrphans() error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	s.mu.Lock()
	clear(s.pending)
	s.mu.Unlock()
	if s.page != nil {
		if err := s.sealOld(); err != nil {
			return fmt.Errorf("encrypt the store: %w", err)
		}
	}
	s.poke()
	return nil
}

// inRuns looks a hash up in the runs and says which version of them it saw. A block that cannot be read counts
// as a hit: to take a packet for a replay loses it, to take a replay for a packet helps an attacker.
func (l *ReplayLog) inRuns(h *replayHash, v prfValue) (bool, uint64) {
	hit, version, rotten := l.search(h, v)
	if rotten != nil {
		l.s.noteDamage(rotDamage(rotten))
	}
	return hit, version
}

// inRunsLocked is inRuns for a caller that holds Store.mu.
func (l *ReplayLog) inRunsLocked(h *replayHash, v prfValue) bool {
	hit, _, rotten := l.search(h, v)
	if rotten != nil {
		l.s.noteDamageLocked(rotDamage(rotten))
	}
	return hit
}

func (l *ReplayLog) search(h *replayHash, v prfValue) (hit bool, version uint64, rotten *run) {
	l.runMu.RLock()
	defer l.runMu.RUnlock()
	for _, r := range l.runs {
		hit, err := r.has(h, v)
		if err != nil {
			return true, l.version, r
		}
		if hit {
			return true, l.version, nil
		}
	}
	return false, l.version, nil
}

func rotDamage(r *run) Damage {
	return Damage{File: r.path, Length: runBlockLen, What: "replay hashes unreadable, taken as seen"}
}

// inMemory looks a hash up in the tables. Caller holds Store.mu.
func (l *ReplayLog) inMemory(h *replayHash) bool {
	return l.mem.has(h) || l.frozen != nil && l.frozen.has(h)
}

func fillRandom(b []byte) {
	// Never fails: crypto/rand ends the program when the system has no randomness.
	_, _ = rand.Read(b)
}
