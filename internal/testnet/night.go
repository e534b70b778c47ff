package testnet

import (
	"sync"
	"time"

	"mixminion/internal/clock"
)

// A Night is the clock of a network that cannot wait for midnight. It begins in the evening before today and is moved by hand through the
// hours in which directory authorities vote; from Wake on it follows the system's, so that programs outside have the same time.
type Night struct {
	mu      sync.Mutex
	awake   bool
	now     time.Time
	waiting []sleeper
}

type sleeper struct {
	at time.Time
	ch chan time.Time
}

var _ clock.Clock = (*Night)(nil)

// NewNight returns a clock that stands at half past nine (UTC) in the evening before today.
func NewNight() *Night {
	return &Night{now: time.Now().UTC().Truncate(24 * time.Hour).Add(-150 * time.Minute)}
}

// Now implements clock.Clock.
func (n *Night) Now() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.awake {
		return time.Now()
	}
	return n.now
}

// After implements clock.Clock.
func (n *Night) After(d time.Duration) <-chan time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.awake {
		return time.After(d)
	}
	ch := make(chan time.Time, 1)
	n.waiting = append(n.waiting, sleeper{n.now.Add(d), ch})
	n.ring()
	return ch
}

// Advance moves the clock. After Wake it does nothing.
func (n *Night) Advance(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.awake {
		n.now = n.now.Add(d)
		n.ring()
	}
}

// ring wakes everyone whose time has come.
func (n *Night) ring() {
	still := n.waiting[:0]
	for _, s := range n.waiting {
		if s.at.After(n.now) {
			still = append(still, s)
		} else {
			s.ch <- n.now
		}
	}
	n.waiting = still
}

// Wake sets the clock to the system's time and lets it run from then on.
func (n *Night) Wake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.awake {
		return
	}
	n.awake, n.now = true, time.Now()
	n.ring()
	for _, s := range n.waiting {
		time.AfterFunc(s.at.Sub(n.now), func() { s.ch <- s.at })
	}
	n.waiting = nil
}
