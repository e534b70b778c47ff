package vote

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mixminion/directory"
	"mixminion/internal/crypt"
)

func names(ds []*directory.Descriptor) string {
	var out []string
	for _, d := range ds {
		out = append(out, d.Nickname)
	}
	return strings.Join(out, " ")
}

func reasons(r *Result) string {
	var out []string
	for _, e := range r.Excluded {
		out = append(out, e.Nickname+": "+e.Reason)
	}
	return strings.Join(out, "; ")
}

// The majority is one of the group, not of those who voted.
func TestMajority(t *testing.T) {
	w := newWorld(t, 5)
	a, b, c := w.plain(0, "alpha"), w.plain(1, "bravo"), w.plain(2, "charlie")
	recommend := func(names ...string) func(*directory.Info) {
		return func(i *directory.Info) {
			i.Recommended = names
			i.ClientVersions = []string{"0.0.10", "0.0.9", "0.0.8"}[:len(names)]
		}
	}
	votes := []*directory.Directory{
		w.vote(0, descriptors{a, b, c}, recommend("alpha", "bravo", "charlie")),
		w.vote(1, descriptors{a, b}, recommend("alpha", "charlie", "zulu")),
		w.vote(2, descriptors{a, b}, recommend("alpha", "charlie")),
		w.vote(3, descriptors{a, c}, recommend("bravo")),
	}
	r := w.tabulate(votes...)
	if names(r.Servers) != "alpha bravo" || strings.Join(r.Info.Recommended, " ") != "alpha" {
		t.Errorf("%s, recommended %v", names(r.Servers), r.Info.Recommended)
	}
	if diff := cmp.Diff([]string{"0.0.9", "0.0.10"}, r.Info.ClientVersions); diff != "" {
		t.Error(diff)
	}
	if len(r.Counted) != 4 || len(r.Missing) != 1 || r.Missing[0] != fingerprint(w.keys[4]) {
		t.Errorf("counted %v, missing %v", r.Counted, r.Missing)
	}
	if reasons(r) != "charlie: 2 of 5 authorities list it" {
		t.Error(reasons(r))
	}
	if d, err := directory.ParseDirectory(r.Body); err != nil || d.Status != directory.Consensus || !bytes.Equal(d.Body(), r.Body) {
		t.Errorf("the result does not parse: %v", err)
	}
	// With four members, two are not a majority.
	four := newWorld(t, 4)
	four.cache = directory.Cache{}
	a, b = four.plain(0, "alpha"), four.plain(1, "bravo")
	r = four.tabulate(four.vote(0, descriptors{a, b}, nil), four.vote(1, descriptors{a, b}, nil), four.vote(2, descriptors{a}, nil))
	if names(r.Servers) != "alpha" {
		t.Error("two of four:", names(r.Servers))
	}
}

func TestNoMajority(t *testing.T) {
	w := newWorld(t, 4)
	votes := []*directory.Directory{w.vote(0, nil, nil), w.vote(1, nil, nil)}
	for name, c := range map[string][]*directory.Directory{
		"none": nil, "half": votes, "half, repeated": {votes[0], votes[1], votes[0], votes[1]}, "half and nothing": {votes[0], votes[1], nil},
		"half and an invalid one": {votes[0], votes[1], w.vote(2, nil, func(i *directory.Info) { i.Status = directory.Consensus })},
		"an equivocator":          {votes[0], votes[1], w.vote(2, nil, nil), w.vote(2, descriptors{w.plain(0, "alpha")}, nil)},
	} {
		r, err := Tabulate(day(0), w.group, c)
		if !errors.Is(err, ErrNoMajority) || r == nil || r.Body != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Tabulate(day(0), nil, votes); !errors.Is(err, ErrNoMajority) {
		t.Error("no group:", err)
	}
	if r := w.tabulate(append(votes, w.vote(3, nil, nil))...); len(r.Servers) != 0 || len(r.Body) == 0 {
		t.Error("three of four who list nothing")
	}
}

func TestDescriptorsOfAServer(t *testing.T) {
	w := newWorld(t, 3)
	old := w.descriptor(0, "alpha", day(-40), -40, -10)
	endsToday := w.descriptor(0, "alpha", day(-39), -30, 0)
	endsTomorrow := w.descriptor(0, "alpha", day(-38), -30, 1)
	superseded := w.descriptor(0, "alpha", day(-20), 2, 20)
	newer := w.descriptor(0, "alpha", day(-10), 2, 20)
	next := w.descriptor(0, "alpha", day(-10), 20, 50)
	in30 := w.descriptor(0, "alpha", day(-2), 30, 60)
	in31 := w.descriptor(0, "alpha", day(-1), 31, 61)
	future := w.descriptor(0, "alpha", day(1), 1, 90)
	all := descriptors{old, endsToday, endsTomorrow, superseded, newer, next, in30, in31, future}
	r := w.tabulate(w.vote(0, all, nil), w.vote(1, descriptors{newer}, nil), w.vote(2, nil, nil))
	if diff := cmp.Diff(texts(descriptors{endsTomorrow, newer, next, in30}), texts(r.Servers)); diff != "" {
		t.Error(diff)
	}
	got := make(map[crypt.Digest]string)
	for _, e := range r.Excluded {
		got[e.Digest] = e.Reason
	}
	want := map[crypt.Digest]string{
		old.Digest(): "expired", endsToday.Digest(): "expired", superseded.Digest(): "superseded",
		in31.Digest(): "not valid within 30 days", future.Digest(): "published in the future",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func texts(ds []*directory.Descriptor) (out []string) {
	for _, d := range ds {
		out = append(out, string(d.Text()))
	}
	return out
}

func TestNicknamesAndIdentities(t *testing.T) {
	w := newWorld(t, 3)
	alpha, alias, thief := w.plain(0, "alpha"), w.plain(0, "alias"), w.plain(1, "ALPHA")
	bravo, shouting := w.plain(2, "bravo"), w.descriptor(2, "BRAVO", day(-1), 10, 29)
	r := w.tabulate(w.vote(0, descriptors{alpha, bravo}, nil), w.vote(1, descriptors{alpha, bravo}, nil), w.vote(2, descriptors{alias, shouting}, nil))
	if names(r.Servers) != "bravo BRAVO" || reasons(r) != "alias, alpha: votes give it several nicknames" {
		t.Errorf("%s; %s", names(r.Servers), reasons(r))
	}
	r = w.tabulate(w.vote(0, descriptors{alpha}, nil), w.vote(1, descriptors{alpha}, nil), w.vote(2, descriptors{thief}, nil))
	if len(r.Servers) != 1 || r.Servers[0].Fingerprint() != alpha.Fingerprint() || reasons(r) != "alpha: 1 of 3 authorities list it" {
		t.Errorf("%s; %s", names(r.Servers), reasons(r))
	}
}

// A server that signs one descriptor twice cannot make two authorities disagree.
func TestOneDescriptorTwoSignatures(t *testing.T) {
	w := newWorld(t, 3)
	x, y := w.plain(0, "alpha"), w.plain(0, "alpha")
	if x.Digest() != y.Digest() || bytes.Equal(x.Text(), y.Text()) {
		t.Fatal("not the same descriptor with two signatures")
	}
	v := []*directory.Directory{w.vote(0, descriptors{x}, nil), w.vote(1, descriptors{y}, nil), w.vote(2, descriptors{y}, nil)}
	one, two := w.tabulate(v[0], v[1], v[2]), w.tabulate(v[2], v[1], v[0])
	if !bytes.Equal(one.Body, two.Body) || len(one.Servers) != 1 {
		t.Error("the order decides")
	}
}

func TestTooManyDescriptors(t *testing.T) {
	w := newWorld(t, 3)
	kept := w.plain(0, "alpha")
	var many descriptors
	for i := range maxPerServer {
		many = append(many, w.descriptor(0, "alpha", day(-1).Add(-1e9), -1, 30+i))
	}
	others := []*directory.Directory{w.vote(1, descriptors{kept}, nil), w.vote(2, descriptors{kept}, nil)}
	r := w.tabulate(append(others, w.vote(0, many, nil))...)
	if len(r.Servers) != 1 || r.Servers[0].Digest() != kept.Digest() || len(r.Excluded) != maxPerServer {
		t.Errorf("%d descriptors, %d excluded", len(r.Servers), len(r.Excluded))
	}
	r = w.tabulate(append(others, w.vote(0, many[1:], nil))...)
	if len(r.Servers) != maxPerServer {
		t.Errorf("%d descriptors at the limit", len(r.Servers))
	}
}

func TestFit(t *testing.T) {
	w := newWorld(t, 3)
	a, b := &descriptor{w.plain(0, "alpha"), 1}, &descriptor{w.plain(1, "bravo"), 2}
	size := len(a.Text()) + len(b.Text())
	tl := tally{members: 3}
	for name, c := range map[string]struct{ number, bytes, want int }{
		"both fit": {2, size, 2}, "too many": {1, size, 1}, "too long": {2, size - 1, 1},
	} {
		in, out := tl.fit([]*descriptor{a, b}, c.number, c.bytes)
		if len(in) != c.want || len(in)+len(out) != 2 || in[len(in)-1] != b {
			t.Errorf("%s: %d in, %d out", name, len(in), len(out))
		}
	}
}

func TestHistory(t *testing.T) {
	w := newWorld(t, 3)
	one, two := sha256.Sum256([]byte("one")), sha256.Sum256([]byte("two"))
	none := [32]byte{}
	for name, c := range map[string]struct{ states, want []*[32]byte }{
		"nobody":       {[]*[32]byte{nil, nil, nil}, nil},
		"all":          {[]*[32]byte{&one, &one, &one}, []*[32]byte{&one}},
		"two of three": {[]*[32]byte{&two, &one, &two}, []*[32]byte{&two}},
		"one of three": {[]*[32]byte{nil, &one, nil}, nil},
		"no two alike": {[]*[32]byte{&none, &one, &two}, nil},
	} {
		var votes []*directory.Directory
		for i, hash := range c.states {
			votes = append(votes, w.vote(i, nil, func(info *directory.Info) { info.Previous = hash }))
		}
		r := w.tabulate(votes...)
		if (r.Info.Previous != nil) != (c.want != nil) || c.want != nil && *r.Info.Previous != *c.want[0] {
			t.Errorf("%s: %v", name, r.Info.Previous)
		}
		if bytes.Contains(r.Body, []byte("[Directory-History]")) != (c.want != nil) {
			t.Errorf("%s: body", name)
		}
	}
}

func TestEquivocation(t *testing.T) {
	w := newWorld(t, 4)
	a := w.plain(0, "alpha")
	honest := []*directory.Directory{w.vote(0, descriptors{a}, nil), w.vote(1, descriptors{a}, nil), w.vote(2, descriptors{a}, nil)}
	x, y := w.vote(3, descriptors{a}, nil), w.vote(3, nil, nil)
	r := w.tabulate(honest[0], x, honest[1], y, honest[2])
	if len(r.Equivocators) != 1 || r.Equivocators[0].Fingerprint != fingerprint(w.keys[3]) || len(r.Counted) != 3 || len(r.Missing) != 0 {
		t.Fatalf("%+v", r)
	}
	if err := r.Equivocators[0].Check(); err != nil {
		t.Error(err)
	}
	// Two signatures of one vote, or a valid and an invalid vote, are no equivocation.
	again := w.vote(3, descriptors{a}, nil)
	if bytes.Equal(again.Text(), x.Text()) {
		t.Fatal("signed in the same way")
	}
	invalid := w.vote(3, nil, func(i *directory.Info) { i.Voters = i.Voters[1:] })
	r = w.tabulate(honest[0], honest[1], x, again, invalid)
	if len(r.Equivocators) != 0 || len(r.Counted) != 3 || len(r.Rejected) != 1 || r.Rejected[0].Fingerprint != fingerprint(w.keys[3]) || !errors.Is(r.Rejected[0].Err, ErrGroup) {
		t.Errorf("%+v", r)
	}
	for name, e := range map[string]Equivocation{
		"empty":         {},
		"one vote":      {x.Signers[0].Fingerprint(), [2][]byte{x.Text(), x.Text()}},
		"one body":      {x.Signers[0].Fingerprint(), [2][]byte{x.Text(), again.Text()}},
		"of two":        {x.Signers[0].Fingerprint(), [2][]byte{x.Text(), honest[0].Text()}},
		"of another":    {honest[0].Signers[0].Fingerprint(), [2][]byte{x.Text(), y.Text()}},
		"another day":   {x.Signers[0].Fingerprint(), [2][]byte{x.Text(), w.text(3, nil, func(i *directory.Info) { i.ValidAfter, i.ValidUntil = day(1), day(2) })}},
		"two consensus": {x.Signers[0].Fingerprint(), [2][]byte{x.Text(), w.text(3, nil, func(i *directory.Info) { i.Status = directory.Consensus })}},
		"changed":       {x.Signers[0].Fingerprint(), [2][]byte{x.Text(), bytes.Replace(x.Text(), []byte("Recommended-Servers:"), []byte("Recommended-Servers: alpha"), 1)}},
	} {
		if err := e.Check(); !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
