package directory

import (
	"crypto/rsa"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var day0 = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

func day(n int) time.Time { return day0.AddDate(0, 0, n) }

// server gives a descriptor that is published so many hours after day0 and valid from one day to another.
func server(name string, key int64, published, after, until int) *Descriptor {
	return &Descriptor{
		Fields: Fields{
			Nickname:  name,
			Published: day0.Add(time.Duration(published) * time.Hour), ValidAfter: day(after), ValidUntil: day(until),
		},
		Identity: &rsa.PublicKey{N: big.NewInt(key), E: 65537},
	}
}

func TestLiveness(t *testing.T) {
	d := server("a", 1, 0, 0, 2)
	second := time.Second
	if !d.LiveAt(day(0)) || !d.LiveAt(day(2).Add(-second)) || d.LiveAt(day(0).Add(-second)) || d.LiveAt(day(2)) {
		t.Error("LiveAt has the wrong limits")
	}
	if !d.ValidOver(day(0), day(2)) || d.ValidOver(day(0).Add(-second), day(1)) || d.ValidOver(day(1), day(2).Add(second)) || d.ValidOver(day(2), day(1)) {
		t.Error("ValidOver has the wrong limits")
	}
	if d.Expired(day(2).Add(-second)) || !d.Expired(day(2)) {
		t.Error("Expired has the wrong limit")
	}
	if err := d.CheckPublished(d.Published.Add(-10 * time.Minute)); err != nil {
		t.Error(err)
	}
	if err := d.CheckPublished(d.Published.Add(-10*time.Minute - second)); !errors.Is(err, ErrFuture) {
		t.Error(err)
	}
}

func TestSuperseded(t *testing.T) {
	d := server("a", 1, 10, 0, 10)
	for name, c := range map[string]struct {
		now    int
		others []*Descriptor
		want   bool
	}{
		"alone":             {0, nil, false},
		"itself":            {0, []*Descriptor{d}, false},
		"covered":           {0, []*Descriptor{server("A", 1, 11, 0, 10)}, true},
		"by another server": {0, []*Descriptor{server("a", 2, 11, 0, 10)}, false},
		"older":             {0, []*Descriptor{server("a", 1, 9, 0, 10)}, false},
		"at the same time":  {0, []*Descriptor{server("a", 1, 10, 0, 10)}, false},
		"in two halves":     {0, []*Descriptor{server("a", 1, 12, 5, 11), server("a", 1, 11, 0, 5)}, true},
		"with a gap":        {0, []*Descriptor{server("a", 1, 12, 6, 11), server("a", 1, 11, 0, 5)}, false},
		"nested":            {0, []*Descriptor{server("a", 1, 11, 0, 9), server("a", 1, 12, 1, 3), server("a", 1, 13, 8, 10)}, true},
		"end not covered":   {0, []*Descriptor{server("a", 1, 11, 0, 9)}, false},
		"start not covered": {0, []*Descriptor{server("a", 1, 11, 1, 10)}, false},
		"start is past":     {1, []*Descriptor{server("a", 1, 11, 1, 10)}, true},
		"expired":           {10, nil, true},
	} {
		if got := Superseded(d, c.others, day(c.now)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Superseded agrees with the definition in dir-spec 3.2, taken day by day.
func TestSupersededDayByDay(t *testing.T) {
	random := rapid.Custom(func(t *rapid.T) *Descriptor {
		after := rapid.IntRange(0, 10).Draw(t, "after")
		return server("a", rapid.Int64Range(1, 2).Draw(t, "key"), rapid.IntRange(0, 5).Draw(t, "published"),
			after, rapid.IntRange(after+1, 12).Draw(t, "until"))
	})
	rapid.Check(t, func(t *rapid.T) {
		d, others := random.Draw(t, "d"), rapid.SliceOfN(random, 0, 6).Draw(t, "others")
		now := rapid.IntRange(0, 12).Draw(t, "now")
		want := true
		for n := now; n < 12; n++ {
			covered := !d.LiveAt(day(n))
			for _, o := range others {
				covered = covered || o.LiveAt(day(n)) && o.SameServer(d) && o.Published.After(d.Published)
			}
			want = want && covered
		}
		if got := Superseded(d, others, day(now)); got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestNewest(t *testing.T) {
	ds := []*Descriptor{
		server("bravo", 2, 0, 0, 10),
		server("Alpha", 1, 0, 0, 10),
		server("alpha", 1, 5, 0, 10), // newer
		server("alpha", 1, 9, 5, 10), // newer still, but not valid yet
		server("ALPHA", 7, 9, 0, 10), // another key under the same name
		server("clone", 2, 9, 0, 10), // another name for the same key
		server("delta", 4, 0, 0, 3),  // expires too early
		server("delta", 5, 0, 0, 10), // does not inherit the name either
	}
	var got []string
	for _, d := range Newest(ds, day(1), day(4)) {
		got = append(got, d.Nickname+"@"+d.Published.Format("15"))
	}
	if s := strings.Join(got, " "); s != "alpha@05 bravo@00" {
		t.Error(s)
	}
}

func TestConflicts(t *testing.T) {
	known := []*Descriptor{server("alpha", 1, 0, 0, 1), server("bravo", 2, 0, 0, 1)}
	for _, c := range []struct {
		d    *Descriptor
		want error
	}{
		{server("ALPHA", 1, 5, 1, 2), nil},
		{server("charlie", 3, 0, 0, 1), nil},
		{server("Bravo", 3, 0, 0, 1), ErrConflict},
		{server("charlie", 2, 0, 0, 1), ErrConflict},
	} {
		if err := CheckConflict(c.d, known); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.d.Nickname, err)
		}
	}
}

func TestRelaying(t *testing.T) {
	with := func(name string, key int64, in, out string) *Descriptor {
		d := server(name, key, 0, 0, 1)
		if in != "" {
			d.Incoming = &Incoming{Protocols: strings.Split(in, ",")}
		}
		if out != "" {
			d.Outgoing = &Outgoing{Protocols: strings.Split(out, ",")}
		}
		return d
	}
	both := with("both", 1, "0.3", "0.3")
	old := with("old", 2, "0.1", "0.1")
	bridge := with("bridge", 3, "0.1,0.3", "0.1,0.3")
	sink := with("sink", 4, "0.3", "")
	source := with("source", 5, "", "0.3")
	for _, c := range []struct {
		from, to *Descriptor
		want     bool
	}{
		{both, both, true}, {both, old, false}, {old, both, false}, {both, bridge, true}, {bridge, old, true}, {old, bridge, true},
		{both, sink, true}, {sink, both, false}, {sink, sink, true}, {source, both, true}, {both, source, false},
	} {
		if got := c.from.CanRelayTo(c.to); got != c.want {
			t.Errorf("%s to %s: %v", c.from.Nickname, c.to.Nickname, got)
		}
	}
	if !both.AcceptsConnections() || old.AcceptsConnections() || source.AcceptsConnections() || !sink.AcceptsConnections() {
		t.Error("AcceptsConnections is wrong")
	}
	if caps := source.Capabilities(); caps != nil {
		t.Errorf("a server that cannot be reached has %v", caps)
	}
	if node := source.Node(); node.Host != "" || node.Port != 0 {
		t.Errorf("a server that cannot be reached is at %v", node.Hop)
	}
}
