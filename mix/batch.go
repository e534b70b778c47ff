package mix

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"mixminion/internal/store"
	"mixminion/internal/uniform"
)

// mixing mixes every interval until ctx is done.
func (m *Mix) mixing(ctx context.Context) error {
	for {
		live := m.live.Load()
		wait, err := nextInterval(rand.Reader, live.Interval, live.Jitter)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.cfg.Clock.After(wait):
		}
		if err := m.mixOnce(); err != nil {
			return err
		}
	}
}

// nextInterval is the mix interval, made longer or shorter at random by up to the jitter.
func nextInterval(rnd io.Reader, interval time.Duration, jitter float64) (time.Duration, error) {
	f, err := uniform.Float(rnd)
	if err != nil {
		return 0, err
	}
	return time.Duration(float64(interval) * (1 + jitter*(2*f-1))), nil
}

// mixOnce picks a batch from the pool and moves it, all at once, to the queues. The error is fatal for the mix.
func (m *Mix) mixOnce() error {
	pool := m.store.Pool()
	picked, err := m.live.Load().Rule.Pick(rand.Reader, len(pool))
	if err != nil {
		return err
	}
	moves := make([]store.Assignment, 0, len(picked))
	var damaged []store.ID
	buf := bodies.Get().(*[]byte)
	defer putBody(buf)
	for _, i := range picked {
		rec, err := m.readRecord(pool[i], buf)
		switch {
		case err == nil:
			moves = append(moves, store.Assignment{ID: pool[i], Queue: rec.queue(), Queued: m.roundedNow()})
		case errors.Is(err, errRecord):
			// Nothing can be done for this packet, and the others must not wait for it.
			damaged = append(damaged, pool[i])
		case isFatal(err):
			return fmt.Errorf("read the pool: %w", err)
		}
	}
	m.counts.corrupt.Add(uint64(len(damaged)))
	if _, err := m.dispatch.erase(false, damaged...); err != nil {
		return err
	}
	if err := m.store.Move(moves); err != nil {
		if errors.Is(err, store.ErrFull) {
			m.warnFull()
			return nil
		}
		return fmt.Errorf("move a batch out of the pool: %w", err)
	}
	if err := m.pickVisits(); err != nil {
		return err
	}
	m.counts.mixed.Add(uint64(len(moves)))
	m.cfg.Watch(Batch{Left: len(moves), Kept: len(pool) - len(moves)})
	m.dispatch.wakeUp()
	m.noteDrained()
	return nil
}
