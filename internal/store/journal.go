package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// newSegment makes segment number the active one. The caller holds mu, or is alone, and has synced the one before.
func (s *Store) newSegment(number uint32) error {
	seg := &segment{number: number, path: filepath.Join(s.dir, segName(number)), logs: map[logID]uint64{}}
	h := segHeader{number: uint64(number), store: s.id, nextID: s.nextID, nextSeq: s.seq + 1}
	fillRandom(h.mark[:])
	seg.mark = h.mark
	f, err := s.fs.OpenFile(seg.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return fmt.Errorf("new segment: %w", err)
	}
	if _, err := f.WriteAt(h.append(nil), 0); err != nil {
		return fmt.Errorf("new segment: %w", errors.Join(err, f.Close(), s.fs.Remove(seg.path)))
	}
	// Frames are acknowledged by a sync of the file alone, so its name must be durable before the first one.
	if err := errors.Join(f.Sync(), s.fs.SyncDir(s.dir)); err != nil {
		return s.failLocked(fmt.Errorf("new segment: %w", errors.Join(err, f.Close())))
	}
	seg.f, seg.size, seg.synced = f, segHeaderLen, segHeaderLen
	s.segs = append(s.segs, seg)
	s.segBytes += seg.size
	return nil
}

func (s *Store) active() *segment { return s.segs[len(s.segs)-1] }

// rotate seals the active segment and begins the next. Caller holds mu.
func (s *Store) rotate() error {
	seg := s.active()
	// Only the youngest segment with frames may have a torn tail: recovery relies on it.
	if err := seg.f.Sync(); err != nil {
		return s.failLocked(fmt.Errorf("sync %s: %w", seg.path, err))
	}
	seg.synced, s.durable = seg.size, s.written
	s.wakeShredder()
	if err := s.newSegment(seg.number + 1); err != nil {
		return err
	}
	seg.sealed = true
	s.poke()
	return nil
}

// appendFrame completes a frame and appends it to the journal, in one write. Caller holds mu. The frame is durable
// after syncTo(s.written). On ErrFull nothing has happened. With must set, the frame is one that frees
// space, or a pad: when the disk is full, the ballast is spent on it.
func (s *Store) appendFrame(frame []byte, k kind, table int, must bool) (*segment, int64, error) {
	if s.failed != nil {
		return nil, 0, s.failed
	}
	seg := s.active()
	if seg.burned || seg.size+int64(len(frame)) > s.share.Load().segment && seg.size > segHeaderLen {
		err := s.rotate()
		if seg.burned && must && errors.Is(err, ErrFull) && s.failed == nil && s.spendBallast() {
			err = s.rotate()
		}
		if err != nil && (seg.burned || !must || !errors.Is(err, ErrFull)) {
			return nil, 0, err
		}
		seg = s.active()
	}
	sealFrame(frame, frameHead{mark: seg.mark, seq: s.seq + 1, durable: uint32(seg.synced), table: uint32(table), kind: k})
	off := seg.size
	err := writeOrCut(seg, frame)
	if must && errors.Is(err, ErrFull) && s.spendBallast() {
		err = writeOrCut(seg, frame)
	}
	if errors.Is(err, ErrFull) && !errors.Is(err, ErrFailed) {
		// A part of the frame may be left on the medium. Another one in its place would be encrypted with the same bytes of
		// the cipher stream, and the two together would tell what is in them.
		seg.burned = isSealed(seg.f)
		return nil, 0, err
	}
	if err != nil {
		return nil, 0, s.failLocked(err)
	}
	s.seq++
	seg.size += int64(len(frame))
	s.segBytes += int64(len(frame))
	s.written += uint64(len(frame))
	return seg, off, nil
}

// writeOrCut writes at the end of a segment, or leaves it as it was.
func writeOrCut(seg *segment, frame []byte) error {
	_, err := seg.f.WriteAt(frame, seg.size)
	if err == nil {
		return nil
	}
	if terr := seg.f.Truncate(seg.size); terr != nil {
		return fmt.Errorf("%w: cut %s: %w", ErrFailed, seg.path, errors.Join(err, terr))
	}
	return err
}

// syncTo returns when the first lsn bytes of the journal are durable. Caller does not hold mu.
func (s *Store) syncTo(lsn uint64) error {
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	s.mu.Lock()
	if s.failed != nil || s.durable >= lsn {
		defer s.mu.Unlock()
		return s.failed
	}
	seg, upTo, size := s.active(), s.written, s.active().size
	seg.pin.RLock()
	s.mu.Unlock()
	err := seg.f.Sync()
	seg.pin.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		// Pages that could not be written may be gone from the cache: another sync could succeed and lie.
		return s.failLocked(fmt.Errorf("sync %s: %w", seg.path, err))
	}
	s.durable = max(s.durable, upTo)
	seg.synced = max(seg.synced, size)
	s.wakeShredder()
	return nil
}

// ballastLen is enough for the hashes of a replay log in memory and for records that erase 100,000 packets one by one.
const ballastLen = 16 << 20

func (o *Options) ballast() int64 { return min(ballastLen, o.SegmentBytes) }

// fillBallast writes the file that is given up when the disk is full and packets must be erased.
func (s *Store) fillBallast() error {
	if s.ballast {
		return nil
	}
	size := s.opts.ballast()
	path := filepath.Join(s.dir, ballastName)
	f, err := s.fs.OpenFile(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return err
	}
	have, err := f.Size()
	if err == nil && have < size {
		// Random bytes: file systems that compress would keep no room for zeros.
		b := make([]byte, size)
		fillRandom(b)
		if _, err = f.WriteAt(b, 0); err != nil {
			err = errors.Join(err, f.Truncate(0))
		} else {
			err = f.Sync()
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	s.ballast = true
	return s.fs.Stamp(path)
}

// spendBallast frees the room of the ballast and says whether there was any. Caller holds mu.
func (s *Store) spendBallast() bool {
	if !s.ballast {
		return false
	}
	f, err := s.fs.OpenFile(filepath.Join(s.dir, ballastName), os.O_RDWR)
	if err != nil {
		return false
	}
	s.ballast = false
	err = f.Truncate(0)
	return errors.Join(err, f.Close()) == nil
}

// logIDs returns the logs with hashes in a segment. Caller holds mu.
func (seg *segment) logIDs() []logID {
	ids := make([]logID, 0, len(seg.logs))
	for id := range seg.logs {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b logID) int { return slices.Compare(a[:], b[:]) })
	return ids
}
