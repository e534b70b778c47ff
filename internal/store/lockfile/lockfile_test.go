package lockfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestTry(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	for range 2 { // the second time the file is there
		f, err := Try(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Try(name); !errors.Is(err, ErrHeld) {
			t.Errorf("locked twice: %v", err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Try(filepath.Join(name, "lock")); err == nil {
		t.Error("locked a file in a file")
	}
	if _, err := Try(filepath.Join(filepath.Dir(name), "missing", "lock")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A lock on a file that was deleted since protects nothing.
func TestIsNow(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // there an open file cannot be deleted
	}
	name := filepath.Join(t.TempDir(), "lock")
	f, err := Try(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	check := func(want bool) {
		t.Helper()
		if same, err := isNow(f, name); same != want || err != nil {
			t.Errorf("%v, %v", same, err)
		}
	}
	check(true)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	check(false)
	again, err := Try(name)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	check(false)
}
