package reassemble

import (
	"slices"
	"time"

	"mixminion/message"
)

// maxFinished bounds how many finished messages are remembered. Further ones are not, which only means that their late fragments wait in
// vain: there are never enough left to make a message whole again.
const maxFinished = 1 << 17

// maxTogether is how many IDs Unsaved returns.
const maxTogether = 1024

// finished remembers which messages are done with.
type finished struct {
	ids     map[message.ID]time.Time // and when they are counted from; zero: unsaved
	unsaved []message.ID
}

func (f *finished) has(id message.ID) bool {
	_, ok := f.ids[id]
	return ok
}

func (f *finished) add(id message.ID) {
	if !f.has(id) && len(f.ids) < maxFinished {
		f.ids[id] = time.Time{}
		f.unsaved = append(f.unsaved, id)
	}
}

// Unsaved returns the IDs of finished messages that are not stored yet, or some of them if there are many.
func (p *Pool) Unsaved() []message.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.finished.unsaved[:min(maxTogether, len(p.finished.unsaved))])
}

// Remember notes that the IDs of finished messages are stored. What Unsaved returned is passed on whole.
func (p *Pool) Remember(since time.Time, ids []message.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := &p.finished
	for _, id := range ids {
		if f.has(id) || len(f.ids) < maxFinished {
			f.ids[id] = since
		}
	}
	f.unsaved = slices.DeleteFunc(f.unsaved, func(id message.ID) bool { return !f.ids[id].IsZero() })
}

// Forget forgets the finished messages that are stored and counted from a moment before a limit.
func (p *Pool) Forget(limit time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, since := range p.finished.ids {
		if !since.IsZero() && since.Before(limit) {
			delete(p.finished.ids, id)
		}
	}
}
