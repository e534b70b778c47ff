package mix

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"mixminion/dirclient"
	"mixminion/internal/crypt"
	"mixminion/internal/logging"
)

// directories is what the mix has to do with directory servers: it publishes its descriptors, and holds the directory.
type directories struct {
	client *dirclient.Client
	// changed wakes the publisher of each server of Config.PublishTo.
	changed []chan struct{}
	// again tells it to forget what it has published.
	again []atomic.Bool
}

func newDirectories(c *Config) (*directories, error) {
	o := c.Directories
	o.Fetch.Now = c.Clock.Now
	if len(o.Trusted) > 0 {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("make directory: %w", err)
		}
	}
	d := &directories{client: dirclient.New(o), again: make([]atomic.Bool, len(c.PublishTo))}
	for range c.PublishTo {
		d.changed = append(d.changed, make(chan struct{}, 1))
	}
	return d, nil
}

// announce has the descriptors published anew.
func (d *directories) announce() {
	for _, ch := range d.changed {
		select {
		case ch <- struct{}{}:
		default: // it will look anyway
		}
	}
}

// Republish hands the descriptors to all directory servers anew, now. It returns how many servers there are to publish to.
func (m *Mix) Republish() int {
	for i := range m.dirs.again {
		m.dirs.again[i].Store(true)
	}
	m.dirs.announce()
	return len(m.dirs.again)
}

// Directory returns the directory that the mix holds; nil if there is none.
func (m *Mix) Directory() (*dirclient.Consensus, error) { return m.dirs.client.Held() }

// sparsely is the logging of failures in a row: the first one, and then about one in a day.
func sparsely(failures int) bool { return failures%6 == 1 }

// publish hands the mix's descriptors to one directory server (dir-spec 5.2): at the start, when they change, and once in a day, at a random
// time, since a directory server may have lost them. What fails is tried again, and what the server does not want is offered again the next day.
func (m *Mix) publish(ctx context.Context, base string, changed <-chan struct{}, again *atomic.Bool) error {
	log := m.cfg.Logger.With("server", logging.Public(base))
	done := map[crypt.Digest]bool{}
	failures := 0
	for {
		select {
		case <-changed: // seen now
		default:
		}
		if again.Swap(false) {
			clear(done)
		}
		err := m.upload(ctx, base, done)
		if ctx.Err() != nil {
			return nil
		}
		now := m.cfg.Clock.Now()
		var next time.Time
		if err != nil {
			if failures++; sparsely(failures) {
				log.Warn("cannot publish the descriptor; will try again", "error", err)
			}
			next, err = dirclient.NextRetry(rand.Reader, now, failures)
		} else {
			failures = 0
			next, err = dirclient.NextDownload(rand.Reader, now, now)
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-m.cfg.Clock.After(next.Sub(now)):
			if failures == 0 {
				clear(done)
			}
		}
	}
}

// upload hands over those descriptors that are not in done, and adds them.
func (m *Mix) upload(ctx context.Context, base string, done map[crypt.Digest]bool) error {
	for _, d := range m.Descriptors() {
		if done[d.Digest()] {
			continue
		}
		log := m.cfg.Logger.With("server", logging.Public(base), "valid", d.ValidAfter.Format(time.DateOnly))
		receipt, err := m.dirs.client.Fetcher().Upload(ctx, base, d.Text())
		var rejected *dirclient.RejectedError
		switch {
		case errors.As(err, &rejected):
			log.Warn("the directory server does not want the descriptor", "message", rejected.Message)
		case err != nil:
			return err
		case receipt.Pending:
			log.Warn("the directory server has the descriptor, and may wait for its operator", "message", receipt.Message)
		default:
			log.Info("the descriptor is published")
		}
		done[d.Digest()] = true
	}
	return nil
}

// download keeps the directory fresh: it is downloaded daily, at a random time.
func (m *Mix) download(ctx context.Context) error {
	client := m.dirs.client
	failures := 0
	var before listing
	now := m.cfg.Clock.Now()
	next, err := dirclient.NextDownload(rand.Reader, now, client.LastDay())
	for {
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.cfg.Clock.After(next.Sub(now)):
		}
		var up *dirclient.Update
		up, err = client.Update(ctx)
		if ctx.Err() != nil {
			return nil
		}
		now = m.cfg.Clock.Now()
		if err != nil {
			if failures++; sparsely(failures) {
				m.cfg.Logger.Warn("cannot download the directory; will try again", "error", err)
			}
			next, err = dirclient.NextRetry(rand.Reader, now, failures)
			continue
		}
		failures = 0
		before = m.report(up, before)
		next, err = dirclient.NextDownload(rand.Reader, now, now)
	}
}

// A listing is how the directory has the mix, and what it warns of.
type listing struct {
	known, listed, recommended bool
	warnings                   string
}

// placeIn tells how a directory has the mix.
func (m *Mix) placeIn(d *dirclient.Consensus) (listed, recommended bool) {
	for _, s := range d.Servers {
		if s.KeyID() == m.keyID {
			listed, recommended = true, recommended || d.Recommends(s)
		}
	}
	return listed, recommended
}

// report logs what is new for the operator since the listing before.
func (m *Mix) report(up *dirclient.Update, before listing) listing {
	d, log := up.Consensus, m.cfg.Logger
	now := listing{known: true}
	now.listed, now.recommended = m.placeIn(d)
	warnings := d.Warnings(m.cfg.Clock.Now(), d.ServerVersions, strings.TrimPrefix(m.cfg.Software, "Mixminion "))
	for _, s := range up.Skews {
		warnings = append(warnings, s.String())
	}
	for _, f := range up.Failures {
		if errors.Is(f, dirclient.ErrFork) {
			warnings = append(warnings, f.Error())
		}
	}
	now.warnings = strings.Join(warnings, "; ")
	if up.New {
		log.Info("there is a new directory", "of", d.ValidAfter.Format(time.DateOnly))
	}
	if !before.known || now.listed != before.listed || now.recommended != before.recommended {
		level := slog.LevelInfo
		if !now.recommended {
			level = slog.LevelWarn // nobody sends to it
		}
		log.Log(context.Background(), level, "how the directory has this mix", "listed", now.listed, "recommended", now.recommended)
	}
	if now.warnings != before.warnings && now.warnings != "" {
		log.Warn(now.warnings)
	}
	return now
}
