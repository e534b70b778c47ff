package dirclient

import (
	"errors"
	"fmt"
	"time"

	"mixminion/directory"
)

// Errors about what a source served. What else is wrong with a directory comes from package directory: among others ErrQuorum, ErrVote,
// ErrSingleSigned and ErrEarly.
var (
	// ErrOlder says that a directory is older than the one that is held.
	ErrOlder = errors.New("the directory is older than the one held already")
	// ErrFork says that a majority of the authorities has signed two different directories for one day, which must never happen.
	ErrFork = errors.New("the authorities have signed another directory for the same day")
)

// A Consensus is a directory that enough of the trusted authorities have signed.
type Consensus struct {
	*directory.Directory
	Quorum directory.Quorum
	// Day is the day (UTC) of the last download that led to this directory, as midnight; zero if it is not known.
	Day time.Time

	gz, sig []byte // as they were downloaded
}

// Judge reads a directory in the form in which it is published, compressed, with the detached signatures that lie
// beside it, and checks that it is signed by more than half of the trusted authorities and does not come from the
// future.
func Judge(gz, sig []byte, trusted []directory.Authority, now time.Time) (*Consensus, error) {
	text, err := Gunzip(gz, directory.MaxDirectoryLen)
	if err != nil {
		return nil, err
	}
	d, err := directory.ParseDirectory(text)
	if err != nil {
		return nil, fmt.Errorf("not a directory: %w", err)
	}
	detached, err := directory.ParseDetached(sig)
	if err != nil {
		return nil, fmt.Errorf("the detached signatures cannot be read: %w", err)
	}
	quorum, err := directory.CheckQuorum(d, detached, trusted)
	if err != nil {
		return nil, err
	}
	if d.Freshness(now) == directory.Early {
		return nil, d.CheckFresh(now)
	}
	return &Consensus{Directory: d, Quorum: quorum, gz: gz, sig: sig}, nil
}

// prefer tells whether a directory that was served replaces the best one so far, which may be nil. An error says that it is of no use.
func prefer(served, best *Consensus) (bool, error) {
	switch {
	case best == nil || served.NewerThan(best.Directory):
		return true, nil
	case best.NewerThan(served.Directory):
		const date = "2006-01-02"
		return false, fmt.Errorf("%w: it is of %s, held is that of %s", ErrOlder, served.ValidAfter.Format(date), best.ValidAfter.Format(date))
	case served.BodyHash() != best.BodyHash():
		return false, fmt.Errorf("%w, %s", ErrFork, served.ValidAfter.Format("2006-01-02"))
	}
	return false, nil
}
