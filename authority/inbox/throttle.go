package inbox

import "time"

// quietFor is how long a throttle is silent after it has spoken.
const quietFor = 10 * time.Minute

// A throttle keeps strangers from filling the log. Its zero value is ready.
type throttle struct{ last time.Time }

func (t *throttle) allow(now time.Time) bool {
	if !t.last.IsZero() && now.Sub(t.last) < quietFor && !now.Before(t.last) {
		return false
	}
	t.last = now
	return true
}
