package cli_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"mixminion/mix/backup"
)

// killed runs mixminiond, kills it as soon as the moment has come, and reports whether that was before its end.
func killed(t *testing.T, dir string, moment func() bool, args ...string) bool {
	t.Helper()
	cmd := exec.Command("mixminiond", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }()
	for {
		select {
		case err := <-over:
			if err != nil {
				t.Fatalf("%v: %v", args, err)
			}
			return false
		default:
		}
		if moment() {
			if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Fatal(err)
			}
			return (<-over) != nil
		}
		time.Sleep(200 * time.Microsecond) // not longer than a step of what is watched
	}
}

// daemon runs mixminiond to its end, and returns what it says.
func daemon(dir string, args ...string) (string, error) {
	cmd := exec.Command("mixminiond", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func there(pattern string) bool {
	found, err := filepath.Glob(pattern)
	return err == nil && len(found) > 0
}

func size(pattern string) (n int64) {
	found, _ := filepath.Glob(pattern) // the pattern is good
	for _, f := range found {
		if info, err := os.Stat(f); err == nil {
			n += info.Size()
		}
	}
	return n
}

// starts reports whether a base directory and its configuration let a mix start: there is no mark that keeps it from it.
func starts(base, configFile string) bool {
	return there(configFile) && there(filepath.Join(base, "keys", "key_*", "mix.key")) && backup.CheckMark(base) == nil
}

// A move that is killed, and a restore of it, never leave two mixes that start, or one and an archive that a restore
// would take; and never nothing, for who does as the mark says.
func TestMoveKilled(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file that is open cannot be removed there")
	}
	const large = 8 << 20
	model := t.TempDir()
	if out, err := daemon(model, strings.Fields("init --nickname north --contact op@example.com --hostname 127.0.0.1 --no-exit --base-dir north -f north.conf")...); err != nil {
		t.Fatal(out)
	}
	key := mustReadFile(t, filepath.Join(model, "north", "keys", "key_0001", "mix.key"))
	// So that it takes a while: a segment of packets, which nobody opens here.
	if err := os.WriteFile(filepath.Join(model, "north", "work", "queues", "0000000001.seg"), make([]byte, large), 0o600); err != nil {
		t.Fatal(err)
	}
	config := mustReadFile(t, filepath.Join(model, "north.conf"))
	early := 0
	for name, moment := range map[string]func(dir string) bool{
		"marked":           func(dir string) bool { return there(dir + "/north/unusable") },
		"half written":     func(dir string) bool { return size(dir+"/moved.*.tmp") > large/2 },
		"almost written":   func(dir string) bool { return size(dir+"/moved.*.tmp") > large },
		"there":            func(dir string) bool { return there(dir + "/moved") },
		"restore begun":    func(dir string) bool { return there(dir + "/new/keys/key_0001/mix.key") },
		"restore packets":  func(dir string) bool { return size(dir+"/new/work/queues/*.seg") > large/2 },
		"restore config":   func(dir string) bool { return there(dir + "/new.conf*") },
		"restore renamed":  func(dir string) bool { return there(dir + "/moved.restored") },
		"restore unmarked": func(dir string) bool { return there(dir+"/new.conf") && !there(dir+"/new/unusable") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			old, next := filepath.Join(dir, "north"), filepath.Join(dir, "new")
			if err := os.CopyFS(old, os.DirFS(filepath.Join(model, "north"))); err != nil {
				t.Fatal(err)
			}
			// CopyFS makes directories for everybody.
			text := bytes.ReplaceAll(config, []byte(model), []byte(dir))
			if err := errors.Join(os.Chmod(old, 0o700), os.WriteFile(filepath.Join(dir, "north.conf"), text, 0o600),
				os.WriteFile(filepath.Join(dir, "identity"), []byte("AGE-SECRET-KEY-1J3CJYLC434JDC5YDTLKVSDXTAGNECZL23RL5R86NRDKL34GZC2JSUTRHHF\n"), 0o600)); err != nil {
				t.Fatal(err)
			}
			move := []string{"backup", "--move", "moved", "-f", "north.conf", "-r", "age1m06j7z544xvcft39u9cd30hwa55jlj526cdgqd67t4utlz3zd4ssvdee5n"}
			restore := []string{"restore", "moved", "-f", "new.conf", "--base-dir", "new", "-i", "identity"}
			one := func() {
				t.Helper()
				n := 0
				for what, is := range map[string]bool{
					"the old one": starts(old, filepath.Join(dir, "north.conf")),
					"the new one": starts(next, filepath.Join(dir, "new.conf")),
					"the archive": there(filepath.Join(dir, "moved")),
				} {
					if is {
						n++
						t.Logf("usable: %s", what)
					}
				}
				if n > 1 {
					t.Errorf("%d copies can be used", n)
				}
			}
			restoring := strings.HasPrefix(name, "restore")
			if restoring {
				if out, err := daemon(dir, move...); err != nil {
					t.Fatal(out)
				}
				one()
				move = restore
			}
			if killed(t, dir, func() bool { return moment(dir) }, move...) {
				early++
			}
			one()

			// As the mark of the old place says.
			if !restoring && !there(filepath.Join(dir, "moved")) && there(filepath.Join(old, "unusable")) {
				if left, err := filepath.Glob(filepath.Join(dir, "moved.*.tmp")); err != nil {
					t.Fatal(err)
				} else if len(left) > 0 {
					copied := append([]string{"restore", left[0]}, restore[2:]...)
					if out, err := daemon(dir, copied...); err == nil {
						t.Errorf("what is half written was restored: %s", out)
					}
					if err := os.Remove(left[0]); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.Remove(filepath.Join(old, "unusable")); err != nil {
					t.Fatal(err)
				}
				one()
			}
			if starts(old, filepath.Join(dir, "north.conf")) {
				if out, err := daemon(dir, move...); err != nil {
					t.Fatal(out)
				}
			}
			// As the mark of the new place says.
			if there(filepath.Join(next, "unusable")) || there(next) && !there(filepath.Join(dir, "new.conf")) {
				if err := errors.Join(os.RemoveAll(next), os.RemoveAll(filepath.Join(dir, "new.conf"))); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(filepath.Join(dir, "moved.restored"), filepath.Join(dir, "moved")); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
			}
			if !starts(next, filepath.Join(dir, "new.conf")) {
				if out, err := daemon(dir, restore...); err != nil {
					t.Fatal(out)
				}
			}
			one()
			if !starts(next, filepath.Join(dir, "new.conf")) {
				t.Error("nothing can be used")
			}
			if got := mustReadFile(t, filepath.Join(next, "keys", "key_0001", "mix.key")); !bytes.Equal(got, key) {
				t.Error("the packet key is another one")
			}
			if n := size(filepath.Join(next, "work", "queues", "0000000001.seg")); n != large {
				t.Errorf("%d bytes of packets, want %d", n, large)
			}
		})
	}
	if early < 3 {
		t.Errorf("only %d were killed before their end", early)
	}
}

func mustReadFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
