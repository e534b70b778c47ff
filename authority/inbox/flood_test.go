package inbox_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"mixminion/authority/inbox"
	"mixminion/directory"

	"pgregory.net/rapid"
)

// flood adds n new servers, with the signature of another one: signing takes too long.
func flood(w *world, n int, source func(i int) string) {
	w.t.Helper()
	template, err := directory.ParseDescriptor(descriptor(w.t, 0, "template", func(f *directory.Fields) { f.Comments = strings.Repeat("x", 1000) }))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range n {
		w.flooded++
		d := *template
		d.Nickname, d.Identity = fmt.Sprintf("flood-%d", w.flooded), packetKey(1000+w.flooded)
		if err := w.AddParsed(w.t.Context(), &d, source(i)); err != nil && !errors.Is(err, inbox.ErrCrowded) {
			w.t.Fatal(err)
		}
	}
}

// Thousands of new servers from one place take the room of a few, on the disk and in memory, and push out nobody else.
func TestFlood(t *testing.T) {
	limits := inbox.DefaultLimits
	limits.Pending = 50
	w := newWorld(t, func(c *inbox.Config) { c.Limits = limits })
	for i, name := range []string{"approved", "rejected", "newcomer", "neighbour"} {
		if _, err := w.Add(t.Context(), descriptor(t, uint64(1e6+i), name), name); err != nil {
			t.Fatal(err)
		}
	}
	w.decide("approved", inbox.Approved)
	w.decide("rejected", inbox.Rejected)

	flood(w, 100, func(int) string { return "192.0.2.0/24" })
	disk, memory := w.disk.Used(), heap()
	flood(w, floodUploads-100, func(int) string { return "192.0.2.0/24" })
	if grown := w.disk.Used() - disk; grown > 10_000 {
		t.Errorf("the disk holds %d bytes more", grown)
	}
	if grown := int64(heap()) - int64(memory); grown > 4<<20 {
		t.Errorf("memory has grown by %d bytes", grown)
	}
	if got := len(w.list()); got != limits.Pending+2 {
		t.Errorf("%d servers are kept", got)
	}
	for _, name := range []string{"approved", "rejected", "newcomer", "neighbour"} {
		if s, err := w.Find(name); err != nil || len(s.Descriptors) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	// While it goes on, somebody new is let in.
	w.add(descriptor(t, 2e6, "latecomer"))
	flood(w, 200, func(int) string { return "192.0.2.0/24" })
	if _, err := w.Find("latecomer"); err != nil {
		t.Error(err)
	}

	// A flood from everywhere still leaves the limits and those who are approved.
	flood(w, 500, func(i int) string { return fmt.Sprintf("10.0.%d.0/24", i) })
	if got := len(w.list()); got != limits.Pending+2 {
		t.Errorf("%d servers are kept", got)
	}
	if got := nicknames(w.Candidates(noon)); !slices.Equal(got, []string{"approved"}) {
		t.Errorf("candidates are %q", got)
	}
}

// Who waits is not forgotten with the sources: after a new start every server has the same chance against a flood, and most stay.
func TestFloodAfterStart(t *testing.T) {
	limits := inbox.DefaultLimits
	limits.Pending = 20
	w := newWorld(t, func(c *inbox.Config) { c.Limits = limits })
	for i := range uint64(10) {
		w.add(descriptor(t, i, fmt.Sprint("mix-", i)))
	}
	w.reopen()
	flood(w, 300, func(int) string { return "192.0.2.0/24" })
	for i := range 10 {
		if _, err := w.Find(fmt.Sprint("mix-", i)); err != nil {
			t.Error(err)
		}
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Few servers with large descriptors are bounded by bytes, and the largest source pays.
func TestFloodOfBytes(t *testing.T) {
	limits := inbox.DefaultLimits
	limits.PendingBytes = 200_000
	w := newWorld(t, func(c *inbox.Config) { c.Limits = limits })
	w.add(descriptor(t, 1, "small"))
	for i := range 20 {
		text := append(descriptor(t, uint64(10+i), fmt.Sprintf("large-%d", i)), "[Testing]\n"...)
		for range 500 {
			text = append(text, "Key: "+strings.Repeat("x", 100)+"\n"...)
		}
		if _, err := w.Add(t.Context(), sealed(t, uint64(10+i), text), fmt.Sprint(i)); err != nil && !errors.Is(err, inbox.ErrCrowded) {
			t.Fatal(err)
		}
	}
	if used := w.disk.Used(); used > limits.PendingBytes {
		t.Errorf("%d bytes are kept", used)
	}
	if _, err := w.Find("small"); err != nil {
		t.Error(err)
	}
}

// An operation of the property test below.
type operation struct {
	Kind, Server, Name, Hours, After, Until, Decision int
}

// Whatever is uploaded and decided in whatever order: limits hold, nobody shares a nickname, nothing superseded or expired is a candidate,
// candidates are approved, and a new start changes nothing.
func TestProperties(t *testing.T) {
	limits := inbox.DefaultLimits
	limits.Pending, limits.Descriptors = 3, 2
	texts := map[operation][]byte{}
	template := descriptor(t, 0, "template")
	var identities []string
	for i := range uint64(7) {
		identities = append(identities, identityOf(descriptor(t, i, "template")))
	}
	decisions := []inbox.Decision{inbox.Pending, inbox.Approved, inbox.Rejected, inbox.Banned}
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, func(c *inbox.Config) { c.Limits = limits })
		for range rapid.IntRange(1, 20).Draw(rt, "operations") {
			op := operation{
				Kind: rapid.IntRange(0, 9).Draw(rt, "kind"), Server: rapid.IntRange(0, 6).Draw(rt, "server"), Name: rapid.IntRange(0, 4).Draw(rt, "name"),
				Hours: rapid.IntRange(0, 5).Draw(rt, "hours"), After: rapid.IntRange(-1, 2).Draw(rt, "after"), Until: rapid.IntRange(3, 6).Draw(rt, "until"),
			}
			switch {
			case op.Kind < 7:
				text := texts[op]
				if text == nil {
					text = template
					for key, value := range map[string]string{
						"Nickname": fmt.Sprint("name", op.Name), "Identity": identities[op.Server],
						"Published": fmt.Sprintf("2026-11-22 0%d:00:00", op.Hours), "Valid-After": fmt.Sprint("2026-11-", 22+op.After),
						"Valid-Until": fmt.Sprint("2026-11-", 22+op.Until),
					} {
						text = replaceLine(text, key, value)
					}
					text = sealed(t, uint64(op.Server), text)
					texts[op] = text
				}
				if r, err := w.Add(t.Context(), text, fmt.Sprint(op.Server%3)); err == nil && r.Decision != inbox.Approved && r.Decision != inbox.Pending {
					rt.Fatalf("%+v", r)
				}
			case op.Kind == 7:
				w.clock.Advance(oneDay / 2)
			default:
				d := decisions[rapid.IntRange(0, 3).Draw(rt, "decision")]
				_, err := w.Decide(t.Context(), fingerprint(uint64(op.Server)), d, "")
				if err != nil && !errors.Is(err, inbox.ErrUnknown) && !errors.Is(err, directory.ErrConflict) {
					rt.Fatal(err)
				}
			}
			checkInvariants(rt, w, limits)
		}
		before, raw := w.list(), must(w.RawList())
		w.reopen()
		if after := w.list(); !slices.Equal(before, after) || string(raw) != string(must(w.RawList())) {
			rt.Fatalf("before the new start %q, then %q", before, after)
		}
	})
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func checkInvariants(t *rapid.T, w *world, limits inbox.Limits) {
	servers, err := w.Servers()
	if err != nil {
		t.Fatal(err)
	}
	pending := 0
	names := map[string]bool{}
	approved := map[string]bool{}
	for _, s := range servers {
		if len(s.Descriptors) > limits.Descriptors || s.Decision == inbox.Banned && len(s.Descriptors) > 0 {
			t.Fatalf("%s has %d descriptors", s.Nickname, len(s.Descriptors))
		}
		for _, d := range s.Descriptors {
			if d.KeyID() != s.ID || s.Decision != inbox.Rejected && !d.HasNickname(s.Nickname) {
				t.Fatalf("%s has the descriptor of %s", s.Nickname, d.Nickname)
			}
		}
		switch s.Decision {
		case inbox.Pending:
			pending++
		case inbox.Approved:
			approved[s.ID.Fingerprint()] = true
		default:
			continue
		}
		if s.Nickname != "" && names[s.Nickname] {
			t.Fatalf("two servers are called %s", s.Nickname)
		}
		names[s.Nickname] = true
	}
	if pending > limits.Pending {
		t.Fatalf("%d servers are pending", pending)
	}
	now := w.clock.Now()
	list := w.Candidates(now)
	for _, d := range list {
		if !approved[d.Fingerprint()] || d.Expired(now) || directory.Superseded(d, list, now) || directory.CheckConflict(d, list) != nil {
			t.Fatalf("%s must not be a candidate", d.Nickname)
		}
	}
}

// On a real disk, two inboxes see what the other does, and nothing is readable by others.
func TestTwoProcesses(t *testing.T) {
	dir := t.TempDir() + "/inbox"
	disk := func(c *inbox.Config) { c.Dir, c.FS = dir, nil }
	daemon, command := newWorld(t, disk), newWorld(t, disk)
	daemon.add(descriptor(t, 1, "alice"))
	command.decide("alice", inbox.Approved)
	if r := daemon.add(descriptor(t, 1, "alice")); r.Decision != inbox.Approved {
		t.Errorf("%+v", r)
	}
	command.add(descriptor(t, 1, "alice", published(noon)))
	if got := daemon.Candidates(noon); len(got) != 1 || !got[0].Published.Equal(noon) {
		t.Errorf("%d candidates", len(got))
	}
	command.decide("alice", inbox.Banned)
	if got := daemon.list(); got[0] != "alice banned automatic 0" {
		t.Errorf("%q", got)
	}
	var names []string
	for _, d := range []string{"", "/descriptors"} {
		entries, err := os.ReadDir(dir + d)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %v", e.Name(), info.Mode())
			}
			names = append(names, e.Name())
		}
	}
	if !slices.Equal(names, []string{"decisions", "descriptors", "lock"}) {
		t.Errorf("%q", names)
	}
}

// Of many who change something at once, none undoes what another has done.
func TestConcurrentUse(t *testing.T) {
	dir := t.TempDir()
	disk := func(c *inbox.Config) { c.Dir, c.FS = dir, nil }
	worlds := []*world{newWorld(t, disk), newWorld(t, disk)}
	done := make(chan error)
	const each = 10
	for n := range 4 {
		texts := make([][]byte, each)
		for i := range texts {
			texts[i] = descriptor(t, uint64(n*each+i), fmt.Sprintf("mix-%d-%d", n, i))
		}
		go func() {
			done <- func() error {
				w := worlds[n%2]
				for i, text := range texts {
					if _, err := w.Add(t.Context(), text, "test"); err != nil {
						return err
					}
					if _, err := w.Decide(t.Context(), fmt.Sprintf("mix-%d-%d", n, i), inbox.Approved, ""); err != nil {
						return err
					}
					w.Candidates(noon)
					if _, err := w.RawList(); err != nil {
						return err
					}
				}
				return nil
			}()
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for _, w := range worlds {
		if got := len(w.Candidates(noon)); got != 4*each {
			t.Errorf("%d candidates", got)
		}
	}
}
