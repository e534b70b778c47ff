package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// Entry is what a tick accepts, or tries to.
type Entry struct {
	// Log and Replay are checked and logged. With a nil Log (a packet that the mix made itself) there is no check.
	Log    *ReplayLog
	Replay [20]byte
	// Body is the packet; nil when only the hash is logged (a DROP). At most MaxBody bytes.
	Body []byte
	// Queued is a time, rounded to the mix interval by the caller.
	Queued uint32
	// Queue is where the packet goes; "" is the pool.
	Queue string
}

// Commit writes the accepted entries of one tick, all or none, and returns when they are durable. For each entry the
// result says whether it was accepted; otherwise its hash was in the log already, or is that of another entry of
// this call (any one of equals wins). Packets become visible in the pool and in queues only then.
//
// A tick without entries writes and syncs, too. Packets are written in random order and apart from their hashes.
// ErrFull: nothing was accepted, the store stays usable. ErrFailed: what was accepted is unknown until the store
// is opened again.
func (s *Store) Commit(entries []Entry) ([]bool, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.life.RUnlock()
	if err := s.checkEntries(entries); err != nil {
		return nil, err
	}
	if err := s.boundTables(entries); err != nil {
		return nil, err
	}
	checks := checkRuns(entries)
	order := shuffled(len(entries))
	keys, err := s.takeKeys(entries)
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}

	s.mu.Lock()
	accepted, err := choose(entries, checks, order)
	if err != nil {
		s.mu.Unlock()
		s.giveBack(keys)
		return nil, err
	}
	ids, err := s.put(entries, accepted, order, keys)
	lsn := s.written
	s.mu.Unlock()
	if err != nil {
		s.destroyKeys(keys)
		return nil, fmt.Errorf("commit: %w", err)
	}

	s.giveBack(keys[min(len(ids), len(keys)):])

	// The commit point: before this sync returns, a crash may keep the frame or lose it as a whole; nobody was
	// told anything, so either is right. After it, nothing of it can be lost.
	if err := s.syncTo(lsn); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	s.mu.Lock()
	s.linkLocked(ids)
	s.mu.Unlock()
	return accepted, nil
}

func (s *Store) checkEntries(entries []Entry) error {
	total := 0
	for i := range entries {
		e := &entries[i]
		total += len(e.Body)
		switch {
		case len(e.Body) > MaxBody:
			return fmt.Errorf("%w: body of %d bytes", ErrInvalid, len(e.Body))
		case len(e.Queue) > MaxQueueName:
			return fmt.Errorf("%w: name of a queue has %d bytes", ErrInvalid, len(e.Queue))
		case e.Log == nil && e.Body == nil:
			return fmt.Errorf("%w: entry without log and body", ErrInvalid)
		case e.Log != nil && e.Log.s != s:
			return fmt.Errorf("%w: replay log of another store", ErrInvalid)
		}
	}
	if total > MaxCommit {
		return fmt.Errorf("%w: %d bytes in one commit", ErrInvalid, total)
	}
	return nil
}

// boundTables keeps the memory of the replay logs bounded: when the background work does not keep up, the tick
// waits for it.
func (s *Store) boundTables(entries []Entry) error {
	var last *ReplayLog
	for i := range entries {
		l := entries[i].Log
		if l == nil || l == last {
			continue
		}
		last = l
		s.mu.Lock()
		large := l.mem.len() >= 2*s.opts.RunEntries
		s.mu.Unlock()
		if large {
			if err := l.flush(); err != nil {
				return fmt.Errorf("commit: %w", err)
			}
		}
	}
	return nil
}

// runCheck is what a look into the runs found. It is made without holding mu, because it may read the disk.
type runCheck struct {
	value   prfValue
	version uint64
	hit     bool
}

func checkRuns(entries []Entry) []runCheck {
	checks := make([]runCheck, len(entries))
	for i := range entries {
		if l := entries[i].Log; l != nil {
			c := &checks[i]
			c.value = l.prf.value(&entries[i].Replay)
			c.hit, c.version = l.inRuns(&entries[i].Replay, c.value)
		}
	}
	return checks
}

// choose decides which entries are accepted. Caller holds mu.
func choose(entries []Entry, checks []runCheck, order []int) ([]bool, error) {
	type key struct {
		log  *ReplayLog
		hash replayHash
	}
	accepted := make([]bool, len(entries))
	taken := make(map[key]struct{}, len(entries))
	for _, i := range order {
		l, h := entries[i].Log, &entries[i].Replay
		if l == nil {
			accepted[i] = true
			continue
		}
		if l.closed {
			return nil, fmt.Errorf("replay log %s: %w", l.name, ErrClosed)
		}
		if checks[i].hit || l.inMemory(h) {
			continue
		}
		if l.version != checks[i].version {
			// A table became a run between the two looks.
			if l.inRunsLocked(h, checks[i].value) {
				continue
			}
		}
		k := key{l, *h}
		if _, ok := taken[k]; ok {
			continue
		}
		taken[k] = struct{}{}
		accepted[i] = true
	}
	return accepted, nil
}

// put writes the accepted entries as one frame and takes them into index and tables. In an encrypted store the first of the keys are
// used for them. Caller holds mu.
func (s *Store) put(entries []Entry, accepted []bool, order []int, keys []uint32) ([]ID, error) {
	r := record{kind: kindPut}
	names := queueNames{}
	groups := map[*ReplayLog]int{}
	packets := make([]int, 0, len(entries))
	var logs []*ReplayLog
	for _, i := range order {
		e := &entries[i]
		if !accepted[i] {
			continue
		}
		if e.Log != nil {
			g, ok := groups[e.Log]
			if !ok {
				g = len(r.groups)
				groups[e.Log] = g
				r.groups = append(r.groups, hashGroup{log: e.Log.id})
				logs = append(logs, e.Log)
			}
			r.groups[g].hashes = append(r.groups[g].hashes, e.Replay[:]...)
		}
		if e.Body != nil {
			r.puts = append(r.puts, putEntry{id: s.nextID + ID(len(packets)), queued: e.Queued,
				queue: names.index(&r, e.Queue), length: uint16(len(e.Body))})
			packets = append(packets, i)
		}
	}
	for g := range r.groups {
		sortHashes(r.groups[g].hashes)
	}
	if s.page != nil && len(packets) > 0 {
		r.kind, r.keys = kindSealed, keys[:len(packets)]
	}
	frame := appendRecord(newFrame(s.buf), &r)
	table := len(frame) - frameHeadLen
	for j, i := range packets {
		body := len(frame)
		frame = append(frame, entries[i].Body...)
		frame = binary.LittleEndian.AppendUint32(frame, bodySum(r.puts[j].id, entries[i].Body))
		if r.keys != nil {
			if err := s.page.crypt(r.keys[j], frame[body:]); err != nil {
				return nil, err
			}
		}
	}
	s.keepBuffer(frame)
	pad := len(packets)+len(r.groups) == 0
	if !pad {
		switch share := s.share.Load(); {
		case share.most > 0 && s.segBytes+s.runBytes.Load()+int64(len(frame))+share.reserve() > share.most:
			return nil, fmt.Errorf("%w: the share of the disk is used up", ErrFull)
		case !s.ballast:
			// What the ballast left free is for erasing.
			s.poke()
			return nil, fmt.Errorf("%w: the reserve is in use", ErrFull)
		}
	}
	seg, off, err := s.appendFrame(frame, r.kind, table, pad)
	if err != nil {
		return nil, err
	}
	for g, l := range logs {
		for h := r.groups[g].hashes; len(h) > 0; h = h[hashLen:] {
			l.mem.add((*replayHash)(h))
		}
		seg.logs[l.id] = s.seq
		if l.mem.len() >= s.opts.RunEntries && l.frozen == nil {
			l.freeze()
			s.poke()
		}
	}
	return s.enroll(seg, off+frameHeadLen+int64(table), &r), nil
}

// enroll enters the packets of a new frame into the index, not yet linked. Caller holds mu.
func (s *Store) enroll(seg *segment, body int64, r *record) []ID {
	ids := make([]ID, 0, len(r.puts))
	for i := range r.puts {
		p := &r.puts[i]
		rc := s.packets.add(p.id)
		rc.seg, rc.off, rc.length = seg.number, uint32(body), p.length
		rc.queued, rc.last, rc.attempts = p.queued, p.last, p.attempts
		slot, _ := s.packets.find(p.id)
		if name := r.queues[p.queue]; name != "" {
			s.packets.assign(slot, name)
		}
		if r.keys != nil {
			s.packets.setKey(slot, r.keys[i])
		}
		seg.live += rc.footprint()
		seg.packets++
		body += int64(p.length) + bodyTrailer
		ids = append(ids, p.id)
		s.nextID = max(s.nextID, p.id+1)
	}
	return ids
}

// linkLocked makes packets visible in their queues. Caller holds mu.
func (s *Store) linkLocked(ids []ID) {
	for _, id := range ids {
		if slot, ok := s.packets.find(id); ok {
			s.packets.link(slot)
		}
	}
}

// keepBuffer keeps a frame's memory for the next one, unless it is unusually large.
func (s *Store) keepBuffer(frame []byte) {
	s.buf = frame[:0]
	if cap(frame) > 8<<20 {
		s.buf = nil
	}
}

// queueNames numbers the queue names of a frame.
type queueNames map[string]uint32

func (n queueNames) index(r *record, name string) uint32 {
	i, ok := n[name]
	if !ok {
		i = uint32(len(r.queues))
		n[name] = i
		r.queues = append(r.queues, name)
	}
	return i
}

// sortHashes sorts a list of hashes in place.
func sortHashes(list []byte) {
	n := len(list) / hashLen
	hashes := make([]replayHash, n)
	for i := range hashes {
		copy(hashes[i][:], list[i*hashLen:])
	}
	slices.SortFunc(hashes, func(a, b replayHash) int { return bytes.Compare(a[:], b[:]) })
	for i := range hashes {
		copy(list[i*hashLen:], hashes[i][:])
	}
}

// shuffled returns the numbers below n in an order that nobody can predict.
func shuffled(n int) []int {
	order := make([]int, n)
	random := make([]byte, 8*n)
	fillRandom(random)
	for i := range order {
		// The bias of the modulus is below n / 2^64.
		j := int(binary.LittleEndian.Uint64(random[8*i:]) % uint64(i+1))
		order[i] = order[j]
		order[j] = i
	}
	return order
}
