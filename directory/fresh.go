package directory

import (
	"errors"
	"fmt"
	"time"
)

// Grace is how long after its Valid-Until a consensus is used, with a warning, if there is no newer one.
const Grace = 48 * time.Hour

// maxEarly is how long before its Valid-After a directory is taken: clocks differ, and it is published in time.
const maxEarly = time.Hour

// Errors about the time of a directory.
var (
	ErrStale = errors.New("the directory is too old")
	ErrEarly = errors.New("the directory is from the future, or the clock is wrong")
)

// Freshness says how old a directory is.
type Freshness int

// How old a directory can be.
const (
	Early   Freshness = iota // not valid yet
	Fresh                    // valid
	Stale                    // not valid any more, but usable with a warning
	Expired                  // not to be used unless the user insists
)

// Freshness judges the age of the directory at now.
func (d *Directory) Freshness(now time.Time) Freshness {
	switch {
	case now.Before(d.ValidAfter.Add(-maxEarly)):
		return Early
	case now.Before(d.ValidUntil):
		return Fresh
	case now.Before(d.ValidUntil.Add(Grace)):
		return Stale
	}
	return Expired
}

// CheckFresh returns ErrStale for an expired directory and ErrEarly for one whose time has not come. A stale one passes; the caller warns.
func (d *Directory) CheckFresh(now time.Time) error {
	switch d.Freshness(now) {
	case Early:
		return fmt.Errorf("%w: it is valid from %s on", ErrEarly, d.ValidAfter.Format(dateLayout))
	case Expired:
		return fmt.Errorf("%w: it was valid until %s", ErrStale, d.ValidUntil.Format(dateLayout))
	}
	return nil
}

// NewerThan reports whether the directory is to replace the one that is held, which may be nil: a newer one from any
// source wins, and of two for the same day the one that was there first stays. Both must have passed CheckQuorum, and d
// must not be Early, or one forged date would shut out all others.
func (d *Directory) NewerThan(held *Directory) bool {
	return held == nil || d.ValidAfter.After(held.ValidAfter)
}
