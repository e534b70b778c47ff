package mmtp

import (
	"context"
	"slices"
	"sync"
)

// turns lets one caller at a time through. Those who wait are taken by key, one of each key in turn, so that nobody waits longer because
// another key has many callers. The zero value is ready to use.
type turns[K comparable] struct {
	mu      sync.Mutex
	busy    bool
	current K                     // whose turn it is, if busy
	waiting map[K][]chan struct{} // closing one lets it through; oldest first
	order   []K                   // keys of waiting, the next one first; current comes back when its turn is over
}

// enter waits for a turn of key. Without an error the caller must call leave. The error is that of ctx.
func (t *turns[K]) enter(ctx context.Context, key K) error {
	t.mu.Lock()
	if !t.busy {
		t.busy, t.current = true, key
		t.mu.Unlock()
		return nil
	}
	w := make(chan struct{})
	if t.waiting == nil {
		t.waiting = map[K][]chan struct{}{}
	}
	if len(t.waiting[key]) == 0 && key != t.current {
		t.order = append(t.order, key)
	}
	t.waiting[key] = append(t.waiting[key], w)
	t.mu.Unlock()
	select {
	case <-w:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	i := slices.Index(t.waiting[key], w)
	if i < 0 { // it was let through at the same moment
		t.mu.Unlock()
		t.leave()
		return ctx.Err()
	}
	t.waiting[key] = slices.Delete(t.waiting[key], i, i+1)
	if len(t.waiting[key]) == 0 {
		delete(t.waiting, key)
		if i := slices.Index(t.order, key); i >= 0 {
			t.order = slices.Delete(t.order, i, i+1)
		}
	}
	t.mu.Unlock()
	return ctx.Err()
}

// leave ends a turn.
func (t *turns[K]) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting[t.current]) > 0 {
		t.order = append(t.order, t.current)
	}
	if len(t.order) == 0 {
		t.busy = false
		return
	}
	key := t.order[0]
	t.order = t.order[1:]
	list := t.waiting[key]
	close(list[0])
	t.current = key
	if t.waiting[key] = list[1:]; len(list) == 1 {
		delete(t.waiting, key)
	}
}
