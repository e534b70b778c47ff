package cli

import (
	"context"
	"errors"
)

// locked does work while no other mixminion changes the home directory. It waits for one that does, and says so.
func (u *user) locked(ctx context.Context, s *streams, work func() error) (err error) {
	unlock, err := u.Lock(ctx, func() { s.say("Waiting for another mixminion to finish.") })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	return work()
}
