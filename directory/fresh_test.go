package directory

import (
	"errors"
	"testing"
	"time"
)

func TestFreshness(t *testing.T) {
	d := &Directory{Info: Info{ValidAfter: day(1), ValidUntil: day(2)}}
	for _, c := range []struct {
		now  time.Time
		want Freshness
		err  error
	}{
		{day(0), Early, ErrEarly},
		{day(1).Add(-maxEarly - 1), Early, ErrEarly},
		{day(1).Add(-maxEarly), Fresh, nil},
		{day(1), Fresh, nil},
		{day(2).Add(-1), Fresh, nil},
		{day(2), Stale, nil},
		{day(4).Add(-1), Stale, nil},
		{day(4), Expired, ErrStale},
		{day(400), Expired, ErrStale},
	} {
		if got, err := d.Freshness(c.now), d.CheckFresh(c.now); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%v: %v, %v", c.now, got, err)
		}
	}
	older, newer := &Directory{Info: Info{ValidAfter: day(0)}}, &Directory{Info: Info{ValidAfter: day(2)}}
	if !d.NewerThan(nil) || !d.NewerThan(older) || d.NewerThan(d) || d.NewerThan(newer) {
		t.Error("NewerThan")
	}
}
