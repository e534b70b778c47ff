// Package clock is the time that the daemons read: the real one, or one that a test moves by hand.
package clock

import (
	"sync"
	"time"
)

// A Clock tells the time and wakes its callers.
type Clock interface {
	Now() time.Time
	// After returns a channel that gets one value once d has passed.
	After(d time.Duration) <-chan time.Time
}

// Real is the system's clock.
type Real struct{}

// Now implements Clock.
func (Real) Now() time.Time { return time.Now() }

// After implements Clock.
func (Real) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Manual is a clock that stands still until Advance moves it. It is safe for concurrent use.
type Manual struct {
	mu      sync.Mutex
	now     time.Time
	waiting []waiter
}

type waiter struct {
	at time.Time
	ch chan time.Time
}

// NewManual returns a clock that stands at now.
func NewManual(now time.Time) *Manual { return &Manual{now: now} }

// Now implements Clock.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// After implements Clock.
func (m *Manual) After(d time.Duration) <-chan time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	ch := make(chan time.Time, 1)
	if d <= 0 {
		ch <- m.now
		return ch
	}
	m.waiting = append(m.waiting, waiter{m.now.Add(d), ch})
	return ch
}

// Advance moves the clock and wakes everyone whose time has come.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
	still := m.waiting[:0]
	for _, w := range m.waiting {
		if w.at.After(m.now) {
			still = append(still, w)
		} else {
			w.ch <- m.now
		}
	}
	m.waiting = still
}
