package authority

import "time"

// The day of an authority, as times before the midnight (UTC) at which the consensus becomes valid. What dir-spec 7 leaves open is when
// votes stop being taken: directly until 23:15, and from then on only as copies that other members publish, until 23:20. So a vote that
// anybody has got in time is seen by everybody, and a vote that comes late, or is given to some only, cannot divide the group.
const (
	beforeVote    = 120 * time.Minute // 22:00: build and publish the vote
	beforeCollect = 60 * time.Minute  // 23:00: get the others' votes
	beforeCopies  = 45 * time.Minute  // 23:15: get the copies that the others publish, and take nothing else
	beforeFreeze  = 40 * time.Minute  // 23:20: compute and sign the consensus
	beforeSigs    = 30 * time.Minute  // 23:30: collect signatures

	collectEvery = 2 * time.Minute
	copiesEvery  = time.Minute
	sigsEvery    = 5 * time.Minute
	failedEvery  = time.Minute // after an error of our own, such as a full disk

	// After midnight a missing majority is looked for often for an hour, then now and then until the next one is due.
	lateSoon  = 5 * time.Minute
	lateOften = time.Hour
	lateEvery = 30 * time.Minute

	// finishTimeout bounds what is done about yesterday in one step, days that were missed included.
	finishTimeout = 10 * time.Minute

	// maxAhead is how long before it is valid a descriptor may be listed (dir-spec 7.3).
	maxAhead = 30 * day
	// maxSkew is how much a clock may be wrong before somebody is told.
	maxSkew = 2 * time.Minute
)

// A Phase is a part of an authority's day.
type Phase string

// The phases of dir-spec 7.
const (
	PhaseResearch Phase = "research" // 00:00 to 22:00
	PhaseVoting   Phase = "voting"   // 22:00 to 23:00: votes are published
	PhaseCollect  Phase = "collect"  // 23:00 to 23:15: votes are fetched
	PhaseCompare  Phase = "compare"  // 23:15 to 23:20: copies of votes are compared
	PhaseTabulate Phase = "tabulate" // 23:20 to 23:30: the consensus is computed and signed
	PhaseSigning  Phase = "signing"  // 23:30 to 00:00: signatures are collected
)

// PhaseAt returns the phase that now belongs to.
func PhaseAt(now time.Time) Phase {
	left := today(now).Add(day).Sub(now)
	switch {
	case left > beforeVote:
		return PhaseResearch
	case left > beforeCollect:
		return PhaseVoting
	case left > beforeCopies:
		return PhaseCollect
	case left > beforeFreeze:
		return PhaseCompare
	case left > beforeSigs:
		return PhaseTabulate
	}
	return PhaseSigning
}

func earliest(times ...time.Time) time.Time {
	first := times[0]
	for _, t := range times[1:] {
		if t.Before(first) {
			first = t
		}
	}
	return first
}
