package agent

import (
	"sync"

	"mixminion/client"
)

// backlog is how many events may wait for a front end before it is taken for dead.
const backlog = 64

// A hub passes events on to those who want to hear of them. The zero value is ready.
type hub struct {
	mu       sync.Mutex
	watchers map[*watcher]bool
}

// A watcher gets events. slow is closed when it did not take them.
type watcher struct {
	events chan client.AgentEvent
	slow   chan struct{}
}

func (h *hub) join() *watcher {
	w := &watcher{events: make(chan client.AgentEvent, backlog), slow: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers == nil {
		h.watchers = map[*watcher]bool{}
	}
	h.watchers[w] = true
	return w
}

func (h *hub) leave(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watchers, w)
}

// tell never waits.
func (h *hub) tell(e client.AgentEvent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		select {
		case w.events <- e:
		default:
			close(w.slow)
			delete(h.watchers, w)
		}
	}
}
