package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"path/filepath"
	"slices"
)

// flushAll brings every hash of the log that was committed so far into runs.
func (l *ReplayLog) flushAll() error {
	// One flush may find hashes frozen earlier; the second takes what was committed since.
	if err := l.flush(); err != nil {
		return err
	}
	return l.flush()
}

// flush writes the frozen table, or freezes the current one and writes it, as a run.
func (l *ReplayLog) flush() error {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	s := l.s
	s.mu.Lock()
	if l.closed {
		s.mu.Unlock()
		return fmt.Errorf("replay log %s: %w", l.name, ErrClosed)
	}
	l.freeze()
	frozen := l.frozen
	lsn := s.written
	s.mu.Unlock()
	if frozen == nil {
		return nil
	}
	// A hash may be in a run only when its tick is durable: otherwise a crash could keep the hash and lose the
	// packet, and the packet would be refused as a replay when it is sent again.
	if err := s.syncTo(lsn); err != nil {
		return err
	}
	list := frozen.sorted()
	number := l.nextRun()
	path := filepath.Join(l.dir, runName(number))
	w, err := newRunWriter(s.fs, path, number, l.id, l.prf, uint64(len(list)))
	if err != nil {
		return l.runFailed(nil, path, err)
	}
	for i := range list {
		if err := w.add(&list[i]); err != nil {
			return l.runFailed(w, path, err)
		}
	}
	r, err := w.finish()
	if err != nil {
		return l.runFailed(w, path, err)
	}
	if err := l.install(r, nil, l.frozenSeq); err != nil {
		return l.runFailed(w, path, err)
	}
	return nil
}

// freeze makes the current table the frozen one, unless one is waiting. Caller holds Store.mu.
func (l *ReplayLog) freeze() {
	if l.frozen == nil && l.mem.len() > 0 {
		l.frozen, l.frozenSeq = l.mem, l.s.seq
		l.mem = l.newTable()
	}
}

func (l *ReplayLog) nextRun() uint64 {
	l.manMu.Lock()
	defer l.manMu.Unlock()
	n := l.man.nextRun
	l.man.nextRun++
	return n
}

// runFailed cleans up after a run that could not be written. Nothing is lost: the journal or the older runs
// still hold the hashes.
func (l *ReplayLog) runFailed(w *runWriter, path string, err error) error {
	full := errors.Is(err, ErrFull) && !errors.Is(err, ErrFailed)
	if w != nil {
		err = errors.Join(err, w.f.Close())
	}
	if full {
		return errors.Join(fmt.Errorf("replay log %s: %w", l.name, err), ignoreMissing(l.s.fs.Remove(path)))
	}
	// The file stays: a manifest of which we do not know whether it is on disk may name it. If none does, the
	// next start removes it.
	return l.s.failWith(fmt.Errorf("replay log %s: %w", l.name, err))
}

// install makes a new run part of the log, in place of old ones. seq is the new flush limit; 0 keeps the old.
func (l *ReplayLog) install(r *run, old []*run, seq uint64) error {
	s := l.s
	l.manMu.Lock()
	defer l.manMu.Unlock()
	m := l.man
	m.runs = nil
	for _, have := range l.man.runs {
		if !slices.ContainsFunc(old, func(o *run) bool { return o.number == have }) {
			m.runs = append(m.runs, have)
		}
	}
	m.runs = append(m.runs, r.number)
	m.flushed = max(m.flushed, seq)
	// The manifest may name the run only when its name is durable. Then the rename of the manifest is the
	// commit point: a crash before leaves a run that no manifest names, and the next start removes it; a crash
	// after leaves old runs that no manifest names.
	if err := errors.Join(s.fs.Stamp(r.path), s.fs.SyncDir(l.dir)); err != nil {
		return err
	}
	if err := writeNew(s.fs, filepath.Join(l.dir, manifestName), m.marshal()); err != nil {
		return err
	}
	if err := s.fs.SyncDir(l.dir); err != nil {
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	l.man = m

	s.mu.Lock()
	l.runMu.Lock()
	l.runs = slices.DeleteFunc(slices.Clone(l.runs), func(have *run) bool { return slices.Contains(old, have) })
	l.runs = append(l.runs, r)
	l.version++
	if seq != 0 {
		l.flushed = m.flushed
		l.frozen = nil
	}
	l.runMu.Unlock()
	s.mu.Unlock()
	s.runBytes.Add(r.size)
	var err error
	for _, o := range old {
		s.runBytes.Add(-o.size)
		// Nobody reads it any more: lookups hold runMu.
		err = errors.Join(err, o.f.Close(), s.fs.Remove(o.path))
	}
	if err != nil {
		s.noteDamage(Damage{File: l.dir, What: "merged runs could not be removed"})
	}
	return nil
}

// Runs are merged by size: a class holds runs of up to four times the size of the class below, and four runs of
// a class become one of the next. So a hash is rewritten about log4(n/4096) times, and n hashes lie in at most
// 3 log4(n/4096) + 4 runs.
const (
	mergeFan  = 4
	mergeBase = 4096
)

func sizeClass(count uint64) int { return (bits.Len64(count/mergeBase) + 1) / 2 }

// mergeCandidates returns runs that should become one, or nil.
func (l *ReplayLog) mergeCandidates() []*run {
	l.runMu.RLock()
	defer l.runMu.RUnlock()
	classes := map[int][]*run{}
	lowest := -1
	for _, r := range l.runs {
		if r.rotten {
			continue
		}
		c := sizeClass(r.count)
		classes[c] = append(classes[c], r)
		if len(classes[c]) >= mergeFan && (lowest < 0 || c < lowest) {
			lowest = c
		}
	}
	if lowest < 0 {
		return nil
	}
	return classes[lowest]
}

// merge joins runs once and says whether there was something to join.
func (l *ReplayLog) merge() (bool, error) {
	l.mergeMu.Lock()
	defer l.mergeMu.Unlock()
	s := l.s
	s.mu.Lock()
	closed := l.closed
	s.mu.Unlock()
	if closed || s.stopping() {
		return false, nil
	}
	old := l.mergeCandidates()
	if old == nil {
		return false, nil
	}
	total := uint64(0)
	for _, r := range old {
		total += r.count
	}
	number := l.nextRun()
	path := filepath.Join(l.dir, runName(number))
	w, err := newRunWriter(s.fs, path, number, l.id, l.prf, total)
	if err != nil {
		return false, l.runFailed(nil, path, err)
	}
	if err := l.mergeInto(w, old); err != nil {
		if errors.Is(err, errStopped) || errors.Is(err, ErrCorrupt) {
			// Stopped, or a run is rotten and must not be merged: what is intact of it still protects.
			return false, errors.Join(w.f.Close(), s.fs.Remove(path))
		}
		return false, l.runFailed(w, path, err)
	}
	r, err := w.finish()
	if err != nil {
		return false, l.runFailed(w, path, err)
	}
	if err := l.install(r, old, 0); err != nil {
		return false, l.runFailed(w, path, err)
	}
	return true, nil
}

// errStopped ends background work because the store closes.
var errStopped = fmt.Errorf("%w while work was going on", ErrClosed)

func (l *ReplayLog) mergeInto(w *runWriter, old []*run) error {
	readers := make([]*runReader, 0, len(old))
	step := func(it *runReader) error {
		err := it.advance()
		if err != nil {
			l.runMu.Lock()
			it.r.rotten = true
			l.runMu.Unlock()
			l.s.noteDamage(rotDamage(it.r))
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		return nil
	}
	for _, r := range old {
		it := &runReader{r: r}
		if err := step(it); err != nil {
			return err
		}
		readers = append(readers, it)
	}
	for n := 0; len(readers) > 0; n++ {
		if n%(1<<16) == 0 && l.s.stopping() {
			return errStopped
		}
		least := 0
		for i := 1; i < len(readers); i++ {
			if bytes.Compare(readers[i].value[:], readers[least].value[:]) < 0 {
				least = i
			}
		}
		it := readers[least]
		if err := w.add(&it.value); err != nil {
			return err
		}
		if err := step(it); err != nil {
			return err
		}
		if !it.ok {
			readers = slices.Delete(readers, least, least+1)
		}
	}
	return nil
}
