package mix

import "time"

// Schedule is a retry schedule: the pauses between one attempt and the next.
type Schedule []time.Duration

// Total is how long a packet is kept: the sum of all pauses.
func (s Schedule) Total() time.Duration {
	var sum time.Duration
	for _, d := range s {
		sum += d
	}
	return sum
}

// Next returns when the next attempt is due: the first point of the schedule, counted from the first attempt, that lies after the last
// one. It returns false when the schedule is over. The result may be in the past, after a stop say; then it is due now.
func (s Schedule) Next(first, last time.Time) (time.Time, bool) {
	at := first
	for _, d := range s {
		at = at.Add(d)
		if at.After(last) {
			return at, true
		}
	}
	return time.Time{}, false
}
