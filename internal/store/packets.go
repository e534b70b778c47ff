package store

import (
	"encoding/binary"
	"fmt"
)

// Assignment says where a packet goes.
type Assignment struct {
	ID    ID
	Queue string // "" is the pool
	// Queued is the time at which its retry schedule begins, rounded by the caller.
	Queued uint32
}

// Item is a packet in a queue.
type Item struct {
	ID          ID
	Queued      uint32
	LastAttempt uint32 // 0 before the first
	Attempts    uint16
	Length      int // of the body
}

// QueueStat describes a queue.
type QueueStat struct {
	Name   string
	Count  int
	Oldest uint32 // Queued of its first packet
}

// PoolSize is the number of packets in the pool.
func (s *Store) PoolSize() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.packets.queues[pool].n
}

// Pool lists the packets of the pool. Their order tells nothing that the caller may rely on; a mix shuffles it.
func (s *Store) Pool() []ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := &s.packets.queues[pool]
	ids := make([]ID, 0, q.n)
	for next := q.head; next != 0; {
		r := s.packets.at(next - 1)
		ids = append(ids, r.id)
		next = r.next
	}
	return ids
}

// Queues describes every queue that holds a packet, the pool excepted, in no order.
func (s *Store) Queues() []QueueStat {
	s.mu.Lock()
	defer s.mu.Unlock()
	var stats []QueueStat
	for i := range s.packets.queues {
		q := &s.packets.queues[i]
		if i != pool && q.n > 0 {
			stats = append(stats, QueueStat{q.name, q.n, s.packets.at(q.head - 1).queued})
		}
	}
	return stats
}

// Queue lists the first packets of a queue, in the order in which they entered it; limit 0 lists all.
// After a restart the order is that of their Queued times.
func (s *Store) Queue(name string, limit int) []Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.packets.names[name]
	if !ok {
		return nil
	}
	q := &s.packets.queues[i]
	n := q.n
	if limit > 0 {
		n = min(n, limit)
	}
	items := make([]Item, 0, n)
	for next := q.head; next != 0 && len(items) < n; {
		r := s.packets.at(next - 1)
		items = append(items, Item{r.id, r.queued, r.last, r.attempts, int(r.length)})
		next = r.next
	}
	return items
}

// Read returns the body of a packet, in the memory of buf when its capacity is at least four bytes more than the body.
// ErrUnknown: there is no such packet. ErrCorrupt: its bytes are damaged; the caller should erase it with Done. Any
// other error is of the medium; the packet may be readable later.
func (s *Store) Read(id ID, buf []byte) ([]byte, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.life.RUnlock()
	s.mu.Lock()
	slot, ok := s.packets.find(id)
	if !ok {
		s.mu.Unlock()
		return nil, ErrUnknown
	}
	r, key := *s.packets.at(slot), s.packets.key(slot)
	seg := s.segment(r.seg)
	seg.pin.RLock()
	s.mu.Unlock()
	defer seg.pin.RUnlock()

	n := int(r.length) + bodyTrailer
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if err := readFull(seg.f, buf, int64(r.off)); err != nil {
		return nil, fmt.Errorf("read packet: %w", err)
	}
	ok, err := s.openBody(id, key, buf)
	if err != nil {
		return nil, fmt.Errorf("read packet: %w", err)
	}
	if !ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, still := s.packets.find(id); !still {
			return nil, ErrUnknown // and its key was destroyed meanwhile
		}
		s.noteDamageLocked(Damage{File: segName(r.seg), Offset: int64(r.off), Length: int64(n), What: "packet"})
		return nil, fmt.Errorf("%w: packet", ErrCorrupt)
	}
	return buf[:r.length], nil
}

// openBody decrypts a body with its checksum, in place, and says whether it is intact.
func (s *Store) openBody(id ID, key uint32, b []byte) (bool, error) {
	switch {
	case key == lostKey || key != 0 && s.page == nil:
		return false, nil
	case key != 0:
		if err := s.page.crypt(key, b); err != nil {
			return false, err
		}
	}
	n := len(b) - bodyTrailer
	return bodySum(id, b[:n]) == binary.LittleEndian.Uint32(b[n:]), nil
}

// Move puts packets into queues, all or none, and returns when that is durable. Their retry state begins anew.
// Between the call and its return the packets are in no list. ErrUnknown: one of the packets does not exist (any
// more); nothing was moved. A packet must not be named twice, nor moved by two calls at the same time.
func (s *Store) Move(list []Assignment) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	if len(list) == 0 {
		return nil
	}
	ids := make([]ID, 0, len(list))
	seen := make(map[ID]struct{}, len(list))
	for i := range list {
		if _, twice := seen[list[i].ID]; twice || len(list[i].Queue) > MaxQueueName {
			return fmt.Errorf("%w: packet named twice, or name of a queue too long", ErrInvalid)
		}
		seen[list[i].ID] = struct{}{}
		ids = append(ids, list[i].ID)
	}
	s.mu.Lock()
	err := s.moveLocked(list)
	lsn := s.written
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("move: %w", err)
	}
	// The commit point: a crash before may find the packets where they were, and nothing was sent yet.
	if err := s.syncTo(lsn); err != nil {
		return fmt.Errorf("move: %w", err)
	}
	s.mu.Lock()
	s.linkLocked(ids)
	s.mu.Unlock()
	return nil
}

func (s *Store) moveLocked(list []Assignment) error {
	r := record{kind: kindMove, moves: make([]moveEntry, 0, len(list))}
	names := queueNames{}
	for i := range list {
		if _, ok := s.packets.find(list[i].ID); !ok {
			return ErrUnknown
		}
		r.moves = append(r.moves, moveEntry{list[i].ID, list[i].Queued, names.index(&r, list[i].Queue)})
	}
	if err := s.appendTable(&r); err != nil {
		return err
	}
	for i := range list {
		slot, _ := s.packets.find(list[i].ID)
		s.packets.assign(slot, list[i].Queue)
		rc := s.packets.at(slot)
		rc.queued, rc.last, rc.attempts = list[i].Queued, 0, 0
	}
	return nil
}

// appendTable appends a frame without bodies. Caller holds mu.
func (s *Store) appendTable(r *record) error {
	frame := appendRecord(newFrame(s.buf), r)
	s.keepBuffer(frame)
	_, _, err := s.appendFrame(frame, r.kind, len(frame)-frameHeadLen, true)
	return err
}

// Note stores the retry state of packets: how often and when it was tried last, a time rounded by the caller. It
// becomes durable with the next Commit, Move or Done. Unknown packets are passed over.
func (s *Store) Note(ids []ID, attempts uint16, last uint32) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	_, err := s.note(ids, attempts, last)
	return err
}

// NoteNow is Note that returns when the state is durable.
func (s *Store) NoteNow(ids []ID, attempts uint16, last uint32) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	lsn, err := s.note(ids, attempts, last)
	if err == nil && lsn > 0 {
		err = s.syncTo(lsn)
	}
	return err
}

// note appends the frame with the retry state of packets, and returns the length of the journal with it; 0 when there is none.
func (s *Store) note(ids []ID, attempts uint16, last uint32) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := record{kind: kindNote, notes: make([]noteEntry, 0, len(ids))}
	for _, id := range ids {
		if _, ok := s.packets.find(id); ok {
			r.notes = append(r.notes, noteEntry{id, last, attempts})
		}
	}
	if len(r.notes) == 0 {
		return 0, nil
	}
	if err := s.appendTable(&r); err != nil {
		return 0, fmt.Errorf("note: %w", err)
	}
	for _, n := range r.notes {
		slot, _ := s.packets.find(n.id)
		rc := s.packets.at(slot)
		rc.last, rc.attempts = last, attempts
	}
	return s.written, nil
}

// Done erases packets and returns when that is durable: the flavour for exits, where a packet that comes back
// after a crash would be a second mail. Unknown packets are passed over.
func (s *Store) Done(ids ...ID) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	lsn, err := s.erase(ids)
	if err == nil && lsn > 0 {
		err = s.syncTo(lsn)
	}
	if err == nil {
		err = s.shred()
	}
	if err != nil {
		return fmt.Errorf("done: %w", err)
	}
	return nil
}

// DoneSoon erases packets; that becomes durable with the next Commit, Move or Done. The flavour for relayed
// packets: one that comes back after a crash is sent again, and the replay log of the next hop swallows it.
func (s *Store) DoneSoon(ids ...ID) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	if _, err := s.erase(ids); err != nil {
		return fmt.Errorf("done: %w", err)
	}
	return nil
}

// erase appends the frame that erases packets, and returns the length of the journal with it.
func (s *Store) erase(ids []ID) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := record{kind: kindDone, dones: make([]ID, 0, len(ids))}
	for _, id := range ids {
		if _, ok := s.packets.find(id); ok {
			r.dones = append(r.dones, id)
		}
	}
	if len(r.dones) == 0 {
		return 0, nil
	}
	if err := s.appendTable(&r); err != nil {
		return 0, err
	}
	for _, id := range r.dones {
		if slot, ok := s.packets.find(id); ok {
			s.doom(s.packets.key(slot))
			s.leave(s.packets.at(slot))
			s.packets.remove(slot)
		}
	}
	if s.reclaimDue() {
		s.poke()
	}
	return s.written, nil
}
