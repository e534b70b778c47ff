package inbox_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"mixminion/authority/inbox"
	"mixminion/directory"
	"mixminion/internal/crypt"
)

// What is approved is voted for, and nothing else; all of it survives.
func TestDecisions(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	for i, name := range []string{"Alice", "bob", "carol", "dave"} {
		if r := w.add(descriptor(t, uint64(i), name)); r.Decision != inbox.Pending || r.Known {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if got := w.Candidates(noon); len(got) != 0 {
		t.Errorf("candidates before any decision: %q", nicknames(got))
	}
	w.decide("alice", inbox.Approved)
	w.decide(fingerprint(1), inbox.Approved)
	if _, err := w.Decide(ctx, "carol", inbox.Rejected, "no answer to mail"); err != nil {
		t.Fatal(err)
	}
	w.decide("dave", inbox.Banned)
	if _, err := w.Recommend(ctx, "bob", inbox.Never); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		want := []string{"Alice approved automatic 1", "bob approved never 1", "carol rejected automatic 1", "dave banned automatic 0"}
		if got := w.list(); !slices.Equal(got, want) {
			t.Errorf("servers are %q", got)
		}
		got := w.Candidates(noon)
		if names := nicknames(got); !slices.Equal(names, []string{"Alice", "bob"}) {
			t.Fatalf("candidates are %q", names)
		}
		if !w.Recommended(noon, got[0]) || w.Recommended(noon, got[1]) {
			t.Error("wrong recommendations")
		}
	}
	check()
	w.reopen()
	check()

	if r := w.add(descriptor(t, 0, "alice", published(noon))); r.Decision != inbox.Approved {
		t.Errorf("a new descriptor of an approved server: %+v", r)
	}
	for name, want := range map[string]error{"carol": inbox.ErrRejected, "dave": inbox.ErrBanned} {
		number := map[string]uint64{"carol": 2, "dave": 3}[name]
		_, err := w.Add(ctx, descriptor(t, number, name), "test")
		var refused *inbox.Refusal
		if !errors.Is(err, want) || !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, err := w.Find("carol")
	if err != nil || s.Reason != "no answer to mail" || !s.Day.Equal(midnight(0)) {
		t.Errorf("%+v %v", s.Record, err)
	}

	w.decide("dave", inbox.Pending)
	w.decide("alice", inbox.Pending)
	if got := w.list(); !slices.Equal(got, []string{"bob approved never 1", "carol rejected automatic 1"}) {
		t.Errorf("after forgetting: %q", got)
	}
	if r := w.add(descriptor(t, 3, "dave")); r.Decision != inbox.Pending {
		t.Errorf("a forgotten server: %+v", r)
	}
	for _, c := range []struct {
		name string
		want error
	}{{"nobody", inbox.ErrUnknown}, {"no name", inbox.ErrName}, {fingerprint(99), inbox.ErrUnknown}} {
		if _, err := w.Decide(ctx, c.name, inbox.Pending, ""); !errors.Is(err, c.want) {
			t.Errorf("forget %s: %v", c.name, err)
		}
		if _, err := w.Find(c.name); !errors.Is(err, c.want) {
			t.Errorf("find %s: %v", c.name, err)
		}
	}
	if _, err := w.Recommend(ctx, "dave", inbox.Always); !errors.Is(err, inbox.ErrUndecided) {
		t.Errorf("recommend a pending server: %v", err)
	}
	if _, err := w.Decide(ctx, "dave", inbox.Approved, "two\nlines"); !errors.Is(err, inbox.ErrReason) {
		t.Errorf("reason: %v", err)
	}
}

func TestChecks(t *testing.T) {
	good := descriptor(t, 1, "alice")
	syntax := new(directory.SyntaxError)
	for _, c := range []struct {
		name string
		text []byte
		want error // nil: any SyntaxError
	}{
		{"empty", []byte(" \n"), inbox.ErrTooShort},
		{"no descriptor", []byte("hello"), nil},
		{"too long", append(slices.Clone(good), make([]byte, directory.MaxDescriptorLen)...), nil},
		{"changed", replace(good, "mix.example.com", "box.example.com"), directory.ErrDigest},
		{"other version", replace(good, "Descriptor-Version: 0.2", "Descriptor-Version: 1.0"), directory.ErrVersion},
		{"bad nickname", replace(good, "Nickname: alice", "Nickname: 1alice"), nil},
		{"signed by nobody", reseal(good), crypt.ErrSignature},
		{"from the future", descriptor(t, 1, "alice", published(noon.Add(11*time.Minute))), directory.ErrFuture},
		{"expired", descriptor(t, 1, "alice", lifetime(-10, 0)), inbox.ErrExpired},
		{"long life", descriptor(t, 1, "alice", lifetime(0, 367)), inbox.ErrLifetime},
		{"far ahead", descriptor(t, 1, "alice", lifetime(122, 130)), inbox.ErrLifetime},
		{"corrupt section", sealed(t, 1, replace(good, "Port: 48099", "Port: 0")), inbox.ErrCorrupt},
		{"one key for everything", sealed(t, 1, replaceLine(good, "Packet-Key", identityOf(good))), inbox.ErrPacketKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			_, err := w.Add(t.Context(), c.text, "test")
			var refused *inbox.Refusal
			if !errors.As(err, &refused) {
				t.Fatalf("no refusal but %v", err)
			}
			if c.want == nil && !errors.As(err, &syntax) || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v", err)
			}
			if got := w.list(); len(got) != 0 {
				t.Errorf("something is kept: %q", got)
			}
		})
	}
	w := newWorld(t)
	for _, text := range [][]byte{
		good,
		descriptor(t, 1, "alice", published(noon.Add(9*time.Minute)), lifetime(0, 366)),
		descriptor(t, 4, "dave", published(noon), lifetime(119, 130)),
		sealed(t, 2, replace(descriptor(t, 2, "bob"), "[Outgoing/MMTP]", "[Some/Thing]")),
		replace(descriptor(t, 3, "carol"), "\n", "\r\n"),
	} {
		w.add(text)
	}
}

// Conflicts of names and keys are refused, whoever is first; an approved server is not held up.
func TestConflicts(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	refused := func(text []byte) {
		t.Helper()
		if _, err := w.Add(ctx, text, "test"); !errors.Is(err, directory.ErrConflict) {
			t.Errorf("no conflict but %v", err)
		}
	}
	w.add(descriptor(t, 1, "Alice"))
	refused(descriptor(t, 2, "alice"))
	refused(descriptor(t, 1, "bob", published(noon)))

	// A rejected server reserves no name.
	w.decide("alice", inbox.Rejected)
	w.add(descriptor(t, 2, "aLICE"))
	w.decide(fingerprint(2), inbox.Approved)

	// An approved one does, even when its descriptors are long over.
	w.clock.Advance(60 * oneDay)
	now := published(noon.Add(60 * oneDay))
	refused(descriptor(t, 3, "alice", now, lifetime(59, 80)))
	refused(descriptor(t, 2, "bob", now, lifetime(59, 80)))
	w.add(descriptor(t, 2, "ALICE", now, lifetime(59, 80)))
	if _, err := w.Decide(ctx, fingerprint(1), inbox.Approved, ""); !errors.Is(err, directory.ErrConflict) {
		t.Errorf("two approved servers have one name: %v", err)
	}
	if _, err := w.Find("alice"); !errors.Is(err, inbox.ErrAmbiguous) {
		t.Errorf("%v", err)
	}

	// A stranger has taken the name of a server that was approved in advance, by its fingerprint.
	w = newWorld(t)
	w.decide(fingerprint(1), inbox.Approved)
	w.add(descriptor(t, 2, "alice"))
	w.add(descriptor(t, 1, "alice"))
	if got := w.list(); !slices.Equal(got, []string{"alice approved automatic 1"}) {
		t.Errorf("%q", got)
	}
	w.decide("alice", inbox.Banned)
	w.add(descriptor(t, 2, "alice"))
	w.decide(fingerprint(2), inbox.Approved)
}

func TestSuperseded(t *testing.T) {
	w := newWorld(t)
	at := func(minute int) func(*directory.Fields) {
		return published(noon.Add(time.Duration(minute-60) * time.Minute))
	}
	second := descriptor(t, 1, "alice", at(2), lifetime(0, 20))
	w.add(second)
	if _, err := w.Add(t.Context(), descriptor(t, 1, "alice", at(1), lifetime(3, 10)), "test"); !errors.Is(err, inbox.ErrSuperseded) {
		t.Errorf("%v", err)
	}
	if r := w.add(second); !r.Known {
		t.Error("the same descriptor is not known")
	}
	w.add(descriptor(t, 1, "alice", at(3), lifetime(20, 40)))
	w.add(descriptor(t, 1, "alice", at(4), lifetime(10, 60)))
	w.decide("alice", inbox.Approved)
	if got := w.list(); got[0] != "alice approved automatic 2" {
		t.Errorf("%q", got)
	}
	for _, c := range []struct{ days, want int }{{0, 2}, {10, 1}, {59, 1}, {60, 0}, {-20, 2}, {-25, 1}, {-31, 0}} {
		if got := w.Candidates(midnight(c.days)); len(got) != c.want {
			t.Errorf("on day %d there are %d", c.days, len(got))
		}
	}
}

// Of too many descriptors of one server those published last are kept.
func TestDescriptorsOfOneServer(t *testing.T) {
	w := newWorld(t, func(c *inbox.Config) { c.Limits = inbox.DefaultLimits; c.Limits.Descriptors = 3 })
	for i := range 5 {
		w.add(descriptor(t, 1, "alice", published(noon.Add(time.Duration(i-10)*time.Minute)), lifetime(i, i+1+i%2)))
	}
	if got := w.list(); got[0] != "alice pending automatic 3" {
		t.Errorf("%q", got)
	}
	if _, err := w.Add(t.Context(), descriptor(t, 1, "alice", published(noon.Add(-9*time.Hour)), lifetime(0, 1)), "test"); !errors.Is(err, inbox.ErrTooMany) {
		t.Errorf("%v", err)
	}
	w.reopen()
	if got := w.list(); got[0] != "alice pending automatic 3" {
		t.Errorf("%q", got)
	}
}

func TestAutoApprove(t *testing.T) {
	w := newWorld(t, func(c *inbox.Config) {
		c.AutoApprove = true
		c.Limits = inbox.DefaultLimits
		c.Limits.AutoApproved = 2
	})
	for i := range uint64(3) {
		if r := w.add(descriptor(t, i, "mix"+string('a'+rune(i)))); (r.Decision == inbox.Approved) != (i < 2) {
			t.Errorf("server %d: %s", i, r.Decision)
		}
	}
	w.cfg.AutoApprove = false
	w.reopen()
	if got := w.Candidates(noon); len(got) != 2 {
		t.Errorf("%q", nicknames(got))
	}
}

type measured map[string]bool

func (m measured) Reliable(_ time.Time, id crypt.KeyID) (reliable, known bool) {
	reliable, known = m[id.Fingerprint()]
	return reliable, known
}

func TestRecommended(t *testing.T) {
	w := newWorld(t, func(c *inbox.Config) {
		c.Reliability = measured{fingerprint(1): true, fingerprint(2): false}
	})
	for i, name := range []string{"", "good", "bad", "unknown", "pending"} {
		if name != "" {
			w.add(descriptor(t, uint64(i), name))
		}
	}
	for _, name := range []string{"good", "bad", "unknown"} {
		w.decide(name, inbox.Approved)
	}
	for _, c := range []struct {
		when inbox.Recommendation
		want []bool
	}{
		{inbox.Automatic, []bool{true, false, true, false}},
		{inbox.Always, []bool{true, true, true, false}},
		{inbox.Never, []bool{false, false, false, false}},
	} {
		for i, name := range []string{"good", "bad", "unknown", "pending"} {
			if name != "pending" {
				if _, err := w.Recommend(t.Context(), name, c.when); err != nil {
					t.Fatal(err)
				}
			}
			s, err := w.Find(name)
			if err != nil {
				t.Fatal(err)
			}
			if got := w.Recommended(noon, s.Descriptors[0]); got != c.want[i] {
				t.Errorf("%s %s: %v", c.when, name, got)
			}
		}
	}
}
