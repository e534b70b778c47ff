package mix

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"mixminion/internal/store"
	"mixminion/internal/uniform"
)

// mixing mixes every interval until ctx is done.
func (m *Mix) mixing(ctx context.Context) error {
	for {
		wait, err := m.nextInterval()
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
func (m *Mix) nextInterval() (time.Duration, error) {
	f, err := uniform.Float(rand.Reader)
	if err != nil {
		return 0, err
	}
	return time.Duration(float64(m.cfg.Interval) * (1 + m.cfg.Jitter*(2*f-1))), nil
}

// mixOnce picks a batch from the pool and moves it, all at once, to the queues. The error is fatal for the mix.
func (m *Mix) mixOnce() error {
	pool := m.store.Pool()
	picked, err := m.cfg.Rule.Pick(rand.Reader, len(pool))
	if err != nil {
		return err
	}
	moves := make([]store.Assignment, 0, len(picked))
	buf := bodies.Get().(*[]byte)
	defer bodies.Put(buf)
	for _, i := range picked {
		body, err := m.store.Read(pool[i], *buf)
		*buf = body[:0]
		var rec record
		if err == nil {
			rec, err = parseRecord(body)
		}
		if errors.Is(err, store.ErrCorrupt) || errors.Is(err, errRecord) {
			// The disk changed it. Nothing can be done for this packet, and the others must not wait for it.
			m.counts.corrupt.Add(1)
			err = m.store.Done(pool[i])
			if err == nil {
				continue
			}
		}
		if err != nil {
			return fmt.Errorf("read the pool: %w", err)
		}
		moves = append(moves, store.Assignment{ID: pool[i], Queue: rec.queue(), Queued: m.roundedNow()})
	}
	if err := m.store.Move(moves); err != nil {
		if errors.Is(err, store.ErrFull) {
			m.warnFull()
			return nil
		}
		return fmt.Errorf("move a batch out of the pool: %w", err)
	}
	m.counts.mixed.Add(uint64(len(moves)))
	m.cfg.Watch(Batch{Left: len(moves), Kept: len(pool) - len(moves)})
	m.dispatch.wakeUp()
	return nil
}
