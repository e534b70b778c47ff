package mix

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mixminion/delivery"
	"mixminion/directory"
	"mixminion/packet"
)

// ErrNotRunning says that a mix was asked for what only a running one can do.
var ErrNotRunning = errors.New("the mix is not running")

// with returns c with what can change while a mix runs taken from n: what the descriptor says of the operator, how the pool mixes, how much
// cover it wants, the limits of its disk and its links, the retry schedules, and the exits.
func (c *Config) with(n *Config) *Config {
	out := *c
	out.Contact, out.ContactFingerprint, out.Comments, out.Family = n.Contact, n.ContactFingerprint, n.Comments, n.Family
	out.Rule, out.Interval, out.Jitter = n.Rule, n.Interval, n.Jitter
	out.MaxDisk, out.MaxOutgoing = n.MaxDisk, n.MaxOutgoing
	out.Cover, out.Incoming, out.Bandwidth, out.BandwidthSpike = n.Cover, n.Incoming, n.Bandwidth, n.BandwidthSpike
	out.StatsInterval, out.LogStats = n.StatsInterval, n.LogStats
	out.OutgoingRetry, out.Exits = n.OutgoingRetry, n.Exits
	return &out
}

// exit returns the exit for a routing type; nil if there is none.
func (c *Config) exit(t packet.RoutingType) *ExitConfig {
	for i := range c.Exits {
		if c.Exits[i].Type == t {
			return &c.Exits[i]
		}
	}
	return nil
}

// Reload puts that part of a new configuration into use which can change while the mix runs, all of it or, with an error, nothing. What is
// under way comes to its end by the old one: no connection is closed and no packet dropped. An interval that has begun runs out first. The
// caller sees to it that the rest is as it was.
func (m *Mix) Reload(ctx context.Context, c Config) error {
	if err := c.check(); err != nil {
		return err
	}
	return m.errand(ctx, func() error {
		next := m.cfg.with(&c)
		now := m.cfg.Clock.Now()
		for _, s := range m.ring.sets {
			_, err := directory.SignDescriptor(m.ring.identity, next.describe(directory.Fields{
				Published: now.UTC().Truncate(time.Second), ValidAfter: s.desc.ValidAfter, ValidUntil: s.desc.ValidUntil, PacketKey: s.desc.PacketKey,
			}))
			if err != nil {
				return fmt.Errorf("sign descriptor: %w", err)
			}
		}
		next.inherit(m.live.Load())
		m.live.Store(next)
		m.applyLimits(next)
		for _, s := range m.ring.sets {
			s.fits = false
		}
		if err := m.maintain(); err != nil {
			m.cfg.Logger.Error("the new configuration is in use, but the keys and descriptors are not up to date; will try again in an hour", "error", err)
		}
		return nil
	})
}

// inherit hands what the exits of before remember to those that take their place: else the counts of the day would begin anew.
func (c *Config) inherit(before *Config) {
	for _, x := range c.Exits {
		old := before.exit(x.Type)
		if old == nil || old.Exit == x.Exit {
			continue
		}
		if heir, ok := x.Exit.(*delivery.SMTP); ok {
			if old, ok := old.Exit.(*delivery.SMTP); ok {
				heir.Inherit(old)
			}
		}
	}
}

// describe is Config.describe by the configuration in use.
func (m *Mix) describe(f directory.Fields) directory.Fields { return m.live.Load().describe(f) }

// errand has work done by the goroutine that owns the keys, and waits for it.
func (m *Mix) errand(ctx context.Context, work func() error) error {
	done := make(chan error, 1)
	select {
	case m.errands <- func() { done <- work() }:
		return <-done
	case <-m.ended:
		return ErrNotRunning
	case <-ctx.Done():
		return ctx.Err()
	}
}

// runErrands does errands until a moment; it returns false if ctx has ended before.
func (m *Mix) runErrands(ctx context.Context, until <-chan time.Time) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case work := <-m.errands:
			work()
		case <-until:
			return true
		}
	}
}

// FlushQueues has everything that waits for a next hop or an exit tried at once instead of at its time. It is no short cut through the
// pool: what has not been mixed stays there.
func (m *Mix) FlushQueues() {
	m.dispatch.flush.Store(true)
	m.dispatch.wakeUp()
}
