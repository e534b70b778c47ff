package store

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// recover reads the segments, cuts the torn tail, and begins a new segment.
func (s *Store) recover() error {
	names, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return err
	}
	var numbers []uint32
	for _, name := range names {
		if n, ok := segNumber(name); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	if err := s.openPage(names, numbers); err != nil {
		return err
	}
	if err := s.removeLeftovers(names, numbers); err != nil {
		return err
	}
	last := uint32(0)
	if len(numbers) > 0 {
		last = numbers[len(numbers)-1]
	}
	if last == math.MaxUint32 {
		return errors.New("segment numbers are used up")
	}
	tail, err := s.cutTail(numbers)
	if err != nil {
		return err
	}
	for _, n := range numbers[:tail] {
		if err := s.loadSegment(n); err != nil {
			return fmt.Errorf("%s: %w", segName(n), err)
		}
	}
	if s.id == (storeID{}) {
		fillRandom(s.id[:])
	}
	if err := s.resetPage(); err != nil {
		return err
	}
	s.packets.linkAll()
	// A segment that is not the youngest was synced as a whole before the next one got its first frame; the
	// youngest was synced by cutTail. So everything that was read is durable before anything new is promised.
	err = s.newSegment(last + 1)
	if errors.Is(err, ErrFull) {
		s.ballast = true // the one of the run before, if it is there
		if s.spendBallast() {
			err = s.newSegment(last + 1)
		}
	}
	if err != nil {
		return err
	}
	// Only now, so that there is always a segment that tells who the store is and which numbers are used. Durable
	// before the new segment gets a frame: a torn segment that comes back in front of it would look damaged.
	for _, n := range numbers[tail:] {
		path := filepath.Join(s.dir, segName(n))
		if err := errors.Join(s.fs.Remove(path), ignoreMissing(s.fs.Remove(idxPath(path)))); err != nil {
			return err
		}
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return err
	}
	if err := s.fillBallast(); err != nil && !errors.Is(err, ErrFull) {
		return err
	}
	return nil
}

// removeLeftovers deletes temporary files, and sidecars without a segment.
func (s *Store) removeLeftovers(names []string, numbers []uint32) error {
	for _, name := range names {
		path := filepath.Join(s.dir, name)
		base, isIdx := strings.CutSuffix(name, idxExt)
		n, isNumber := segNumber(base + segExt)
		if strings.HasSuffix(name, tmpExt) || isIdx && (!isNumber || !slices.Contains(numbers, n)) {
			// The key page that was made just now took the name of its leftover.
			if err := ignoreMissing(s.fs.Remove(path)); err != nil {
				return err
			}
		}
	}
	return nil
}

// cutTail finds the youngest segment with a whole frame, cuts what follows its last whole frame, and syncs it. It
// returns how many segments there are up to this one; in those after it nothing was ever acknowledged.
func (s *Store) cutTail(numbers []uint32) (int, error) {
	keep := len(numbers)
	for keep > 0 {
		path := filepath.Join(s.dir, segName(numbers[keep-1]))
		whole, err := s.cutSegment(path)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		if whole {
			break
		}
		keep--
	}
	return keep, s.fs.SyncDir(s.dir)
}

// cutSegment cuts one segment and says whether a whole frame remains.
func (s *Store) cutSegment(path string) (whole bool, err error) {
	f, err := s.fs.OpenFile(path, os.O_RDWR)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return false, err
	}
	head, header, err := s.readSegHeader(f, size)
	if header != nil {
		s.learn(head)
	}
	if errors.Is(err, ErrCorrupt) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	end, frames, err := newScanner(f, size, head.mark).tail()
	if err != nil || frames == 0 {
		return false, err
	}
	if end < size {
		if err := f.Truncate(end); err != nil {
			return false, err
		}
	}
	return true, f.Sync()
}

// readSegHeader reads the header; when it is damaged, the mark is taken from the first frame if that proves it.
func (s *Store) readSegHeader(f File, size int64) (segHeader, []byte, error) {
	b := make([]byte, segHeaderLen)
	if size < segHeaderLen {
		return segHeader{}, nil, fmt.Errorf("%w: header of a segment", ErrCorrupt)
	}
	if err := readFull(f, b, 0); err != nil {
		return segHeader{}, nil, err
	}
	h, err := parseSegHeader(b)
	if err == nil {
		return h, b, nil
	}
	var m mark
	if size < segHeaderLen+frameHeadLen {
		return h, nil, err
	}
	if rerr := readFull(f, m[:], segHeaderLen); rerr != nil {
		return h, nil, rerr
	}
	sc := newScanner(f, size, m)
	if _, _, ferr := sc.frame(segHeaderLen); ferr != nil {
		if !errors.Is(ferr, ErrCorrupt) {
			return h, nil, ferr
		}
		return h, nil, err
	}
	return segHeader{mark: m}, nil, nil
}

// loadSegment opens a segment and applies its frames.
func (s *Store) loadSegment(number uint32) error {
	path := filepath.Join(s.dir, segName(number))
	name := segName(number)
	f, err := s.fs.OpenFile(path, os.O_RDWR)
	if err != nil {
		return err
	}
	seg := &segment{number: number, path: path, f: f, sealed: true, logs: map[logID]uint64{}}
	seg.clear = s.page != nil && !isSealed(f)
	s.segs = append(s.segs, seg)
	if seg.size, err = f.Size(); err != nil {
		return err
	}
	seg.synced = seg.size
	s.segBytes += seg.size
	h, header, err := s.readSegHeader(f, seg.size)
	switch {
	case errors.Is(err, ErrCorrupt):
		s.noteDamageLocked(Damage{File: name, Length: seg.size, What: "segment without a readable header"})
		seg.indexed = true
		return nil
	case err != nil:
		return err
	case header == nil:
		s.noteDamageLocked(Damage{File: name, Length: segHeaderLen, What: "header of a segment; its frames are intact"})
		seg.indexed = true
	default:
		s.learn(h)
		if h.store != s.id || h.number != uint64(number) {
			return fmt.Errorf("%w: the segment belongs to another place", ErrCorrupt)
		}
	}
	seg.mark = h.mark
	apply := func(off int64, h frameHead, head []byte) error {
		r, err := parseRecord(h.kind, head[frameHeadLen:])
		if err != nil || r.bodiesLen() != int64(h.bodies) {
			s.noteDamageLocked(Damage{File: name, Offset: off, Length: h.size(), What: "frame of unknown meaning"})
			return nil
		}
		s.seq = max(s.seq, h.seq)
		s.apply(seg, off, h, &r)
		return nil
	}
	if header != nil {
		done, err := s.loadSidecar(seg, header, apply)
		if done || err != nil {
			return err
		}
	}
	return newScanner(f, seg.size, h.mark).walk(apply, func(off, end int64) error {
		s.noteDamageLocked(Damage{File: name, Offset: off, Length: end - off, What: "frames unreadable"})
		return nil
	})
}

// learn takes what the header of a segment says about the store.
func (s *Store) learn(h segHeader) {
	if s.id == (storeID{}) {
		s.id = h.store
	}
	s.nextID = max(s.nextID, h.nextID)
	if h.nextSeq > 0 {
		s.seq = max(s.seq, h.nextSeq-1)
	}
}

// loadSidecar applies the frames of a sidecar and says whether there was a good one.
func (s *Store) loadSidecar(seg *segment, header []byte, apply func(int64, frameHead, []byte) error) (bool, error) {
	b, err := readFile(s.fs, idxPath(seg.path), seg.size)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrCorrupt) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// Once without effect: a half applied sidecar could not be taken back.
	none := func(int64, frameHead, []byte) error { return nil }
	if err := parseSidecar(b, header, seg.size, seg.mark, none); err != nil {
		s.noteDamageLocked(Damage{File: filepath.Base(idxPath(seg.path)), Length: int64(len(b)),
			What: "sidecar; the segment itself was read"})
		return false, nil
	}
	seg.sidecar, seg.indexed = int64(len(b)), true
	s.segBytes += seg.sidecar
	return true, parseSidecar(b, header, seg.size, seg.mark, apply)
}

// apply makes the index agree with a frame of the journal. Frames about packets that are gone mean nothing.
func (s *Store) apply(seg *segment, off int64, h frameHead, r *record) {
	x := s.packets
	switch r.kind {
	case kindPut, kindSealed:
		body := off + frameHeadLen + int64(h.table)
		for i := range r.puts {
			p := &r.puts[i]
			s.nextID = max(s.nextID, p.id+1)
			slot, ok := x.find(p.id)
			if ok {
				s.leave(x.at(slot))
			} else {
				x.add(p.id)
				slot, _ = x.find(p.id)
			}
			x.assign(slot, r.queues[p.queue])
			x.setKey(slot, 0)
			if r.keys != nil {
				x.setKey(slot, r.keys[i])
			}
			rc := x.at(slot)
			rc.seg, rc.off, rc.length = seg.number, uint32(body), p.length
			rc.queued, rc.last, rc.attempts = p.queued, p.last, p.attempts
			seg.live += rc.footprint()
			seg.packets++
			body += int64(p.length) + bodyTrailer
		}
		for _, g := range r.groups {
			seg.logs[g.log] = h.seq
			s.pending[g.log] = append(s.pending[g.log], pendingHashes{h.seq, slices.Clone(g.hashes)})
		}
	case kindMove:
		for _, m := range r.moves {
			if slot, ok := x.find(m.id); ok {
				x.assign(slot, r.queues[m.queue])
				rc := x.at(slot)
				rc.queued, rc.last, rc.attempts = m.queued, 0, 0
			}
		}
	case kindNote:
		for _, n := range r.notes {
			if slot, ok := x.find(n.id); ok {
				rc := x.at(slot)
				rc.last, rc.attempts = n.last, n.attempts
			}
		}
	case kindDone:
		for _, id := range r.dones {
			s.nextID = max(s.nextID, id+1)
			if slot, ok := x.find(id); ok {
				s.leave(x.at(slot))
				x.remove(slot)
			}
		}
	}
}

// leave takes a packet out of the accounts of the segment that holds its body.
func (s *Store) leave(r *rec) {
	if seg := s.segment(r.seg); seg != nil {
		seg.live -= r.footprint()
		seg.dead += r.footprint()
		seg.packets--
	}
}

// segment finds an open segment by number.
func (s *Store) segment(number uint32) *segment {
	i, ok := slices.BinarySearchFunc(s.segs, number, func(seg *segment, n uint32) int { return cmp.Compare(seg.number, n) })
	if !ok {
		return nil
	}
	return s.segs[i]
}
