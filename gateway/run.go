package gateway

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"mixminion/delivery/inmail"
	"mixminion/internal/clock"
)

// pollMaildir is how often a Maildir is looked at.
const pollMaildir = time.Minute

// Run serves LMTP at the listeners, which it closes, looks after the Maildir if maildir is not "", and sends receipts, until ctx is done. It may
// be called once.
func (g *Gateway) Run(ctx context.Context, maildir string, c clock.Clock, listeners ...net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(listeners))
	var running sync.WaitGroup
	for i, l := range listeners {
		running.Go(func() {
			defer cancel()
			errs[i] = g.serve(ctx, l)
		})
	}
	running.Go(func() { g.sendReceipts(ctx, c) })
	if maildir != "" {
		running.Go(func() { g.poll(ctx, maildir, c) })
	}
	<-ctx.Done()
	running.Wait()
	for range maxAtOnce { // what is under way comes to its end, and nothing else begins
		g.slots <- struct{}{}
	}
	return errors.Join(errs...)
}

// poll takes in what comes into a Maildir.
func (g *Gateway) poll(ctx context.Context, dir string, c clock.Clock) {
	warned := false
	for {
		err := inmail.Maildir(ctx, dir, g.cfg.MaxMail, func(raw []byte) error {
			err := g.Receive(ctx, raw, inmail.NoSender)
			switch {
			case errors.Is(err, inmail.ErrMalformed):
				return nil
			case errors.Is(err, ErrLater):
				return inmail.ErrKeep
			}
			return err
		})
		if err != nil && ctx.Err() == nil && !warned {
			g.cfg.Logger.Warn("the gateway's Maildir cannot be read; will try again every minute", "error", err)
		}
		warned = err != nil
		select {
		case <-ctx.Done():
			return
		case <-c.After(pollMaildir):
		}
	}
}
