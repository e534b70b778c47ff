package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mixminion/internal/store/durable"
	"mixminion/internal/store/lockfile"
)

const lockFile = "lock"

// lockPoll is how often Lock looks whether the lock is free again. The system's own waiting could not be ended by a context.
const lockPoll = 100 * time.Millisecond

// Errors of everything that writes to the home directory. Their texts say what to do.
var (
	// ErrFull means that the disk is full. Nothing of the operation happened.
	ErrFull = errors.New("the disk is full; make room and try again")
	// ErrReadOnly means that the home directory, or something in it, may not be changed.
	ErrReadOnly = errors.New("that cannot be written to; make it writable, or name another directory with UserDir in your configuration")
	// ErrNotLocked means that a method needs the lock of the home directory and the client does not hold it: see [Client.Lock].
	ErrNotLocked = errors.New("the home directory is not locked")
)

// Lock makes the caller the only one that changes the home directory, among all processes and all other calls of Lock, until it calls
// unlock. Mixminion 0.0.8 respects the same lock. If another one holds it, Lock calls onWait (if not nil) once and waits until the
// lock is free or ctx ends.
//
// The methods that say so need it. One who reads and then writes, as with the keyring, takes it before reading.
func (c *Client) Lock(ctx context.Context, onWait func()) (unlock func() error, err error) {
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for waited := false; ; waited = true {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("lock home directory: %w", err)
		}
		f, err := lockfile.Try(c.path(lockFile))
		if err == nil {
			c.locks.Add(1)
			return func() error {
				c.locks.Add(-1)
				return f.Close()
			}, nil
		}
		if !errors.Is(err, lockfile.ErrHeld) {
			return nil, fmt.Errorf("lock home directory: %w", explain(err))
		}
		if !waited && onWait != nil {
			onWait()
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

func (c *Client) checkLocked() error {
	if c.locks.Load() == 0 {
		return ErrNotLocked
	}
	return nil
}

// explain marks the errors of writing that a user can do something about.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case durable.NoSpace(err):
		return fmt.Errorf("%w: %w", err, ErrFull)
	case durable.ReadOnly(err):
		return fmt.Errorf("%w: %w", err, ErrReadOnly)
	}
	return err
}
