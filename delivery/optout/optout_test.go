package optout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Date(2026, 11, 23, 20, 15, 30, 0, time.UTC)

type testClock struct{ t time.Time }

func (c *testClock) now() time.Time { return c.t }

func openList(t testing.TB, dir string) *List {
	t.Helper()
	l, err := Open(dir, func() time.Time { return start }, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustAdd(t testing.TB, l *List, addr string) {
	t.Helper()
	if _, err := l.Add(context.Background(), addr); err != nil {
		t.Fatal(err)
	}
}

func TestList(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "optout")
	daemon := openList(t, dir)
	if daemon.Has("bob@example.com") {
		t.Error("an empty list has an address")
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("looking made a directory")
	}
	command := openList(t, dir)
	for _, c := range []struct {
		do   func(context.Context, string) (bool, error)
		addr string
		want bool
	}{
		{command.Remove, "bob@example.com", false}, {command.Add, "bob@example.com", true}, {command.Add, "BOB+x@example.com", false},
		{command.Add, "eve@example.com", true}, {command.Remove, "Eve@example.com", true}, {command.Add, "dave@example.org", true},
	} {
		got, err := c.do(context.Background(), c.addr)
		if err != nil || got != c.want {
			t.Errorf("%s: %v, %v", c.addr, got, err)
		}
	}
	for _, l := range []*List{daemon, command, openList(t, dir)} {
		for addr, want := range map[string]bool{
			"bob@example.com": true, "Bob+anything@EXAMPLE.com": true, "bo@example.com": false, "bob@example.org": false,
			"eve@example.com": false, "dave@example.org": true,
		} {
			if l.Has(addr) != want {
				t.Errorf("%s: %v", addr, !want)
			}
		}
		if l.Len() != 2 {
			t.Errorf("%d addresses", l.Len())
		}
	}
}

// TestListAtRest looks at what the files say.
func TestListAtRest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "optout")
	l := openList(t, dir)
	for i := range 20 {
		mustAdd(t, l, fmt.Sprintf("bob%d@example.com", i))
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	midnight := start.Truncate(day)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 || !info.ModTime().Equal(midnight) {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), info.ModTime())
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte("bob")) || bytes.Contains(data, []byte("example")) {
			t.Errorf("%s holds an address", e.Name())
		}
		if e.Name() == listFile {
			lines := strings.Split(strings.TrimSpace(string(data)), "\n")[1:]
			if len(lines) != 20 || !slices.IsSorted(lines) {
				t.Errorf("lines that tell an order: %q", lines)
			}
		}
	}
	other := openList(t, filepath.Join(t.TempDir(), "optout"))
	mustAdd(t, other, "bob1@example.com")
	if l.entry("bob1@example.com") == other.entry("bob1@example.com") {
		t.Error("two exits write the same hash")
	}
}

func TestDamaged(t *testing.T) {
	whole := t.TempDir()
	mustAdd(t, openList(t, whole), "bob@example.com")
	list, err := os.ReadFile(filepath.Join(whole, listFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(dir string) error{
		"no key":    func(dir string) error { return os.Remove(filepath.Join(dir, keyFile)) },
		"short key": func(dir string) error { return os.WriteFile(filepath.Join(dir, keyFile), []byte("short"), 0o600) },
		"empty":     func(dir string) error { return os.WriteFile(filepath.Join(dir, listFile), nil, 0o600) },
		"cut":       func(dir string) error { return os.WriteFile(filepath.Join(dir, listFile), list[:len(list)-1], 0o600) },
		"letters": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, listFile), bytes.Replace(list, list[len(list)-10:len(list)-2], []byte("xxxxxxxx"), 1), 0o600)
		},
		"other file": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, listFile), []byte("bob@example.com\n"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := openList(t, dir)
			mustAdd(t, l, "bob@example.com")
			l.mark = "" // as if another process had changed it
			if err := damage(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir, time.Now, nil); !errors.Is(err, ErrDamaged) {
				t.Errorf("got %v", err)
			}
			if !l.Has("bob@example.com") {
				t.Error("a list that cannot be read lets mail through")
			}
			if _, err := l.Add(context.Background(), "eve@example.com"); !errors.Is(err, ErrDamaged) {
				t.Errorf("added to a damaged list: %v", err)
			}
		})
	}
}

// TestAddAtOnce has several processes, so to speak, add addresses at the same time.
func TestAddAtOnce(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		l := openList(t, dir)
		wg.Go(func() { _, errs[i] = l.Add(context.Background(), fmt.Sprintf("bob%d@example.com", i)) })
	}
	wg.Wait()
	l := openList(t, dir)
	if err := errors.Join(errs...); err != nil || l.Len() != len(errs) {
		t.Errorf("%d addresses, %v", l.Len(), err)
	}
}

func TestLockIsWaitedForNoLongerThanOneWants(t *testing.T) {
	l := openList(t, t.TempDir())
	unlock, err := l.lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Add(ctx, "bob@example.com"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
}

// TestListAgainstMap compares with a set, over reopening.
func TestListAgainstMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		l := openList(t, dir)
		want := map[string]bool{}
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			addr := rapid.SampledFrom([]string{"a@x.org", "b@x.org", "a@y.org"}).Draw(rt, "addr")
			if rapid.Bool().Draw(rt, "reopen") {
				l = openList(t, dir)
			}
			do := l.Add
			if want[addr] = rapid.Bool().Draw(rt, "add"); !want[addr] {
				do = l.Remove
			}
			if _, err := do(context.Background(), addr); err != nil {
				rt.Fatal(err)
			}
			for a, w := range want {
				if l.Has(a) != w {
					rt.Fatalf("%s: %v", a, !w)
				}
			}
		}
	})
}

func FuzzFiles(f *testing.F) {
	f.Add([]byte(strings.Repeat("0", 64) + "\n"))
	f.Add(formatToday(make([]byte, todayKey), make([]byte, 2*sumLen), daysOf(start)))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if e, err := parse(text); err == nil && len(e) > len(text)/64 {
			t.Errorf("%d entries", len(e))
		}
		if key, sums, ok := parseToday(text, daysOf(start)); ok {
			again, sums2, ok2 := parseToday(formatToday(key, sums, daysOf(start)), daysOf(start))
			if !ok2 || !bytes.Equal(again, key) || !bytes.Equal(sums, sums2) {
				t.Error("counts change when they are written and read")
			}
		}
	})
}

func BenchmarkHas(b *testing.B) {
	l := openList(b, b.TempDir())
	mustAdd(b, l, "bob@example.com")
	for b.Loop() {
		l.Has("alice@example.com")
	}
}
