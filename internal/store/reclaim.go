package store

import (
	"context"
	"errors"
	"fmt"
)

// poke wakes the background work.
func (s *Store) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// keeper writes runs and sidecars and reclaims segments, until Close.
func (s *Store) keeper() {
	defer s.group.Done()
	for {
		select {
		case <-s.stop:
			return
		case <-s.wake:
		}
		// A full disk is tried again at the next occasion; any other error made the store fail, and the next
		// call tells the mix.
		_ = s.tend()
		select {
		case s.mergers <- struct{}{}:
		default:
		}
	}
}

// merger merges runs, until Close. It has its own goroutine because a merge of many hashes takes long.
func (s *Store) merger() {
	defer s.group.Done()
	for {
		select {
		case <-s.stop:
			return
		case <-s.mergers:
		}
		_ = s.mergeRuns()
	}
}

// Tend does all background work that is due: what the goroutines of the store do without Options.Manual.
func (s *Store) Tend() error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	if err := s.tend(); err != nil {
		return err
	}
	return s.mergeRuns()
}

// tend does what is due. A full disk stops none of it, since the later parts free room; it is reported at the end.
func (s *Store) tend() error {
	var full error
	fatal := func(err error) bool {
		if errors.Is(err, ErrFull) && !errors.Is(err, ErrFailed) {
			full = err
			return false
		}
		return err != nil
	}
	for _, l := range s.openLogs() {
		s.mu.Lock()
		due := l.frozen != nil
		s.mu.Unlock()
		if due {
			if err := l.flush(); fatal(err) && !errors.Is(err, ErrClosed) {
				return err
			}
		}
	}
	if err := s.finishSegments(); fatal(err) {
		return err
	}
	if err := s.shred(); fatal(err) {
		return err
	}
	s.reclaimMu.Lock()
	defer s.reclaimMu.Unlock()
	if err := s.weighRoom(); fatal(err) {
		return err
	}
	for !s.stopping() {
		s.mu.Lock()
		due := s.reclaimDue()
		s.mu.Unlock()
		if !due {
			break
		}
		done, err := s.reclaimOldest()
		if fatal(err) {
			return err
		}
		if !done {
			break
		}
	}
	s.mu.Lock()
	missing := !s.ballast
	s.mu.Unlock()
	if missing {
		if err := s.restoreBallast(); err != nil {
			return err
		}
	}
	return full
}

// weighRoom finds out whether room is scarce. Then an active segment that is mostly dead is sealed before its
// time, so that it can be reclaimed.
func (s *Store) weighRoom() error {
	scarce := !s.fits(2 * (s.share.Load().reserve() + s.opts.TickBytes))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scarce = scarce
	if a := s.active(); scarce && a.dead*2 > a.size && s.failed == nil {
		return s.rotate()
	}
	return nil
}

func (s *Store) restoreBallast() error {
	free, err := s.fs.Free(s.dir)
	if err != nil || free < s.share.Load().reserve() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fillBallast(); err != nil && !errors.Is(err, ErrFull) {
		return s.failLocked(err)
	}
	return nil
}

func (s *Store) mergeRuns() error {
	for _, l := range s.openLogs() {
		for {
			more, err := l.merge()
			if err != nil {
				return err
			}
			if !more {
				break
			}
		}
	}
	return nil
}

// finishSegments writes sidecars of sealed segments and hides when they were written.
func (s *Store) finishSegments() error {
	for {
		s.mu.Lock()
		var seg *segment
		for _, c := range s.segs {
			if c.sealed && !c.indexed {
				seg = c
				break
			}
		}
		if seg == nil || s.failed != nil {
			defer s.mu.Unlock()
			return s.failed
		}
		seg.indexed = true
		seg.pin.RLock()
		s.mu.Unlock()
		n, err := s.writeSidecar(seg)
		seg.pin.RUnlock()
		if err != nil {
			return err
		}
		s.mu.Lock()
		if s.segment(seg.number) != nil {
			seg.sidecar = n
			s.segBytes += n
		}
		s.mu.Unlock()
	}
}

func (s *Store) writeSidecar(seg *segment) (int64, error) {
	if err := s.fs.Stamp(seg.path); err != nil {
		return 0, s.failWith(err)
	}
	header := make([]byte, segHeaderLen)
	if err := readFull(seg.f, header, 0); err != nil {
		return 0, nil
	}
	b, err := appendSidecar(nil, header, newScanner(seg.f, seg.size, seg.mark))
	if err != nil {
		// Only a convenience is missing: the next start reads the segment itself.
		return 0, nil
	}
	if err := writeNew(s.fs, idxPath(seg.path), b); err != nil {
		if errors.Is(err, ErrFull) {
			return 0, err
		}
		return 0, s.failWith(err)
	}
	return int64(len(b)), nil
}

// reclaimDue says whether the oldest segment should be given up: when more than half of the bytes on disk are
// dead, or, with little room left, more than an eighth. Caller holds mu.
func (s *Store) reclaimDue() bool {
	if len(s.segs) < 2 || s.failed != nil {
		return false
	}
	total, live := int64(0), int64(0)
	for _, seg := range s.segs[:len(s.segs)-1] {
		total += seg.size
		live += seg.live
	}
	dead := total - live
	if s.segs[0].clear || s.segs[0].packets == 0 || dead*2 > total {
		return true
	}
	return s.scarce && dead*8 > total
}

// Sweep removes erased packets from the disk: when it returns nil, no segment holds a byte of a packet that was
// erased before the call. It copies the packets that live in these segments, so it may take long; it ends early
// with the error of ctx, or with ErrClosed when the store closes. The mix calls it now and then (say, daily), so
// that also a mix with little traffic forgets.
func (s *Store) Sweep(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	s.mu.Lock()
	lsn := s.written
	s.mu.Unlock()
	if err := errors.Join(s.syncTo(lsn), s.shred()); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	s.mu.Lock()
	var limit uint32
	if a := s.active(); a.dead > 0 {
		if err := s.rotate(); err != nil {
			s.mu.Unlock()
			return fmt.Errorf("sweep: %w", err)
		}
	}
	// Segments go in order; so the youngest with dead packets decides how many.
	for _, seg := range s.segs[:len(s.segs)-1] {
		if seg.dead > 0 {
			limit = seg.number
		}
	}
	s.mu.Unlock()
	s.reclaimMu.Lock()
	defer s.reclaimMu.Unlock()
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
		if s.stopping() {
			return fmt.Errorf("sweep: %w", ErrClosed)
		}
		s.mu.Lock()
		oldest := s.segs[0]
		reached := len(s.segs) < 2 || oldest.number > limit
		s.mu.Unlock()
		if reached {
			return nil
		}
		done, err := s.reclaimOldest()
		if err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
		if !done {
			return fmt.Errorf("sweep: %w: hashes of replay logs that are not open", ErrNoLog)
		}
	}
}

// copyBytes bounds the bodies that one copy frame carries, and so the pause that it makes for a Commit.
const copyBytes = 1 << 20

// reclaimOldest copies the survivors of the oldest segment to the young end and deletes it. False: it must stay,
// because a replay log that is not open has hashes in it. Caller holds reclaimMu.
func (s *Store) reclaimOldest() (bool, error) {
	s.mu.Lock()
	seg := s.segs[0]
	if len(s.segs) < 2 {
		s.mu.Unlock()
		return false, nil
	}
	var behind []*ReplayLog
	for _, id := range seg.logIDs() {
		if len(s.pending[id]) > 0 {
			s.mu.Unlock()
			return false, nil
		}
		if l := s.logs[id]; l != nil && l.flushed < seg.logs[id] {
			behind = append(behind, l)
		}
	}
	chunks := len(s.packets.chunks)
	s.mu.Unlock()
	for _, l := range behind {
		err := l.flushAll()
		if errors.Is(err, ErrFull) && s.lend() {
			err = l.flushAll()
		}
		if err != nil && !errors.Is(err, ErrClosed) {
			return false, err
		}
	}
	for c := 0; c < chunks; c++ {
		if err := s.copyChunk(seg, c); err != nil {
			return false, err
		}
	}
	s.mu.Lock()
	lsn := s.written
	s.mu.Unlock()
	// The copies must be durable before the originals go. A crash between the two leaves both: recovery reads
	// the original first, and the copy, which is later in the journal, replaces it.
	if err := s.syncTo(lsn); err != nil {
		return false, err
	}
	return true, s.drop(seg)
}

// lend spends the ballast on something that lets a segment be deleted, and says whether there was any.
func (s *Store) lend() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spendBallast()
}

// drop deletes the oldest segment, which holds nothing any more.
func (s *Store) drop(seg *segment) error {
	s.mu.Lock()
	if s.segs[0] != seg || seg.packets != 0 {
		s.mu.Unlock()
		return s.failWith(errors.New("a segment to be deleted holds packets"))
	}
	s.segs = s.segs[1:]
	s.segBytes -= seg.size + seg.sidecar
	s.mu.Unlock()
	// Waits for reads in progress; nobody can begin another.
	seg.pin.Lock()
	defer seg.pin.Unlock()
	err := errors.Join(seg.f.Close(), s.fs.Remove(seg.path), ignoreMissing(s.fs.Remove(idxPath(seg.path))))
	// Durable before the next one goes: were a younger segment gone and this one back after a crash, packets
	// erased in the younger one would live again.
	if err = errors.Join(err, s.fs.SyncDir(s.dir)); err != nil {
		return s.failWith(fmt.Errorf("delete segment: %w", err))
	}
	return nil
}

// copyChunk copies the survivors of seg that one chunk of the index lists.
func (s *Store) copyChunk(seg *segment, chunk int) error {
	var list []rec
	s.mu.Lock()
	if s.failed != nil || seg.packets == 0 {
		defer s.mu.Unlock()
		return s.failed
	}
	for i := range s.packets.chunks[chunk] {
		if r := &s.packets.chunks[chunk][i]; r.id != 0 && r.seg == seg.number {
			list = append(list, *r)
		}
	}
	s.mu.Unlock()
	for len(list) > 0 {
		if s.stopping() {
			return errStopped
		}
		n, size := 0, 0
		for n < len(list) && (n == 0 || size+int(list[n].length) <= copyBytes) {
			size += int(list[n].length) + bodyTrailer
			n++
		}
		if err := s.copyPackets(seg, list[:n], size); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// copyPackets appends packets of seg, as far as they still live, with their state to the journal.
func (s *Store) copyPackets(seg *segment, list []rec, size int) error {
	bodies := make([][]byte, len(list))
	room := make([]byte, size)
	for i := range list {
		n := int(list[i].length) + bodyTrailer
		bodies[i], room = room[:n:n], room[n:]
		// Damaged bodies are copied with their checksum: reading them still says ErrCorrupt. Those that the
		// medium refuses become zeros, with the same effect.
		if err := readFull(seg.f, bodies[i], int64(list[i].off)); err != nil {
			clear(bodies[i])
			s.noteDamage(Damage{File: segName(seg.number), Offset: int64(list[i].off), Length: int64(n), What: "packet unreadable"})
		}
	}
	// Packets in clear get keys; the others keep theirs, and are copied as they are.
	var keys, fresh []uint32
	if s.page != nil {
		var err error
		if keys, fresh, err = s.keysForClear(list, bodies); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		// Of packets that were erased meanwhile, or all if the frame was not written: a part of it may be on the medium.
		for _, key := range fresh {
			s.doom(key)
		}
	}()
	r := record{kind: kindPut}
	names := queueNames{}
	var kept [][]byte
	var from []int // their places in list
	for i := range list {
		slot, ok := s.packets.find(list[i].id)
		if !ok {
			continue
		}
		rc := s.packets.at(slot)
		r.puts = append(r.puts, putEntry{id: rc.id, queued: rc.queued, last: rc.last,
			queue: names.index(&r, s.packets.queues[rc.queue].name), length: rc.length, attempts: rc.attempts})
		kept, from = append(kept, bodies[i]), append(from, i)
		if keys != nil {
			r.kind, r.keys = kindSealed, append(r.keys, keys[i])
		}
	}
	if len(kept) == 0 {
		return nil
	}
	frame := appendRecord(newFrame(s.buf), &r)
	table := len(frame) - frameHeadLen
	for _, b := range kept {
		frame = append(frame, b...)
	}
	s.keepBuffer(frame)
	// A few survivors may use the ballast: their segment frees more than they take.
	to, off, err := s.appendFrame(frame, r.kind, table, seg.live <= s.opts.ballast()/2)
	if err != nil {
		return err
	}
	body := off + frameHeadLen + int64(table)
	for i := range r.puts {
		slot, _ := s.packets.find(r.puts[i].id)
		rc := s.packets.at(slot)
		s.leave(rc)
		rc.seg, rc.off = to.number, uint32(body)
		if r.keys != nil {
			s.packets.setKey(slot, r.keys[i])
			fresh[from[i]] = 0
		}
		to.live += rc.footprint()
		to.packets++
		body += int64(rc.length) + bodyTrailer
	}
	return nil
}
