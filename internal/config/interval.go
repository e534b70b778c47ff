package config

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// maxInterval keeps sums of a schedule far from overflow.
const maxInterval = 100 * 365 * day

// The units that String writes, from the longest.
var units = []struct {
	name  string
	value time.Duration
}{
	{"day", day},
	{"hour", time.Hour},
	{"minute", time.Minute},
	{"second", time.Second},
}

// The units that Set reads, also with an s: a month is 30 days, a year 365.
var unitNames = map[string]time.Duration{
	"sec": time.Second, "second": time.Second, "min": time.Minute, "minute": time.Minute,
	"hour": time.Hour, "day": day, "week": 7 * day,
	"mon": 30 * day, "month": 30 * day, "year": 365 * day,
}

// Interval is a length of time, written as a number and a unit: "30 minutes",
// "1.5 hours".
type Interval time.Duration

// Duration converts to the type of package time.
func (v Interval) Duration() time.Duration { return time.Duration(v) }

func (v *Interval) Set(text string) error {
	number, unit := splitNumber(text)
	unit = strings.ToLower(unit)
	size, ok := unitNames[unit]
	if !ok {
		size, ok = unitNames[strings.TrimSuffix(unit, "s")]
	}
	n, good := scale(number, int64(size), int64(maxInterval))
	if !ok || !good {
		return fmt.Errorf("%s is not an interval of at most 100 years; "+
			"write a number and a unit, like 30 minutes, 1.5 hours or 2 days", quote(text))
	}
	*v = Interval(n)
	return nil
}

// String uses the longest unit that needs no fraction.
func (v Interval) String() string {
	d := time.Duration(v)
	for _, u := range units {
		if d != 0 && d%u.value == 0 {
			return plural(strconv.FormatInt(int64(d/u.value), 10), u.name)
		}
	}
	s := fmt.Sprintf("%d.%09d", d/time.Second, d%time.Second)
	return plural(strings.TrimRight(strings.TrimRight(s, "0"), "."), "second")
}

func (v Interval) Kind() string { return "interval" }

func plural(number, unit string) string {
	if number == "1" {
		return "1 " + unit
	}
	return number + " " + unit + "s"
}

// splitNumber cuts "1.5 hours" into "1.5" and "hours".
func splitNumber(text string) (number, unit string) {
	end := len(text)
	for i, c := range text {
		if c != '.' && (c < '0' || c > '9') {
			end = i
			break
		}
	}
	return text[:end], strings.TrimLeft(text[end:], " ")
}

// scale multiplies a decimal number with a unit, rounding down.
func scale(number string, unit, limit int64) (int64, bool) {
	if len(number) == 0 || len(number) > 30 || number[0] == '.' {
		return 0, false
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, false
	}
	r.Mul(r, new(big.Rat).SetInt64(unit))
	n := new(big.Int).Quo(r.Num(), r.Denom())
	if !n.IsInt64() || n.Int64() > limit {
		return 0, false
	}
	return n.Int64(), true
}

// maxRetries bounds the length of a schedule.
const maxRetries = 1000

// IntervalList is a retry schedule: the waits between one attempt and the
// next. "every 1 hour for 1 day, 7 hours for 5 days" is 24 waits of an hour
// and then as many of 7 hours as it takes to fill five days, which is 18.
type IntervalList []time.Duration

// Total is the time from the first attempt to the last.
func (v IntervalList) Total() time.Duration {
	var sum time.Duration
	for _, d := range v {
		sum += d
	}
	return sum
}

func (v *IntervalList) Set(text string) error {
	var list IntervalList
	for part := range strings.SplitSeq(text, ",") {
		words := strings.ToLower(strings.Join(strings.Fields(part), " "))
		each, length, repeated := strings.Cut(strings.TrimPrefix(words, "every "), " for ")
		var step, total Interval
		if err := step.Set(each); err != nil {
			return err
		}
		n := int64(1)
		if repeated {
			if err := total.Set(length); err != nil {
				return err
			}
		}
		if step <= 0 || repeated && total <= 0 {
			return fmt.Errorf("the times in %s must be longer than nothing", quote(part))
		}
		if repeated {
			n = (int64(total) + int64(step) - 1) / int64(step)
		}
		if n > maxRetries || int64(len(list))+n > maxRetries {
			return fmt.Errorf("%s makes more than %d attempts", quote(text), maxRetries)
		}
		for range n {
			list = append(list, step.Duration())
		}
	}
	if list.Total() > time.Duration(maxInterval) {
		return fmt.Errorf("%s is longer than 100 years", quote(text))
	}
	*v = list
	return nil
}

func (v IntervalList) String() string {
	var parts []string
	for i := 0; i < len(v); {
		n := i
		for n < len(v) && v[n] == v[i] {
			n++
		}
		s := Interval(v[i]).String()
		if n-i > 1 {
			s = fmt.Sprintf("every %s for %s", s, Interval(v[i]*time.Duration(n-i)))
		}
		parts = append(parts, s)
		i = n
	}
	return strings.Join(parts, ", ")
}

func (v IntervalList) Kind() string { return "interval list" }
