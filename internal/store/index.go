package store

import (
	"cmp"
	"slices"
)

// ID names a packet within its store; it is never zero. IDs are given in random order within a Commit, so that
// they do not tell the order of arrival.
type ID uint64

// rec is what memory holds of a packet: 40 bytes, and about 7 bytes of the index table.
type rec struct {
	id       ID     // 0: the slot is free
	seg      uint32 // number of the segment that holds the body
	off      uint32 // offset of the body in the segment
	queued   uint32
	last     uint32
	queue    uint32 // index into index.queues; a free slot: next free slot
	prev     uint32 // neighbours in the queue, as slot+1; 0 is none
	next     uint32
	length   uint16
	attempts uint16
}

// footprint is the share of its segment that the packet keeps alive.
func (r *rec) footprint() int64 { return putEntryLen + int64(r.length) + bodyTrailer }

const (
	chunkShift = 12
	chunkLen   = 1 << chunkShift
	// unlinked in rec.prev means that the packet is in no list yet, because the frame that put it into its queue
	// is not known durable.
	unlinked = ^uint32(0)
	// pool is the index of the queue with the empty name.
	pool = 0
)

type queue struct {
	name string
	head uint32 // slot+1
	tail uint32
	n    int // packets in the list
	refs int // packets whose queue this is, linked or not
}

// index finds packets by ID and lists them by queue. It is not safe for concurrent use.
type index struct {
	chunks  []*[chunkLen]rec
	keys    []*[chunkLen]uint32 // slots of the key page, parallel to chunks; empty in a store in clear
	slots   uint32              // slots ever used
	free    uint32              // first free slot+1
	n       int                 // live packets
	table   []uint32
	shift   uint
	queues  []queue
	names   map[string]uint32
	unnamed []uint32 // free entries of queues
}

func newIndex() *index {
	x := &index{names: map[string]uint32{"": pool}, queues: make([]queue, 1)}
	x.resize(6)
	return x
}

// key returns the slot of the key page that belongs to a packet; 0 is none.
func (x *index) key(slot uint32) uint32 {
	if c := slot >> chunkShift; int(c) < len(x.keys) {
		return x.keys[c][slot&(chunkLen-1)]
	}
	return 0
}

func (x *index) setKey(slot, key uint32) {
	c := int(slot >> chunkShift)
	if key == 0 && c >= len(x.keys) {
		return
	}
	for len(x.keys) <= c {
		x.keys = append(x.keys, new([chunkLen]uint32))
	}
	x.keys[c][slot&(chunkLen-1)] = key
}

func (x *index) at(slot uint32) *rec { return &x.chunks[slot>>chunkShift][slot&(chunkLen-1)] }

// home spreads IDs, which are consecutive numbers of our own making, over the table.
func (x *index) home(id ID) uint32 { return uint32(uint64(id) * 0x9E3779B97F4A7C15 >> x.shift) }

func (x *index) resize(bits uint) {
	x.table = make([]uint32, 1<<bits)
	x.shift = 64 - bits
	mask := uint32(len(x.table) - 1)
	for slot := range x.slots {
		id := x.at(slot).id
		if id == 0 {
			continue
		}
		i := x.home(id)
		for x.table[i] != 0 {
			i = (i + 1) & mask
		}
		x.table[i] = slot + 1
	}
}

// find returns the slot of a packet.
func (x *index) find(id ID) (uint32, bool) {
	mask := uint32(len(x.table) - 1)
	for i := x.home(id); x.table[i] != 0; i = (i + 1) & mask {
		if slot := x.table[i] - 1; x.at(slot).id == id {
			return slot, true
		}
	}
	return 0, false
}

// add makes an unlinked record for a new ID.
func (x *index) add(id ID) *rec {
	if (x.n+1)*4 > len(x.table)*3 {
		x.resize(64 - x.shift + 1)
	}
	slot := x.slots
	if x.free != 0 {
		slot = x.free - 1
		x.free = x.at(slot).queue
	} else {
		if int(slot>>chunkShift) == len(x.chunks) {
			x.chunks = append(x.chunks, new([chunkLen]rec))
		}
		x.slots++
	}
	mask := uint32(len(x.table) - 1)
	i := x.home(id)
	for x.table[i] != 0 {
		i = (i + 1) & mask
	}
	x.table[i] = slot + 1
	x.n++
	r := x.at(slot)
	*r = rec{id: id, prev: unlinked}
	x.queues[pool].refs++
	return r
}

// remove forgets a packet.
func (x *index) remove(slot uint32) {
	r := x.at(slot)
	mask := uint32(len(x.table) - 1)
	i := x.home(r.id)
	for x.table[i] != slot+1 {
		i = (i + 1) & mask
	}
	// Close the gap: an entry may move back when its home is not between the gap and itself.
	for j := (i + 1) & mask; x.table[j] != 0; j = (j + 1) & mask {
		h := x.home(x.at(x.table[j] - 1).id)
		if (j-h)&mask >= (j-i)&mask {
			x.table[i] = x.table[j]
			i = j
		}
	}
	x.table[i] = 0
	x.n--
	x.unlink(slot)
	x.release(r.queue)
	*r = rec{queue: x.free}
	x.setKey(slot, 0)
	x.free = slot + 1
}

// queueIndex returns the index of a queue, made when it is missing.
func (x *index) queueIndex(name string) uint32 {
	if q, ok := x.names[name]; ok {
		return q
	}
	var q uint32
	if n := len(x.unnamed); n > 0 {
		q = x.unnamed[n-1]
		x.unnamed = x.unnamed[:n-1]
	} else {
		q = uint32(len(x.queues))
		x.queues = append(x.queues, queue{})
	}
	x.queues[q] = queue{name: name}
	x.names[name] = q
	return q
}

func (x *index) release(q uint32) {
	x.queues[q].refs--
	if q != pool && x.queues[q].refs == 0 {
		delete(x.names, x.queues[q].name)
		x.queues[q] = queue{}
		x.unnamed = append(x.unnamed, q)
	}
}

// assign takes a packet out of its list and makes it belong to a queue, still unlinked.
func (x *index) assign(slot uint32, name string) {
	x.unlink(slot)
	q := x.queueIndex(name)
	x.queues[q].refs++
	r := x.at(slot)
	x.release(r.queue)
	r.queue = q
}

// link appends a packet to the list of its queue.
func (x *index) link(slot uint32) {
	r := x.at(slot)
	if r.prev != unlinked {
		return
	}
	q := &x.queues[r.queue]
	r.prev, r.next = q.tail, 0
	if q.tail == 0 {
		q.head = slot + 1
	} else {
		x.at(q.tail - 1).next = slot + 1
	}
	q.tail = slot + 1
	q.n++
}

func (x *index) unlink(slot uint32) {
	r := x.at(slot)
	if r.prev == unlinked {
		return
	}
	q := &x.queues[r.queue]
	if r.prev == 0 {
		q.head = r.next
	} else {
		x.at(r.prev - 1).next = r.next
	}
	if r.next == 0 {
		q.tail = r.prev
	} else {
		x.at(r.next - 1).prev = r.prev
	}
	q.n--
	r.prev, r.next = unlinked, 0
}

// linkAll links every unlinked packet, oldest first; recovery calls it once.
func (x *index) linkAll() {
	slots := make([]uint32, 0, x.n)
	for slot := range x.slots {
		if r := x.at(slot); r.id != 0 && r.prev == unlinked {
			slots = append(slots, slot)
		}
	}
	slices.SortFunc(slots, func(a, b uint32) int {
		ra, rb := x.at(a), x.at(b)
		if ra.queued != rb.queued {
			return cmp.Compare(ra.queued, rb.queued)
		}
		return cmp.Compare(ra.id, rb.id)
	})
	for _, slot := range slots {
		x.link(slot)
	}
}
