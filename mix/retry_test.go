package mix_test

import (
	"testing"
	"time"

	"mixminion/mix"

	"pgregory.net/rapid"
)

func TestScheduleNext(t *testing.T) {
	s := mix.Schedule{time.Minute, time.Hour, time.Hour, 7 * time.Hour}
	for _, c := range []struct {
		last, want time.Duration // since the first attempt
		over       bool
	}{
		{last: -time.Hour, want: time.Minute}, // the clock was set back
		{last: 0, want: time.Minute},
		{last: time.Minute - 1, want: time.Minute},
		{last: time.Minute, want: 61 * time.Minute}, // a point counts only while it lies ahead of the last attempt
		{last: 59 * time.Minute, want: 61 * time.Minute},
		{last: 61 * time.Minute, want: 121 * time.Minute},
		{last: 2 * time.Hour, want: 121 * time.Minute},
		{last: 3 * time.Hour, want: 541 * time.Minute}, // one point was missed
		{last: 541*time.Minute - 1, want: 541 * time.Minute},
		{last: 541 * time.Minute, over: true},
		{last: 1000 * time.Hour, over: true},
	} {
		got, ok := s.Next(start, start.Add(c.last))
		if ok == c.over || ok && !got.Equal(start.Add(c.want)) {
			t.Errorf("last attempt after %v: %v, %v", c.last, got.Sub(start), ok)
		}
	}
	if got := s.Total(); got != 541*time.Minute {
		t.Errorf("total %v", got)
	}
}

func TestEmptySchedule(t *testing.T) {
	if _, ok := (mix.Schedule{}).Next(start, start); ok {
		t.Error("an empty schedule has a next attempt")
	}
	if got := (mix.Schedule{}).Total(); got != 0 {
		t.Errorf("total %v", got)
	}
}

// Who makes each attempt when it is due makes as many as the schedule has points, and the last one at its end.
func TestScheduleWalk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s mix.Schedule
		for _, m := range rapid.SliceOfN(rapid.IntRange(1, 1000), 0, 20).Draw(t, "pauses") {
			s = append(s, time.Duration(m)*time.Minute)
		}
		last, attempts := start, 0
		for {
			at, ok := s.Next(start, last)
			if !ok {
				break
			}
			if !at.After(last) || at.Sub(last) != s[attempts] {
				t.Fatalf("attempt %d follows %v after the one before", attempts, at.Sub(last))
			}
			last = at
			attempts++
		}
		if attempts != len(s) || last.Sub(start) != s.Total() {
			t.Fatalf("%d attempts, the last one after %v", attempts, last.Sub(start))
		}
	})
}
