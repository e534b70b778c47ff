package mix_test

import (
	"context"
	"iter"
	"sync"
	"time"

	"mixminion/delivery"
	"mixminion/internal/crypt"
)

// A fakeExit does with its items what answer says, and remembers what it saw. It delivers all if answer is nil.
type fakeExit struct {
	// answer is told which attempt this is, counted from 0 for each message.
	answer func(it delivery.Item, attempt int) delivery.Outcome
	// stop, if not nil, is asked before each item whether to pull it.
	stop func(pulled int) error
	// clock, if not nil, dates the calls.
	clock interface{ Now() time.Time }

	mu       sync.Mutex
	calls    []call
	attempts map[crypt.Digest]int
	outcomes map[crypt.Digest]delivery.Status // the last one
}

// call is one call of Deliver.
type call struct {
	at    time.Time
	items []seen
}

type seen struct {
	digest crypt.Digest // of the payload
	nonce  [16]byte
	info   string
	queued time.Time
}

// Deliver implements delivery.Exit.
func (x *fakeExit) Deliver(_ context.Context, items iter.Seq[delivery.Item], done func(uint64, delivery.Outcome)) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var c call
	if x.clock != nil {
		c.at = x.clock.Now()
	}
	defer func() { x.calls = append(x.calls, c) }()
	if x.stop != nil {
		if err := x.stop(0); err != nil {
			return err
		}
	}
	if x.attempts == nil {
		x.attempts, x.outcomes = map[crypt.Digest]int{}, map[crypt.Digest]delivery.Status{}
	}
	for it := range items {
		d := crypt.Hash(it.Payload[:])
		c.items = append(c.items, seen{d, it.Nonce, string(it.Info), it.Queued})
		out := delivery.Outcome{Status: delivery.Delivered}
		if x.answer != nil {
			out = x.answer(it, x.attempts[d])
		}
		x.attempts[d]++
		x.outcomes[d] = out.Status
		done(it.ID, out)
		if x.stop != nil {
			if err := x.stop(len(c.items)); err != nil {
				return err
			}
		}
	}
	return nil
}

// seen returns the calls so far.
func (x *fakeExit) seen() []call {
	x.mu.Lock()
	defer x.mu.Unlock()
	return append([]call(nil), x.calls...)
}

// tried is how often a message was offered.
func (x *fakeExit) tried(d crypt.Digest) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.attempts[d]
}
