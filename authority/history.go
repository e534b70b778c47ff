package authority

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"mixminion/directory"
	"mixminion/internal/store/durable"
)

// maxBackfill bounds how many missed days are fetched at a time.
const maxBackfill = 40

func (a *Authority) historyPath(d time.Time) string {
	return filepath.Join(a.cfg.Dir, historyDir, consensusName(d))
}

// historyDays returns the days of which a history directory has the consensus, in order.
func historyDays(dir string) ([]time.Time, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	var days []time.Time
	for _, e := range entries {
		if d, vote, ok := documentDay(e.Name()); ok && !vote && e.Name() == consensusName(d) {
			days = append(days, d)
		}
	}
	slices.SortFunc(days, time.Time.Compare)
	return days, nil
}

// readHistory reads the consensus of a day and its detached signatures.
func readHistory(cache *directory.Cache, dir string, d time.Time) (*directory.Directory, []directory.Detached, error) {
	path := filepath.Join(dir, consensusName(d))
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	text, err := decompress(data, maxDocument)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	consensus, err := cache.ParseDirectory(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	data, err = os.ReadFile(path + sigSuffix)
	if err != nil {
		return nil, nil, err
	}
	sigs, err := directory.ParseDetached(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path+sigSuffix, err)
	}
	return consensus, sigs, nil
}

// loadCurrent finds the last consensus in the history and publishes it as the current one.
func (a *Authority) loadCurrent() error {
	dir := filepath.Join(a.cfg.Dir, historyDir)
	days, err := historyDays(dir)
	if err != nil {
		return err
	}
	for _, day := range slices.Backward(days) {
		d, sigs, err := readHistory(&a.cache, dir, day)
		if err == nil {
			return a.pinCurrent(d, sigs)
		}
		a.cfg.Logger.Error("a consensus on the disk is damaged; the one before is used until another authority gives a newer one", "error", err)
		if err := os.Rename(a.historyPath(day), a.historyPath(day)+".damaged"); err != nil {
			return fmt.Errorf("put a damaged consensus aside: %w", err)
		}
	}
	return nil
}

func (a *Authority) pinCurrent(d *directory.Directory, sigs []directory.Detached) error {
	data, err := compress(d.Text())
	if err != nil {
		return err
	}
	sigText, err := directory.FormatDetached(sigs)
	if err != nil {
		return err
	}
	if err := a.shelf.pin(map[string][]byte{currentName: data, currentName + sigSuffix: sigText}); err != nil {
		return err
	}
	a.current = d
	// A group that was changed since may no longer be one of which a majority has signed; then the page says so.
	if a.quorum, err = directory.CheckQuorum(d, sigs, a.members); err != nil && !errors.Is(err, directory.ErrQuorum) {
		return err
	}
	return nil
}

// keep writes a consensus that a majority has signed to the history. Once the file itself is there it counts.
func (a *Authority) keep(d *directory.Directory, sigs []directory.Detached) error {
	data, err := compress(d.Text())
	if err != nil {
		return err
	}
	sigText, err := directory.FormatDetached(sigs)
	if err != nil {
		return err
	}
	path := a.historyPath(d.ValidAfter)
	if err := durable.WriteFile(path+sigSuffix, sigText, 0o644); err != nil {
		return err
	}
	if err := durable.WriteFile(path, data, 0o644); err != nil {
		return err
	}
	// Who took no part in a day shows what the others agreed on.
	name := consensusName(d.ValidAfter)
	if a.shelf.has(name) {
		return nil
	}
	if err := a.shelf.put(name+sigSuffix, sigText); err != nil {
		return err
	}
	return a.shelf.put(name, data)
}

// adopt makes a consensus that a majority has signed the current one.
func (a *Authority) adopt(d *directory.Directory, sigs []directory.Detached) error {
	if err := a.keep(d, sigs); err != nil {
		return err
	}
	if err := a.pinCurrent(d, sigs); err != nil {
		return err
	}
	a.cfg.Logger.Info("a new consensus is current", "day", d.ValidAfter.Format(dateLayout), "signatures", len(sigs), "servers", len(d.Servers),
		"sha256", publicHash(d))
	return nil
}

// A pair is a consensus and its detached signatures, as somebody publishes them.
type pair struct{ text, sigs []byte }

// fetchPairs gets a document and its signatures from other members, and returns what it got by fingerprint.
func (a *Authority) fetchPairs(ctx context.Context, from []directory.Authority, name string) map[string]pair {
	out := map[string]pair{}
	var wants []want
	for _, m := range from {
		wants = append(wants,
			want{from: m, name: name, limit: maxDocument, got: func(f Fetched, err error) {
				if err == nil {
					out[m.Fingerprint] = pair{text: f.Body}
				}
			}},
			want{from: m, name: name + sigSuffix, limit: maxDocument, got: func(f Fetched, err error) {
				if p, ok := out[m.Fingerprint]; ok && err == nil {
					out[m.Fingerprint] = pair{p.text, f.Body}
				}
			}})
	}
	a.round(ctx, wants)
	return out
}

// verify reads a consensus of another member and checks that a majority of the group has signed it.
func (a *Authority) verify(p pair) (*directory.Directory, []directory.Detached, error) {
	d, err := a.cache.ParseDirectory(p.text)
	if err != nil {
		return nil, nil, err
	}
	sigs, err := directory.ParseDetached(p.sigs)
	if err != nil {
		return nil, nil, err
	}
	sigs = d.MergeDetached(sigs)
	_, err = directory.CheckQuorum(d, sigs, a.members)
	return d, sigs, err
}

// catchUp takes the newest consensus that any other member has as its current one and a majority has signed. It reports whether that is
// the one of day d.
func (a *Authority) catchUp(ctx context.Context, d time.Time) (done bool, err error) {
	var best *directory.Directory
	var bestSigs []directory.Detached
	for _, p := range a.sortedPairs(a.fetchPairs(ctx, a.others, currentName)) {
		got, sigs, err := a.verify(p)
		if err != nil || got.ValidAfter.After(d) || !got.NewerThan(a.current) {
			continue
		}
		if best == nil || got.ValidAfter.After(best.ValidAfter) {
			best, bestSigs = got, sigs
		}
	}
	if best == nil {
		return false, nil
	}
	if err := a.backfill(ctx, best.ValidAfter); err != nil {
		return false, err
	}
	if err := a.adopt(best, bestSigs); err != nil {
		return false, err
	}
	return best.ValidAfter.Equal(d), nil
}

// backfill gets the consensuses of days that we missed, up to the day before until. What nobody has any more stays missing.
func (a *Authority) backfill(ctx context.Context, until time.Time) error {
	if a.current == nil {
		return nil
	}
	first := a.current.ValidAfter.Add(day)
	if oldest := until.Add(-maxBackfill * day); first.Before(oldest) {
		first = oldest
	}
	for d := first; d.Before(until); d = d.Add(day) {
		if _, err := os.Stat(a.historyPath(d)); err == nil || !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		for _, p := range a.sortedPairs(a.fetchPairs(ctx, a.others, consensusName(d))) {
			got, sigs, err := a.verify(p)
			if err != nil || !got.ValidAfter.Equal(d) {
				continue
			}
			if err := a.keep(got, sigs); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

// sortedPairs gives pairs in the order of the members.
func (a *Authority) sortedPairs(pairs map[string]pair) []pair {
	var out []pair
	for _, m := range a.members {
		if p, ok := pairs[m.Fingerprint]; ok {
			out = append(out, p)
		}
	}
	return out
}
