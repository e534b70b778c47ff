package mix

import (
	"sync"

	"mixminion/internal/store"
)

// drain looks when a mix that takes no more packets has passed on those of others. Cover traffic goes on meanwhile, since it is what moves
// the last packets of others out of the pool; so the store never gets empty.
type drain struct {
	mu      sync.Mutex
	on      bool
	batches int // since it is on
	// last is the highest ID that a packet of others can have; later ones are dummies.
	last store.ID
	// clean is after how many batches in a row nothing of others was there.
	clean int
}

// drainBatches is how many batches it takes until what was on its way into the store at the beginning is in it, and how
// many in a row must find nothing of others: what is just being moved from one list to another is in none.
const drainBatches = 2

// Drain has the mix take no more packets (their senders keep them and try again), or take them again. What it holds
// goes on by the same rules as ever: what the pool always keeps stays, unless dummies of the mix's own take its place.
func (m *Mix) Drain(on bool) {
	m.drain.mu.Lock()
	defer m.drain.mu.Unlock()
	if on && m.drain.on {
		return
	}
	m.drain.on, m.drain.batches, m.drain.clean = on, 0, 0
	m.draining.Store(on)
}

// noteDrained is called after each batch.
func (m *Mix) noteDrained() {
	d := &m.drain
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.on || d.clean >= drainBatches {
		return
	}
	if d.batches++; d.batches == drainBatches {
		d.last = m.newest()
	}
	switch {
	case d.batches < drainBatches:
	case m.holds(d.last):
		d.clean = 0
	default:
		d.clean++
	}
	if d.clean == drainBatches {
		m.cfg.Logger.Warn("drained: all packets of others have left; the mix can be stopped for as long as you like")
	}
}

// drained reports whether the mix takes no more packets and holds none of others.
func (m *Mix) drained() bool {
	m.drain.mu.Lock()
	defer m.drain.mu.Unlock()
	return m.drain.on && m.drain.clean >= drainBatches
}

// holds reports whether there are packets up to an ID that can leave. Fragments of messages that are not whole cannot.
func (m *Mix) holds(last store.ID) bool {
	for _, id := range m.store.Pool() {
		if id <= last {
			return true
		}
	}
	for _, q := range m.store.Queues() {
		switch {
		case q.Name == finishedQueue || q.Name == heldQueue:
		case toExit(q.Name):
			return true // no dummy goes there, and what was put together has a new ID
		default:
			for _, it := range m.store.Queue(q.Name, 0) {
				if it.ID <= last {
					return true
				}
			}
		}
	}
	return false
}

// newest is the highest ID of what the store holds.
func (m *Mix) newest() (last store.ID) {
	for _, id := range m.store.Pool() {
		last = max(last, id)
	}
	for _, q := range m.store.Queues() {
		for _, it := range m.store.Queue(q.Name, 0) {
			last = max(last, it.ID)
		}
	}
	return last
}
