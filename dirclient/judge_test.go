package dirclient

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/internal/testnet/testdir"
)

func TestJudge(t *testing.T) {
	good := spec(t, today)
	edited := func(edit func(*testdir.Spec)) testdir.Spec {
		s := good
		edit(&s)
		return s
	}
	bomb, err := testdir.Gzip(make([]byte, directory.MaxDirectoryLen+1))
	if err != nil {
		t.Fatal(err)
	}
	oldFormat, err := testdir.Gzip([]byte("[Directory]\nVersion: 0.2\n"))
	if err != nil {
		t.Fatal(err)
	}
	gz, sig := publish(t, good)
	otherGz, otherSig := publish(t, spec(t, yesterday))
	text, err := Gunzip(gz, directory.MaxDirectoryLen)
	if err != nil {
		t.Fatal(err)
	}
	changed, err := testdir.Gzip([]byte(strings.Replace(string(text), "Recommended-Servers: alder, birch", "Recommended-Servers: birch", 1)))
	if err != nil {
		t.Fatal(err)
	}
	now := today.Add(12 * time.Hour)
	for name, c := range map[string]struct {
		spec    testdir.Spec
		gz, sig []byte // instead of spec
		now     time.Time
		trusted int
		want    error
	}{
		"all":                      {spec: good, want: nil},
		"two of three":             {spec: edited(func(s *testdir.Spec) { s.Signers, s.Detached = []int{0, 2}, []int{2, 0} })},
		"one of three":             {spec: edited(func(s *testdir.Spec) { s.Signers = []int{1} }), want: directory.ErrQuorum},
		"one of three beside":      {spec: edited(func(s *testdir.Spec) { s.Detached = []int{1} }), want: directory.ErrQuorum},
		"two and two, one in both": {spec: edited(func(s *testdir.Spec) { s.Signers, s.Detached = []int{0, 1}, []int{1, 2} }), want: directory.ErrQuorum},
		"half of four":             {spec: edited(func(s *testdir.Spec) { s.Signers, s.Detached = []int{0, 1}, []int{0, 1} }), trusted: 4, want: directory.ErrQuorum},
		"strangers":                {spec: edited(func(s *testdir.Spec) { s.Signers, s.Detached = []int{4, 5, 6}, []int{4, 5, 6} }), want: directory.ErrQuorum},
		"vote":                     {spec: edited(func(s *testdir.Spec) { s.Status = directory.Vote }), want: directory.ErrVote},
		"old":                      {spec: spec(t, today.AddDate(0, 0, -9))}, // newer than nothing at all
		"a little early":           {spec: good, now: today.Add(-10 * time.Minute)},
		"future":                   {spec: good, now: today.Add(-2 * time.Hour), want: directory.ErrEarly},
		"truncated":                {gz: gz[:len(gz)-9], sig: sig, want: ErrGzip},
		"cut to nothing":           {gz: nil, sig: sig, want: ErrGzip},
		"not gzip":                 {gz: text, sig: sig, want: ErrGzip},
		"garbage behind":           {gz: append(bytes.Clone(gz), "garbage"...), sig: sig, want: ErrGzip},
		"bomb":                     {gz: bomb, sig: sig, want: ErrTooLarge},
		"obsolete format":          {gz: oldFormat, sig: sig, want: directory.ErrSingleSigned},
		"changed":                  {gz: changed, sig: sig, want: directory.ErrQuorum},
		"signatures of yesterday":  {gz: gz, sig: otherSig, want: directory.ErrQuorum},
		"yesterday, new signature": {gz: otherGz, sig: sig, want: directory.ErrQuorum},
	} {
		if c.gz == nil && c.sig == nil {
			c.gz, c.sig = publish(t, c.spec)
		}
		if c.now.IsZero() {
			c.now = now
		}
		if c.trusted == 0 {
			c.trusted = 3
		}
		got, err := Judge(c.gz, c.sig, testdir.Authorities(c.trusted), c.now)
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if (got == nil) == (err == nil) {
			t.Errorf("%s: %v and %v", name, got, err)
		}
	}
	for name, c := range map[string]struct{ text, sig []byte }{
		"no text":          {nil, sig},
		"a page":           {[]byte("<html>\n"), sig},
		"no signatures":    {text, nil},
		"page, signatures": {text, []byte("<html>\n")},
	} {
		data, err := testdir.Gzip(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Judge(data, c.sig, testdir.Authorities(3), now); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := Judge(gz, sig, nil, now); !errors.Is(err, directory.ErrQuorum) {
		t.Errorf("nobody trusted: %v", err)
	}
}

func TestPrefer(t *testing.T) {
	judged := func(s testdir.Spec) *Consensus {
		gz, sig := publish(t, s)
		c, err := Judge(gz, sig, testdir.Authorities(3), today.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old, current := judged(spec(t, yesterday)), judged(spec(t, today))
	fork := spec(t, today)
	fork.Recommended = []string{"birch"}
	fewer := spec(t, today)
	fewer.Signers, fewer.Detached = []int{0, 1}, []int{0, 1}
	for name, c := range map[string]struct {
		served, best *Consensus
		better       bool
		want         error
	}{
		"the first":        {old, nil, true, nil},
		"newer":            {current, old, true, nil},
		"the same":         {current, current, false, nil},
		"fewer signatures": {judged(fewer), current, false, nil},
		"older":            {old, current, false, ErrOlder},
		"fork":             {judged(fork), current, false, ErrFork},
	} {
		better, err := prefer(c.served, c.best)
		if better != c.better || !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, %v", name, better, err)
		}
	}
}

func FuzzJudge(f *testing.F) {
	gz, sig := publish(f, spec(f, today))
	f.Add(gz, sig)
	f.Add(gz[:100], sig)
	f.Add([]byte{}, []byte("[Detached-Signature]\n"))
	trusted := testdir.Authorities(3)
	f.Fuzz(func(t *testing.T, gz, sig []byte) {
		c, err := Judge(gz, sig, trusted, today)
		if (c == nil) == (err == nil) {
			t.Fatal(c, err)
		}
		if c != nil && !c.Quorum.Reached() {
			t.Fatal("accepted without quorum")
		}
	})
}

// BenchmarkJudge is what reading the directory costs that is held: here one of nine servers, with three signatures of either kind.
func BenchmarkJudge(b *testing.B) {
	s := spec(b, today)
	s.Servers = nil
	for i := range 9 {
		d, err := testdir.Server("server"+string(rune('a'+i)), i, yesterday, nil)
		if err != nil {
			b.Fatal(err)
		}
		s.Servers = append(s.Servers, d)
	}
	gz, sig := publish(b, s)
	trusted := testdir.Authorities(3)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Judge(gz, sig, trusted, today); err != nil {
			b.Fatal(err)
		}
	}
}
