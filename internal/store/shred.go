package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// doomedKey is the key of a packet that was erased by a record at the end of the first lsn bytes of the journal.
type doomedKey struct {
	slot uint32
	lsn  uint64
}

// openPage opens the key page, or makes one, and sees to it that nothing is touched if the key is not the right one.
func (s *Store) openPage(names []string, numbers []uint32) error {
	fs, sealed := s.fs.(*sealedFS)
	have := slices.Contains(names, keyPageName)
	if !sealed && have {
		return ErrSealed
	}
	for _, n := range numbers {
		is, err := s.segmentSealed(n)
		if err != nil {
			return err
		}
		if is && !sealed {
			return ErrSealed
		}
		if is && !have {
			return fmt.Errorf("%w: the file %s is missing, without which no packet can be read; remove the store to begin anew", ErrCorrupt, keyPageName)
		}
	}
	if !sealed {
		return nil
	}
	var err error
	if !have {
		s.page, err = createKeyPage(fs, s.dir)
		return err
	}
	s.page, err = openKeyPage(fs, s.dir, os.O_RDWR)
	if err == nil && s.page.damaged {
		s.noteDamageLocked(Damage{File: keyPageName, Length: sealHeadLen, What: "header of the key page; it was written anew"})
	}
	return err
}

// segmentSealed says whether a segment is encrypted; ErrKey if with another key.
func (s *Store) segmentSealed(number uint32) (sealed bool, err error) {
	f, err := s.fs.OpenFile(filepath.Join(s.dir, segName(number)), os.O_RDONLY)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if isSealed(f) {
		return true, nil
	}
	size, err := f.Size()
	if err != nil || size < sealHeadLen {
		return false, err
	}
	head := make([]byte, sealHeadLen)
	err = readFull(f, head, 0)
	return hasMagic(head, sealMagic), err
}

// resetPage makes the key page agree with the index: recovery has read the journal, and all of it is durable.
func (s *Store) resetPage() error {
	if s.page == nil {
		return nil
	}
	owner := map[uint32]uint32{} // slot of the key page -> slot of the index
	x := s.packets
	lost := 0
	lose := func(slot uint32) {
		x.setKey(slot, lostKey)
		lost++
	}
	for slot := range x.slots {
		r, key := x.at(slot), x.key(slot)
		if r.id == 0 || key == 0 {
			continue
		}
		other, taken := owner[key]
		switch {
		case key > s.page.slots:
			lose(slot)
		case !taken:
			owner[key] = slot
		case x.at(other).id < r.id:
			// Damage took the record that erased the older packet.
			lose(other)
			owner[key] = slot
		default:
			lose(slot)
		}
	}
	if lost > 0 {
		s.noteDamageLocked(Damage{File: keyPageName, Length: int64(lost) * slotLen, What: "keys of packets"})
	}
	return s.page.reset(func(key uint32) bool { _, used := owner[key]; return used })
}

// takeKeys takes a key for each packet; nil in a store in clear.
func (s *Store) takeKeys(entries []Entry) ([]uint32, error) {
	if s.page == nil {
		return nil, nil
	}
	n := 0
	for i := range entries {
		if entries[i].Body != nil {
			n++
		}
	}
	return s.takeSlots(n)
}

// giveBack takes keys back that were not used.
func (s *Store) giveBack(keys []uint32) {
	if len(keys) > 0 {
		s.page.giveBack(keys)
	}
}

func (s *Store) takeSlots(n int) ([]uint32, error) {
	keys, err := s.page.take(n)
	if errors.Is(err, ErrFull) && !errors.Is(err, ErrFailed) {
		return nil, err
	}
	if err != nil {
		return nil, s.failWith(err)
	}
	return keys, nil
}

// keysForClear gives keys to those packets of a segment that have none, and encrypts their bodies. The others keep theirs. Fresh holds the
// keys that were given, at the places of their packets: whoever does not write one to the journal must doom it.
func (s *Store) keysForClear(list []rec, bodies [][]byte) (keys, fresh []uint32, err error) {
	keys, fresh = make([]uint32, len(list)), make([]uint32, len(list))
	var bare []int
	s.mu.Lock()
	for i := range list {
		if slot, ok := s.packets.find(list[i].id); ok {
			keys[i] = s.packets.key(slot)
			if keys[i] == 0 || keys[i] == lostKey {
				bare = append(bare, i)
			}
		}
	}
	s.mu.Unlock()
	taken, err := s.takeSlots(len(bare))
	if err != nil {
		return nil, nil, err
	}
	for n, i := range bare {
		// A packet without its key stays unreadable under the new one.
		keys[i], fresh[i] = taken[n], taken[n]
		if err := s.page.crypt(taken[n], bodies[i]); err != nil {
			s.destroyKeys(taken)
			return nil, nil, err
		}
	}
	return keys, fresh, nil
}

// doom notes that a key is to be destroyed when what was written so far is durable. Caller holds mu.
func (s *Store) doom(key uint32) {
	if key != 0 && key != lostKey {
		s.doomed = append(s.doomed, doomedKey{key, s.written})
	}
}

// destroyKeys dooms keys that were used for packets which were not stored in the end.
func (s *Store) destroyKeys(keys []uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		s.doom(key)
	}
}

// wakeShredder makes the shredder look for keys to destroy.
func (s *Store) wakeShredder() {
	select {
	case s.shredNow <- struct{}{}:
	default:
	}
}

// shredder destroys the keys of packets whose erasure has become durable, until Close.
func (s *Store) shredder() {
	defer s.group.Done()
	for {
		select {
		case <-s.stop:
			return
		case <-s.shredNow:
		}
		// A full disk is tried again at the next occasion; any other error made the store fail, and the next call tells the mix.
		_ = s.shred()
	}
}

// shred destroys, with one write and one sync, the keys of all packets whose erasure is durable. Not earlier: a crash would bring packets
// back that nobody could read.
func (s *Store) shred() error {
	if s.page == nil {
		return nil
	}
	// Who comes second waits until the keys that the first has taken are gone.
	s.shredMu.Lock()
	defer s.shredMu.Unlock()
	s.mu.Lock()
	n := 0
	for n < len(s.doomed) && s.doomed[n].lsn <= s.durable {
		n++
	}
	batch := s.doomed[:n]
	s.doomed = s.doomed[n:]
	if len(s.doomed) == 0 {
		s.doomed = nil
	}
	failed := s.failed
	s.mu.Unlock()
	if n == 0 || failed != nil {
		return failed
	}
	slots := make([]uint32, n)
	for i := range batch {
		slots[i] = batch[i].slot
	}
	err := s.page.renew(slots)
	if errors.Is(err, ErrFull) && !errors.Is(err, ErrFailed) && s.lend() {
		// A file system that never overwrites needs room for it.
		err = s.page.renew(slots)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrFull) && !errors.Is(err, ErrFailed):
		s.mu.Lock()
		s.doomed = append(slices.Clone(batch), s.doomed...)
		s.mu.Unlock()
		return err
	default:
		return s.failWith(err)
	}
}

// sealOld gives up the segments that are in clear, of the time before the store was encrypted, as far as there is room for copies of what
// lives in them.
func (s *Store) sealOld() error {
	s.reclaimMu.Lock()
	defer s.reclaimMu.Unlock()
	for !s.stopping() {
		s.mu.Lock()
		due := len(s.segs) > 1 && s.segs[0].clear
		s.mu.Unlock()
		if !due {
			return nil
		}
		done, err := s.reclaimOldest()
		if errors.Is(err, ErrFull) && !errors.Is(err, ErrFailed) {
			return nil // it is tried again
		}
		if err != nil || !done {
			return err
		}
	}
	return nil
}
