package store

import (
	"bytes"
	"slices"
)

// replayHash is a value of subheader processing that names a packet to one packet key.
type replayHash = [hashLen]byte

// memTable is a set of hashes in one flat, open-addressed array: 20 bytes a slot, at most 5/8 full.
// The caller gives for each hash a keyed 64-bit value, so that nobody outside can aim at a slot.
type memTable struct {
	slots []replayHash
	keys  func(*replayHash) uint64
	n     int
	shift uint
	zero  bool // the all-zero hash, which marks a free slot, is in the set
}

func newMemTable(keys func(*replayHash) uint64) *memTable {
	const bits = 8
	return &memTable{slots: make([]replayHash, 1<<bits), shift: 64 - bits, keys: keys}
}

func (t *memTable) len() int {
	if t.zero {
		return t.n + 1
	}
	return t.n
}

func (t *memTable) has(h *replayHash) bool {
	if *h == (replayHash{}) {
		return t.zero
	}
	return t.slots[t.slot(h)] == *h
}

// slot finds the place of a hash that is not zero: where it is, or where it would go.
func (t *memTable) slot(h *replayHash) uint64 {
	mask := uint64(len(t.slots) - 1)
	i := t.keys(h) >> t.shift
	for t.slots[i] != *h && t.slots[i] != (replayHash{}) {
		i = (i + 1) & mask
	}
	return i
}

func (t *memTable) add(h *replayHash) {
	if *h == (replayHash{}) {
		t.zero = true
		return
	}
	if (t.n+1)*8 > len(t.slots)*5 {
		t.grow()
	}
	if i := t.slot(h); t.slots[i] != *h {
		t.slots[i] = *h
		t.n++
	}
}

func (t *memTable) grow() {
	old := t.slots
	t.slots = make([]replayHash, 2*len(old))
	t.shift--
	for i := range old {
		if old[i] != (replayHash{}) {
			t.slots[t.slot(&old[i])] = old[i]
		}
	}
}

// sorted returns the hashes in ascending order.
func (t *memTable) sorted() []replayHash {
	list := make([]replayHash, 0, t.len())
	if t.zero {
		list = append(list, replayHash{})
	}
	for i := range t.slots {
		if t.slots[i] != (replayHash{}) {
			list = append(list, t.slots[i])
		}
	}
	slices.SortFunc(list, func(a, b replayHash) int { return bytes.Compare(a[:], b[:]) })
	return list
}
