package inbox_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"mixminion/authority/inbox"
	"mixminion/directory"
	"mixminion/internal/store/crashfs"
)

// The power goes at every possible instant of a life of an inbox. What was answered is there afterwards, what was not is either
// there or not, and the inbox goes on.
func TestPowerLoss(t *testing.T) {
	first, second := descriptor(t, 1, "alice", lifetime(0, 5)), descriptor(t, 1, "alice", published(noon))
	bob, carol := descriptor(t, 2, "bob"), descriptor(t, 3, "carol")
	add := func(text []byte) func(*world) error {
		return func(w *world) error { _, err := w.Add(t.Context(), text, "test"); return err }
	}
	decide := func(name string, d inbox.Decision) func(*world) error {
		return func(w *world) error { _, err := w.Decide(t.Context(), name, d, "reason"); return err }
	}
	life := []struct {
		do   func(*world) error
		then []string
	}{
		{add(first), []string{"alice pending automatic 1"}},
		{decide("alice", inbox.Approved), []string{"alice approved automatic 1"}},
		{add(bob), []string{"alice approved automatic 1", "bob pending automatic 1"}},
		{add(second), []string{"alice approved automatic 1", "bob pending automatic 1"}},
		{decide("bob", inbox.Banned), []string{"alice approved automatic 1", "bob banned automatic 0"}},
		{add(carol), []string{"alice approved automatic 1", "bob banned automatic 0", "carol pending automatic 1"}},
		{decide("carol", inbox.Rejected), []string{"alice approved automatic 1", "bob banned automatic 0", "carol rejected automatic 1"}},
		{decide("alice", inbox.Pending), []string{"bob banned automatic 0", "carol rejected automatic 1"}},
	}
	limits := inbox.DefaultLimits
	limits.Pending = 2
	r := rand.New(rand.NewPCG(1, 2))
	for _, loss := range []crashfs.Loss{crashfs.LoseNothing, crashfs.LoseAll, crashfs.LoseRandom} {
		for cut := 0; ; cut++ {
			w := newWorld(t, func(c *inbox.Config) { c.Limits = limits })
			w.disk.CutPower(cut)
			done := 0
			for done < len(life) && life[done].do(w) == nil {
				done++
			}
			if done == len(life) {
				break
			}
			w.disk.Crash(loss, r)
			w.reopen()
			// Descriptors that are no longer needed may have stayed; what is said of each server may not.
			got := summary(w.list())
			var before []string
			if done > 0 {
				before = summary(life[done-1].then)
			}
			if after := summary(life[done].then); !slices.Equal(got, before) && !slices.Equal(got, after) {
				t.Fatalf("loss %d, power off after %d changes, in step %d: %q, before %q, after %q", loss, cut, done, got, before, after)
			}
			if err := life[done].do(w); err != nil && loss == crashfs.LoseAll && !strings.Contains(err.Error(), inbox.ErrUnknown.Error()) {
				t.Fatalf("loss %d, power off after %d changes, step %d once more: %v", loss, cut, done, err)
			}
			checkCandidates(t, w)
		}
	}
}

// summary leaves out numbers of descriptors, and banned servers' descriptors that the next change removes.
func summary(list []string) (out []string) {
	for _, s := range list {
		out = append(out, s[:strings.LastIndexByte(s, ' ')])
	}
	return out
}

func checkCandidates(t *testing.T, w *world) {
	t.Helper()
	for _, d := range w.Candidates(noon) {
		if s, err := w.Find(d.Fingerprint()); err != nil || s.Decision != inbox.Approved {
			t.Fatalf("%s is a candidate: %v", d.Nickname, err)
		}
	}
}

// A disk that fails once leaves the inbox usable.
func TestFailingDisk(t *testing.T) {
	for n := range 4 {
		w := newWorld(t)
		w.disk.FailSync(n)
		for i := range uint64(4) {
			text := descriptor(t, i, fmt.Sprint("mix-", i))
			if _, err := w.Add(t.Context(), text, "test"); err != nil {
				w.add(text)
			}
		}
		if got := w.list(); len(got) != 4 {
			t.Errorf("%q", got)
		}
	}
}

// Files that are damaged are left alone until their server comes again; decisions that cannot be read are not guessed.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, func(c *inbox.Config) { c.Dir, c.FS = dir, nil })
	text := descriptor(t, 1, "alice")
	w.add(text)
	w.decide("alice", inbox.Approved)
	names, err := os.ReadDir(dir + "/descriptors")
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	name := dir + "/descriptors/" + names[0].Name()
	for _, damage := range [][]byte{nil, text[:100], replace(text, "mix.example", "fox.example"), descriptor(t, 1, "alice", published(noon)), make([]byte, 2*directory.MaxDescriptorLen)} {
		if err := os.WriteFile(name, damage, 0o600); err != nil {
			t.Fatal(err)
		}
		w.reopen()
		if got := w.list(); got[0] != "alice approved automatic 0" || len(w.Damaged()) != 1 {
			t.Errorf("%q, damaged are %q", got, w.Damaged())
		}
		w.add(text)
		if got := w.list(); got[0] != "alice approved automatic 1" || len(w.Damaged()) != 0 {
			t.Errorf("%q, damaged are %q", got, w.Damaged())
		}
	}

	good, err := os.ReadFile(dir + "/decisions")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/decisions", append(slices.Clone(good), "Reasn: x\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := w.Candidates(noon); len(got) != 1 {
		t.Errorf("a running authority has %d candidates", len(got))
	}
	if _, err := w.Decide(t.Context(), "alice", inbox.Banned, ""); err == nil {
		t.Error("decisions that cannot be read are overwritten")
	}
	if _, err := inbox.Open(w.cfg); err == nil || !strings.Contains(err.Error(), `unknown key "Reasn"`) {
		t.Errorf("%v", err)
	}
}

func TestDecisionsFile(t *testing.T) {
	const good = "[Decision]\nFingerprint: 0123456789ABCDEF0123456789ABCDEF01234567\nDecision: approved\nDay: 2026-11-22\n"
	for _, c := range []struct{ text, want string }{
		{good, ""},
		{good + "Nickname: a\nRecommend: always\nReason: some reason\n", ""},
		{good + good, "line 5: a second decision about 0123"},
		{good + "Recommend: often\n", `line 1: Recommend is wrong: "often"`},
		{good + "Nickname: 1\n", "Nickname is wrong"},
		{good + "Day: 2026-11-23\n", "Day stands twice"},
		{"[Decision]\nDecision: approved\nDay: 2026-11-22\n", "needs Fingerprint"},
		{"[Decision]\nFingerprint: 01\n", "Fingerprint is wrong"},
		{"[Decision]\nDecision: pending\n", "Decision is wrong"},
		{"[Decision]\nDay: yesterday\n", "Day is wrong"},
		{"[Decision]\nReason: " + strings.Repeat("x", 201) + "\n", "Reason is wrong"},
		{"[Decisions]\n", "unknown section [Decisions]"},
		{"rubbish", "line 1"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/decisions", []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := inbox.Open(inbox.Config{Dir: dir})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q: %v", c.text, err)
		}
	}
}
