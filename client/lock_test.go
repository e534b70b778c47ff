package client_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mixminion/client"
	"mixminion/message"
	"mixminion/message/keyring"
)

// helperEnv makes TestHelperProcess another process of this test: its value says which.
const (
	helperEnv = "MIXMINION_TEST_HELPER"
	homeEnv   = "MIXMINION_TEST_HOME"
)

// What changes the home directory wants the lock, and changes nothing without it.
func TestNotLocked(t *testing.T) {
	c, _, home := newHome(t)
	files := func() (names []string) {
		t.Helper()
		err := filepath.WalkDir(home, func(name string, _ fs.DirEntry, err error) error {
			names = append(names, name)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	pool, err := c.Fragments()
	if err != nil {
		t.Fatal(err)
	}
	before := files()
	for name, err := range map[string]error{
		"import":            func() error { _, err := c.Import(descriptors(t)); return err }(),
		"save keyring":      c.SaveKeyring(new(keyring.Keyring), nil),
		"generate user key": func() error { _, err := c.GenerateUserKey(nil); return err }(),
		"enqueue":           func() error { _, err := c.Enqueue(t.Context(), &client.Prepared{}); return err }(),
		"flush":             func() error { _, err := c.Flush(t.Context(), nil, 0, nil); return err }(),
		"clean":             func() error { _, _, err := c.Clean(0, nil); return err }(),
		"remove fragments":  pool.Remove(message.ID{}),
	} {
		if !errors.Is(err, client.ErrNotLocked) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d := cmp.Diff(before, files()); d != "" {
		t.Error(d)
	}
}

// TestHelperProcess is no test: other tests run it in processes of their own.
func TestHelperProcess(t *testing.T) {
	home := os.Getenv(homeEnv)
	var err error
	switch os.Getenv(helperEnv) {
	case "lock":
		err = helpLock(t.Context(), home)
	case "queue":
		err = helpQueue(t.Context(), home)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// helper starts a process that does what is asked for.
func helper(t testing.TB, what, home string, env ...string) (cmd *exec.Cmd, in io.WriteCloser, out *bufio.Scanner) {
	t.Helper()
	cmd = exec.Command(os.Args[0], "-test.run=^TestHelperProcess$")
	cmd.Env = append(append(os.Environ(), helperEnv+"="+what, homeEnv+"="+home), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, in, bufio.NewScanner(pipe)
}

// helpLock holds the lock until standard input ends.
func helpLock(ctx context.Context, home string) error {
	c, err := client.Open(home, client.Options{})
	if err != nil {
		return err
	}
	unlock, err := c.Lock(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString("locked\n"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, unlock())
}

func TestLockBetweenProcesses(t *testing.T) {
	for name, end := range map[string]func(*exec.Cmd, io.Closer) error{
		"unlocked": func(_ *exec.Cmd, in io.Closer) error { return in.Close() },
		"killed":   func(cmd *exec.Cmd, _ io.Closer) error { return cmd.Process.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			c, _, home := newHome(t)
			cmd, in, out := helper(t, "lock", home)
			defer func() { _ = cmd.Wait() }() // killed or not, it must be gone
			if !out.Scan() || out.Text() != "locked" {
				t.Fatalf("the other process says %q", out.Text())
			}
			waits := 0
			unlock, err := c.Lock(t.Context(), func() {
				waits++
				if err := end(cmd, in); err != nil {
					t.Error(err)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if waits != 1 {
				t.Errorf("told %d times of waiting", waits)
			}
			if err := unlock(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLockCancelled(t *testing.T) {
	c, _, home := newHome(t)
	lock(t, c)
	other, err := client.Open(home, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := other.Lock(ctx, cancel); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := other.Lock(ctx, func() { t.Error("waited") }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	// It is the client that holds the lock who may change the queue.
	if _, err := other.Enqueue(t.Context(), packets(t, 1, mixServers()[0].hop())); !errors.Is(err, client.ErrNotLocked) {
		t.Error(err)
	}
	if _, err := other.Flush(t.Context(), nil, 0, nil); !errors.Is(err, client.ErrNotLocked) {
		t.Error(err)
	}
	if _, _, err := other.Clean(0, nil); !errors.Is(err, client.ErrNotLocked) {
		t.Error(err)
	}
	if _, err := other.Queue(); err != nil {
		t.Error(err)
	}
}

// One at a time within a process too.
func TestLockAtOnce(t *testing.T) {
	c, _, _ := newHome(t)
	var wg sync.WaitGroup
	inside := 0 // guarded by the lock alone: the race detector watches
	for range 4 {
		wg.Go(func() {
			unlock, err := c.Lock(t.Context(), nil)
			if err != nil {
				t.Error(err)
				return
			}
			if inside++; inside != 1 {
				t.Error("two hold the lock")
			}
			inside--
			if err := unlock(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// A home directory that cannot be written to is an error that says what to do.
func TestReadOnlyHome(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // root writes everywhere but in the kernel's own file systems
	}
	_, err := client.Open("/sys/mixminion", client.Options{})
	if !errors.Is(err, client.ErrReadOnly) || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
}
