package days_test

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"
	"time"
)

// A ledger writes down who held which directory, and finds what must never happen.
type ledger struct {
	mu   sync.Mutex
	days map[time.Time][sha256.Size]byte // the one directory of each day
	held map[string]time.Time
}

func newLedger() *ledger {
	return &ledger{days: map[time.Time][sha256.Size]byte{}, held: map[string]time.Time{}}
}

// holds notes that somebody uses the directory of a day with so many signatures.
func (l *ledger) holds(who string, of time.Time, hash [sha256.Size]byte, signed int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if signed < quorum {
		return fmt.Errorf("%s believes a directory with %d signatures", who, signed)
	}
	if first, ok := l.days[of]; ok && first != hash {
		return fmt.Errorf("%s has another directory of %s than others", who, of.Format(time.DateOnly))
	}
	if before := l.held[who]; of.Before(before) {
		return fmt.Errorf("%s went back from %s to %s", who, before.Format(time.DateOnly), of.Format(time.DateOnly))
	}
	l.days[of], l.held[who] = hash, of
	return nil
}

// signed notes that there is a directory of a day with signatures of a majority.
func (l *ledger) signed(of time.Time, hash [sha256.Size]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if first, ok := l.days[of]; ok && first != hash {
		return fmt.Errorf("majorities have signed two directories of %s", of.Format(time.DateOnly))
	}
	l.days[of] = hash
	return nil
}

// of returns the day of what somebody holds.
func (l *ledger) of(who string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[who]
}

// The ledger finds what it is there for.
func TestLedger(t *testing.T) {
	l := newLedger()
	first, second := start.Truncate(day), start.Truncate(day).Add(day)
	a, b := [sha256.Size]byte{1}, [sha256.Size]byte{2}
	for _, step := range []struct {
		who    string
		of     time.Time
		hash   [sha256.Size]byte
		signed int
		good   bool
	}{
		{"x", first, a, 3, true}, {"y", first, a, 5, true}, {"y", first, b, 5, false}, {"x", second, b, 2, false}, {"x", second, b, 3, true},
		{"x", first, a, 3, false}, {"z", first, a, 3, true}, {"z", second, a, 3, false},
	} {
		if err := l.holds(step.who, step.of, step.hash, step.signed); (err == nil) != step.good {
			t.Errorf("%+v: %v", step, err)
		}
	}
}
