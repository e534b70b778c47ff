package store

import (
	"encoding/binary"
	"fmt"
)

// Tables of frames:
//
//	put:   queues | u32 n | n * (u64 id, u32 queued, u32 last, u32 queue, u16 length, u16 attempts)
//	       | u16 logs | logs * (16 bytes log identity, u32 n, n * 20 bytes hash, sorted)
//	move:  queues | u32 n | n * (u64 id, u32 queued, u32 queue)
//	note:  u32 n | n * (u64 id, u32 last, u16 attempts, u16 zero)
//	done:  u32 n | n * u64 id
//
//	sealed: as put | n * u32 slot of the key page
//
// "queues" is the list of queue names that the frame uses: u32 n | n * (u8 length, name). Bodies follow in the
// order of the table of a put, each with its checksum behind it (see bodySum).

const (
	putEntryLen  = 24
	moveEntryLen = 16
	noteEntryLen = 16
	doneEntryLen = 8
	hashLen      = 20
	logIDLen     = 16
	bodyTrailer  = 4
)

type logID [logIDLen]byte

type putEntry struct {
	id       ID
	queued   uint32
	last     uint32
	queue    uint32 // index into the queues of the frame
	length   uint16
	attempts uint16
}

type moveEntry struct {
	id     ID
	queued uint32
	queue  uint32
}

type noteEntry struct {
	id       ID
	last     uint32
	attempts uint16
}

// hashGroup holds the replay hashes of one log, one after the other, sorted: their order tells nothing about
// which packet they belong to.
type hashGroup struct {
	log    logID
	hashes []byte
}

// record is the parsed table of a frame. The slices of the kinds that it is not are empty.
type record struct {
	kind   kind
	queues []string
	puts   []putEntry
	keys   []uint32 // of a sealed put: the slots of the key page, for each of puts
	groups []hashGroup
	moves  []moveEntry
	notes  []noteEntry
	dones  []ID
}

// bodiesLen is the length that the bodies of the record must have.
func (r *record) bodiesLen() int64 {
	var n int64
	for i := range r.puts {
		n += int64(r.puts[i].length) + bodyTrailer
	}
	return n
}

// bodySum is the checksum stored behind a body; the ID in it makes a body in the wrong place an error.
func bodySum(id ID, body []byte) uint32 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(id))
	return checksum(b[:], body)
}

func appendQueues(b []byte, queues []string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(queues)))
	for _, q := range queues {
		b = append(b, byte(len(q)))
		b = append(b, q...)
	}
	return b
}

func appendRecord(b []byte, r *record) []byte {
	le := binary.LittleEndian
	switch r.kind {
	case kindPut, kindSealed:
		b = appendQueues(b, r.queues)
		b = le.AppendUint32(b, uint32(len(r.puts)))
		for i := range r.puts {
			p := &r.puts[i]
			b = le.AppendUint64(b, uint64(p.id))
			b = le.AppendUint32(b, p.queued)
			b = le.AppendUint32(b, p.last)
			b = le.AppendUint32(b, p.queue)
			b = le.AppendUint16(b, p.length)
			b = le.AppendUint16(b, p.attempts)
		}
		b = le.AppendUint16(b, uint16(len(r.groups)))
		for i := range r.groups {
			b = append(b, r.groups[i].log[:]...)
			b = le.AppendUint32(b, uint32(len(r.groups[i].hashes)/hashLen))
			b = append(b, r.groups[i].hashes...)
		}
		for _, key := range r.keys {
			b = le.AppendUint32(b, key)
		}
	case kindMove:
		b = appendQueues(b, r.queues)
		b = le.AppendUint32(b, uint32(len(r.moves)))
		for _, m := range r.moves {
			b = le.AppendUint64(b, uint64(m.id))
			b = le.AppendUint32(b, m.queued)
			b = le.AppendUint32(b, m.queue)
		}
	case kindNote:
		b = le.AppendUint32(b, uint32(len(r.notes)))
		for _, n := range r.notes {
			b = le.AppendUint64(b, uint64(n.id))
			b = le.AppendUint32(b, n.last)
			b = le.AppendUint16(b, n.attempts)
			b = le.AppendUint16(b, 0)
		}
	case kindDone:
		b = le.AppendUint32(b, uint32(len(r.dones)))
		for _, id := range r.dones {
			b = le.AppendUint64(b, uint64(id))
		}
	}
	return b
}

// tableReader takes fields from the front of a table; after the first field that does not fit, bad is set and
// all fields are zero.
type tableReader struct {
	b   []byte
	bad bool
}

func (t *tableReader) take(n int) []byte {
	if t.bad || n < 0 || n > len(t.b) {
		t.bad = true
		return nil
	}
	v := t.b[:n]
	t.b = t.b[n:]
	return v
}

// count reads a number of entries and refuses one that the rest of the table cannot hold.
func (t *tableReader) count(entryLen int) int {
	b := t.take(4)
	if t.bad {
		return 0
	}
	n := int64(binary.LittleEndian.Uint32(b))
	if n*int64(entryLen) > int64(len(t.b)) {
		t.bad = true
		return 0
	}
	return int(n)
}

func (t *tableReader) queues() []string {
	n := t.count(1)
	if n == 0 {
		return nil
	}
	names := make([]string, 0, n)
	for range n {
		size := t.take(1)
		if t.bad {
			return nil
		}
		names = append(names, string(t.take(int(size[0]))))
	}
	return names
}

// parseRecord parses the table of a frame. The hashes of the result are slices of table.
func parseRecord(k kind, table []byte) (record, error) {
	r := record{kind: k}
	t := tableReader{b: table}
	le := binary.LittleEndian
	switch k {
	case kindPut, kindSealed:
		r.queues = t.queues()
		if n := t.count(putEntryLen); n > 0 {
			r.puts = make([]putEntry, n)
			for i := range r.puts {
				b := t.take(putEntryLen)
				r.puts[i] = putEntry{id: ID(le.Uint64(b)), queued: le.Uint32(b[8:]), last: le.Uint32(b[12:]),
					queue: le.Uint32(b[16:]), length: le.Uint16(b[20:]), attempts: le.Uint16(b[22:])}
				if r.puts[i].id == 0 || int64(r.puts[i].queue) >= int64(len(r.queues)) {
					t.bad = true
					break
				}
			}
		}
		var logs int
		if b := t.take(2); !t.bad {
			logs = int(le.Uint16(b))
		}
		for range logs {
			var g hashGroup
			copy(g.log[:], t.take(logIDLen))
			g.hashes = t.take(t.count(hashLen) * hashLen)
			if t.bad {
				break
			}
			r.groups = append(r.groups, g)
		}
		if k == kindSealed {
			if b := t.take(4 * len(r.puts)); !t.bad {
				r.keys = make([]uint32, len(r.puts))
				for i := range r.keys {
					r.keys[i] = le.Uint32(b[4*i:])
					t.bad = t.bad || r.keys[i] == 0 || r.keys[i] > maxSlots
				}
			}
		}
	case kindMove:
		r.queues = t.queues()
		if n := t.count(moveEntryLen); n > 0 {
			r.moves = make([]moveEntry, n)
			for i := range r.moves {
				b := t.take(moveEntryLen)
				r.moves[i] = moveEntry{id: ID(le.Uint64(b)), queued: le.Uint32(b[8:]), queue: le.Uint32(b[12:])}
				if int64(r.moves[i].queue) >= int64(len(r.queues)) {
					t.bad = true
					break
				}
			}
		}
	case kindNote:
		if n := t.count(noteEntryLen); n > 0 {
			r.notes = make([]noteEntry, n)
			for i := range r.notes {
				b := t.take(noteEntryLen)
				r.notes[i] = noteEntry{id: ID(le.Uint64(b)), last: le.Uint32(b[8:]), attempts: le.Uint16(b[12:])}
			}
		}
	case kindDone:
		if n := t.count(doneEntryLen); n > 0 {
			r.dones = make([]ID, n)
			for i := range r.dones {
				r.dones[i] = ID(le.Uint64(t.take(doneEntryLen)))
			}
		}
	default:
		return record{}, fmt.Errorf("%w: frame of unknown kind %d", ErrCorrupt, k)
	}
	if t.bad || len(t.b) != 0 {
		return record{}, fmt.Errorf("%w: table of a frame", ErrCorrupt)
	}
	return r, nil
}
