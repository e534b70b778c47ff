package authority

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mixminion/authority/inbox"
)

const (
	rawEvery  = time.Hour
	rawJitter = 20 * time.Minute
	// rawTimeout bounds how long the lists of all others are looked at.
	rawTimeout = 5 * time.Minute
)

// exchangeRaw publishes the descriptors that we know and takes those of the others (dir-spec 7.1.1), about every hour.
func (a *Authority) exchangeRaw(ctx context.Context) (next time.Time, err error) {
	if a.cfg.Exchange == nil {
		return a.now.Add(day), nil
	}
	if a.now.Before(a.rawAt) {
		return a.rawAt, nil
	}
	tomorrow := today(a.now).Add(day)
	left := tomorrow.Sub(a.now) - beforeCollect
	if left <= 0 {
		return tomorrow, nil // the vote has precedence
	}
	// A long list of many new servers must not last until then either: each of them is written to the disk.
	ctx, cancel := context.WithTimeout(ctx, min(rawTimeout, left))
	defer cancel()
	jitter, err := rand.Int(a.cfg.Rand, big.NewInt(int64(rawJitter)))
	if err != nil {
		return next, fmt.Errorf("random numbers: %w", err)
	}
	a.rawAt = a.now.Add(rawEvery - rawJitter/2 + time.Duration(jitter.Int64()))
	var wants []want
	for _, m := range a.others {
		wants = append(wants, want{from: m, name: rawName, limit: inbox.MaxListLen, zip: true, got: func(f Fetched, fetchErr error) {
			if fetchErr != nil {
				a.cfg.Logger.Debug("cannot get the descriptors that another authority knows", "authority", a.name(m.Fingerprint), "error", describe(fetchErr))
				return
			}
			sum, importErr := a.cfg.Exchange.AddRawList(ctx, bytes.NewReader(f.Body), m.Fingerprint)
			if importErr != nil {
				a.cfg.Logger.Warn("cannot take descriptors from another authority", "authority", a.name(m.Fingerprint), "error", importErr)
			}
			if sum.New > 0 {
				a.cfg.Logger.Info("descriptors came from another authority", "authority", a.name(m.Fingerprint), "new", sum.New)
			}
		}})
	}
	a.round(ctx, wants)
	return a.rawAt, nil
}

// sweep removes what is too old, once a day. Age counts from the current consensus: a clock that is set far ahead and
// back again must not make us forget what we have signed.
func (a *Authority) sweep(start time.Time) error {
	if a.swept.Equal(start) {
		return nil
	}
	from := start
	if a.current != nil && a.current.ValidAfter.Before(start) {
		from = a.current.ValidAfter
	}
	for _, name := range a.shelf.list() {
		d, vote, _ := documentDay(name)
		keep := a.cfg.KeepConsensuses
		if vote || !a.inHistory(d) {
			keep = a.cfg.KeepVotes
		}
		if keep > 0 && d.Before(from.Add(-keep)) {
			if err := a.shelf.remove(name); err != nil {
				return fmt.Errorf("remove an old document: %w", err)
			}
		}
	}
	for dir, keep := range map[string]time.Duration{recordDir: a.cfg.KeepVotes, evidenceDir: 2 * a.cfg.KeepVotes, historyDir: a.cfg.KeepConsensuses} {
		if err := a.sweepDir(filepath.Join(a.cfg.Dir, dir), from, keep); err != nil {
			return fmt.Errorf("remove an old file: %w", err)
		}
	}
	a.swept = start
	return nil
}

func (a *Authority) inHistory(d time.Time) bool {
	_, err := os.Stat(a.historyPath(d))
	return err == nil
}

// sweepDir removes files whose names begin with a day that is longer ago than keep, except the current consensus, and temporary files of
// a crash.
func (a *Authority) sweepDir(dir string, start time.Time, keep time.Duration) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		d, err := time.Parse(dateLayout, name[:min(len(name), len(dateLayout))])
		old := err == nil && keep > 0 && d.Before(start.Add(-keep)) && (a.current == nil || !d.Equal(a.current.ValidAfter))
		if !old && !strings.HasSuffix(name, ".tmp") {
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
