package ceiling

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newCeiling(t *testing.T, limits Limits) (*Ceiling, *time.Time) {
	t.Helper()
	now := noon
	c, err := New(limits, nil, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return c, &now
}

func takes(c *Ceiling, kind Kind, addr string, tries int) (n int) {
	for range tries {
		if c.Take(kind, addr) {
			n++
		}
	}
	return n
}

func TestCeiling(t *testing.T) {
	c, now := newCeiling(t, Limits{PerDay: [kinds]int{Readable: 3, Opaque: 5}, Exempt: []string{"List+x@Example.com", "@open.example.org"}})
	for _, tt := range []struct {
		addr string
		kind Kind
		want int
	}{
		{"bob@example.com", Readable, 3},
		{"BOB@Example.COM", Readable, 0},
		{"bob+tag@example.com", Readable, 0},
		{"bob@example.com", Opaque, 5},
		{"bob@sub.example.com", Readable, 3},
		{"list@example.com", Readable, 20},
		{"list+y@example.com", Opaque, 20},
		{"anybody@OPEN.example.org", Readable, 20},
		{"anybody@sub.open.example.org", Readable, 3},
		{"+tag@example.com", Readable, 3},
	} {
		if n := takes(c, tt.kind, tt.addr, 20); n != tt.want {
			t.Errorf("%s gets %d mails of kind %d, want %d", tt.addr, n, tt.kind, tt.want)
		}
	}
	c.GiveBack(Readable, "bob@example.com")
	if n := takes(c, Readable, "bob@example.com", 5); n != 1 {
		t.Errorf("%d mails after one was given back", n)
	}
	*now = now.Add(11*time.Hour + 59*time.Minute)
	if n := takes(c, Readable, "bob@example.com", 5); n != 0 {
		t.Errorf("%d mails before midnight", n)
	}
	*now = now.Add(time.Minute)
	if n := takes(c, Readable, "bob@example.com", 5); n != 3 {
		t.Errorf("%d mails after midnight", n)
	}
	*now = now.Add(-day)
	if n := takes(c, Readable, "bob@example.com", 5); n != 0 {
		t.Errorf("%d mails when the clock goes back", n)
	}
}

// A mail that comes back after midnight takes nothing from the new day.
func TestGiveBackTheDayAfter(t *testing.T) {
	c, now := newCeiling(t, Limits{PerDay: [kinds]int{Readable: 2}})
	takes(c, Readable, "a@x.org", 2)
	*now = now.Add(day)
	c.GiveBack(Readable, "a@x.org")
	if n := takes(c, Readable, "a@x.org", 5); n != 2 {
		t.Errorf("%d mails", n)
	}
}

func TestNoCeiling(t *testing.T) {
	c, _ := newCeiling(t, Limits{})
	if n := takes(c, Readable, "a@x.org", 1000); n != 1000 {
		t.Errorf("%d mails", n)
	}
}

func TestLimits(t *testing.T) {
	for says, l := range map[string]Limits{
		"negative":               {PerDay: [kinds]int{-1}},
		"neither a mail address": {Exempt: []string{"example.org"}},
		`"@"`:                    {Exempt: []string{"@"}},
		`"a@b@c"`:                {Exempt: []string{"a@b@c"}},
	} {
		if _, err := New(l, nil, nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want %q", err, says)
		}
	}
}

// Neither memory nor a new key lets a name be found: the same mailbox has another entry each day, and each process.
func TestKeyOfTheDay(t *testing.T) {
	c, now := newCeiling(t, Limits{PerDay: [kinds]int{Readable: 2}})
	seen := map[entry]bool{}
	for range 3 {
		c.Take(Readable, "a@x.org")
		for e := range c.counter.counts {
			if seen[e] {
				t.Error("an entry comes back")
			}
			seen[e] = true
		}
		if len(c.counter.counts) != 1 {
			t.Errorf("%d entries", len(c.counter.counts))
		}
		*now = now.Add(day)
	}
}

// A flood of recipients does not make the memory grow without bound, and lets nobody go over the ceiling who is near to it.
func TestManyRecipients(t *testing.T) {
	const most = 100
	c, err := New(Limits{PerDay: [kinds]int{Readable: 10}}, &Counter{most: most}, func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	takes(c, Readable, "victim@example.com", 10)
	for i := range 10 * most {
		takes(c, Readable, fmt.Sprintf("user%d@example.com", i), 1+i%3)
		if n := len(c.counter.counts); n > most {
			t.Fatalf("%d entries", n)
		}
	}
	if c.Take(Readable, "victim@example.com") {
		t.Error("the ceiling is forgotten")
	}
}

func BenchmarkTake(b *testing.B) {
	c, err := New(Limits{PerDay: [kinds]int{Readable: 10, Opaque: 500}}, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		c.Take(Readable, "somebody@mail.example.com")
	}
}
