package dirclient

import (
	"io"
	"time"

	"mixminion/internal/uniform"
)

const day = 24 * time.Hour

func midnight(t time.Time) time.Time { return t.UTC().Truncate(day) }

// Due reports whether a directory has to be downloaded before packets are made: the last download, if any, was before the last midnight UTC
// (dir-spec 8).
func Due(now, last time.Time) bool { return last.Before(midnight(now)) }

// NextDownload returns when a program that runs all day downloads next, so that the time says nothing about its user:
// uniform in the day (UTC) after that of the last download, or, when that day is here or over, in what is left of
// today. Without a last download it is now.
func NextDownload(rnd io.Reader, now, last time.Time) (time.Time, error) {
	if last.IsZero() {
		return now, nil
	}
	from, until := now, midnight(now).Add(day)
	if !Due(now, last) {
		from, until = until, until.Add(day)
	}
	return between(rnd, from, until)
}

// The first wait after a failed attempt, and the longest.
const (
	minRetry = 10 * time.Minute
	maxRetry = 4 * time.Hour
)

// NextRetry returns when to try again after a number of failures in a row, the first one being 1: each wait is about
// twice the one before, up to four hours, and made longer or shorter by up to a half at random.
func NextRetry(rnd io.Reader, now time.Time, failures int) (time.Time, error) {
	wait := maxRetry
	if n := max(failures, 1) - 1; n < 10 {
		wait = min(maxRetry, minRetry<<n)
	}
	return between(rnd, now.Add(wait/2), now.Add(wait+wait/2))
}

// between returns a moment that is uniform from one up to another, in whole seconds from the first.
func between(rnd io.Reader, from, until time.Time) (time.Time, error) {
	seconds := int(until.Sub(from) / time.Second)
	if seconds <= 1 {
		return from, nil
	}
	n, err := uniform.Int(rnd, seconds)
	if err != nil {
		return time.Time{}, err
	}
	return from.Add(time.Duration(n) * time.Second), nil
}
