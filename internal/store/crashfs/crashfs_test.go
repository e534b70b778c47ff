package crashfs

import (
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"mixminion/internal/store"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, f store.File, text string, off int64) {
	t.Helper()
	_, err := f.WriteAt([]byte(text), off)
	must(t, err)
}

// content returns what a file holds, or "missing".
func content(t *testing.T, fs *FS, name string) string {
	t.Helper()
	f, err := fs.OpenFile(name, os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return "missing"
	}
	must(t, err)
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	if size > 0 {
		_, err = f.ReadAt(b, 0)
		must(t, err)
	}
	return string(b)
}

func TestCrashLosesWhatWasNotSynced(t *testing.T) {
	for loss, want := range map[Loss][2]string{LoseNothing: {"old new", "unnamed"}, LoseAll: {"old", "missing"}} {
		fs := New()
		f, err := fs.OpenFile("/a", os.O_RDWR|os.O_CREATE)
		must(t, err)
		write(t, f, "old", 0)
		must(t, f.Sync())
		must(t, fs.SyncDir("/"))
		write(t, f, " new", 3)
		// Content without a durable name is as good as lost.
		g, err := fs.OpenFile("/b", os.O_RDWR|os.O_CREATE)
		must(t, err)
		write(t, g, "unnamed", 0)
		must(t, g.Sync())
		fs.Crash(loss, nil)
		if got := content(t, fs, "/a"); got != want[0] {
			t.Errorf("loss %d: a holds %q, want %q", loss, got, want[0])
		}
		if got := content(t, fs, "/b"); got != want[1] {
			t.Errorf("loss %d: b holds %q, want %q", loss, got, want[1])
		}
		if err := f.Sync(); !errors.Is(err, ErrOff) {
			t.Errorf("sync of a handle from before the crash: %v", err)
		}
	}
}

func TestRandomLossTears(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(200) {
		fs := New()
		f, err := fs.OpenFile("/a", os.O_RDWR|os.O_CREATE)
		must(t, err)
		must(t, fs.SyncDir("/"))
		b := make([]byte, 2*sector)
		for i := range b {
			b[i] = 'x'
		}
		write(t, f, string(b), 0)
		fs.Crash(LoseRandom, rand.New(rand.NewPCG(seed, 0)))
		got := content(t, fs, "/a")
		switch {
		case got == "":
			seen["nothing"] = true
		case got == string(b):
			seen["all"] = true
		case len(got) == sector:
			seen["first"] = true
		case got[0] == 0:
			seen["second"] = true
		}
	}
	if len(seen) != 4 {
		t.Errorf("outcomes %v, want all four", seen)
	}
}

func TestFaults(t *testing.T) {
	fs := New()
	f, err := fs.OpenFile("/a", os.O_RDWR|os.O_CREATE)
	must(t, err)
	must(t, fs.SyncDir("/"))
	fs.SetCapacity(4)
	if n, err := f.WriteAt([]byte("123456"), 0); n != 4 || !errors.Is(err, store.ErrFull) {
		t.Errorf("write to a full disk: %d, %v", n, err)
	}
	fs.FailSync(0)
	if err := f.Sync(); !errors.Is(err, ErrIO) {
		t.Errorf("sync: %v", err)
	}
	// The next sync lies, as on Linux.
	must(t, f.Sync())
	fs.CutPower(0)
	if err := fs.Mkdir("/d"); !errors.Is(err, ErrOff) {
		t.Errorf("mkdir without power: %v", err)
	}
	fs.Crash(LoseAll, nil)
	if got := content(t, fs, "/a"); got != "" {
		t.Errorf("a failed sync kept %q", got)
	}
}
