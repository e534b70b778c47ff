package cli

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress shows how long work goes on, in one line that it writes over; only on a terminal, and only if there is something to wait for.
// It is a client.Watcher.
type progress struct {
	w io.Writer // nil: show nothing

	mu    sync.Mutex
	last  time.Time
	shown bool
}

// minShown is for how many packets a progress line is worth its flicker.
const minShown = 4

// showEvery bounds how often the line is written.
const showEvery = 100 * time.Millisecond

func newProgress(s *streams) *progress {
	if s.quiet || !isTerminal(s.err) {
		return &progress{}
	}
	return &progress{w: s.err}
}

// Wrapped implements client.Watcher.
func (p *progress) Wrapped(done, total int) { p.show("Wrapping packets", done, total) }

// Sent implements client.Watcher.
func (p *progress) Sent(done, total int) { p.show("Sending packets", done, total) }

func (p *progress) show(what string, done, total int) {
	if p.w == nil || total < minShown {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if done < total && now.Sub(p.last) < showEvery {
		return
	}
	p.last, p.shown = now, true
	_, _ = fmt.Fprintf(p.w, "\r%s: %d of %d ", what, done, total)
}

// clear removes the line.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
