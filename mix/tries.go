package mix

import (
	"hash/maphash"
	"time"

	"mixminion/internal/store"
)

// tries is what the mix remembers, durably, of the attempts to deliver a message. The store keeps it in its count of attempts:
//
//	bits 0 to 5   attempts so far, 63 for more
//	bit 6         late: the retry schedule goes on from the last attempt, since the message was held before
//	bit 7         held: the last time all its open addresses had had their share of the day
//	bits 8 to 15  the addresses that are done with
type tries struct {
	attempts   uint8
	late, held bool
	served     uint8
}

const (
	maxTries  = 1<<6 - 1
	triesLate = 1 << 6
	triesHeld = 1 << 7
)

func triesOf(it store.Item) tries {
	return tries{
		attempts: uint8(it.Attempts & maxTries), late: it.Attempts&triesLate != 0, held: it.Attempts&triesHeld != 0,
		served: uint8(it.Attempts >> 8),
	}
}

func (t tries) pack() uint16 {
	v := uint16(min(t.attempts, maxTries)) | uint16(t.served)<<8
	if t.late {
		v |= triesLate
	}
	if t.held {
		v |= triesHeld
	}
	return v
}

// maxHeld is how much longer than its retry schedule a message is kept that had to wait for the ceiling of a recipient.
const maxHeld = 7 * day

// heldSpread is within what time after midnight the messages that were held are tried. All at once they would tell whoever watches the
// mail server how many there are.
const heldSpread = 6 * time.Hour

var heldSeed = maphash.MakeSeed()

// heldUntil returns when a message that was held is tried: after the midnight that follows its last attempt, at a time of its own.
func heldUntil(it store.Item) time.Time {
	midnight := time.Unix(int64(it.LastAttempt), 0).UTC().Truncate(day).Add(day)
	return midnight.Add(time.Duration(maphash.Comparable(heldSeed, it.ID) % uint64(heldSpread)))
}

// dueAt returns when an attempt at the message is due; false when its schedule is over. Each attempt uses up a point of the
// schedule at least, since the time of the last one is stored rounded down and says too little.
func (x *ExitConfig) dueAt(it store.Item) (time.Time, bool) {
	at, last := time.Unix(int64(it.Queued), 0), time.Unix(int64(it.LastAttempt), 0)
	t := triesOf(it)
	switch {
	case t.held:
		return heldUntil(it), true
	case t.attempts == 0:
		return at, true
	case t.late:
		if int(t.attempts) > len(x.Retry) {
			return time.Time{}, false
		}
		return last.Add(x.Retry[t.attempts-1]), true
	}
	for i, d := range x.Retry {
		at = at.Add(d)
		if i >= int(t.attempts)-1 && at.After(last) {
			return at, true
		}
	}
	return time.Time{}, false
}

// expired reports whether a message has waited for its exit longer than the schedule allows; margin is for times that are rounded.
func (x *ExitConfig) expired(it store.Item, now time.Time, margin time.Duration) bool {
	end := time.Unix(int64(it.Queued), 0).Add(x.Retry.Total() + margin)
	if t := triesOf(it); t.held || t.late {
		end = end.Add(maxHeld)
	}
	return now.After(end)
}
