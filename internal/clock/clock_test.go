package clock_test

import (
	"testing"
	"time"

	"mixminion/internal/clock"
)

func TestManual(t *testing.T) {
	start := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	m := clock.NewManual(start)
	soon, late, now := m.After(time.Minute), m.After(time.Hour), m.After(0)
	fired := func(ch <-chan time.Time) bool {
		select {
		case <-ch:
			return true
		default:
			return false
		}
	}
	if !fired(now) || fired(soon) {
		t.Error("only what is due now may fire")
	}
	m.Advance(time.Minute)
	if !fired(soon) || fired(late) {
		t.Error("after a minute only the first timer fires")
	}
	m.Advance(59 * time.Minute)
	if !fired(late) || !m.Now().Equal(start.Add(time.Hour)) {
		t.Error("after an hour the second timer fires")
	}
}

func TestReal(t *testing.T) {
	var c clock.Clock = clock.Real{}
	<-c.After(0)
	if c.Now().IsZero() {
		t.Error("no time")
	}
}
