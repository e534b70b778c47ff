package harden_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"mixminion/internal/harden"

	"golang.org/x/sys/unix"
)

// TestMain lets a copy of the test program be hardened, since there is no way back.
func TestMain(m *testing.M) {
	if what := os.Getenv("HARDEN"); what != "" {
		os.Exit(hardened(what))
	}
	os.Exit(m.Run())
}

func hardened(what string) int {
	fail := func(text string, err error) int {
		_, _ = os.Stdout.WriteString(text + "\n")
		if err != nil {
			_, _ = os.Stdout.WriteString(err.Error() + "\n")
		}
		return 1
	}
	if err := harden.NoCoreDumps(); err != nil {
		return fail("NoCoreDumps", err)
	}
	var core unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &core); err != nil || core.Cur != 0 || core.Max != 0 {
		return fail("core dumps are still allowed", err)
	}
	if d, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || d != 0 {
		return fail("the process is still dumpable", err)
	}
	if what == "limited" {
		if err := limit(); err != nil {
			return fail("cannot limit", err)
		}
	}
	err := harden.LockMemory()
	status, readErr := os.ReadFile("/proc/self/status")
	if readErr != nil {
		return fail("read status", readErr)
	}
	locked := !strings.Contains(string(status), "VmLck:\t       0 kB")
	switch {
	case err == nil && what == "limited":
		return fail("locked in spite of the limit", nil)
	case err == nil && !locked:
		return fail("LockMemory said yes, and nothing is locked", nil)
	case err != nil && !errors.Is(err, harden.ErrNotLocked):
		return fail("LockMemory", err)
	case err != nil && locked:
		return fail("LockMemory said no, and memory is locked", nil)
	case err != nil && what == "limited" && !strings.Contains(err.Error(), "LimitMEMLOCK"):
		return fail("the error does not name the limit", err)
	}
	return 0
}

// limit takes from this process what would let it lock memory.
func limit() error {
	err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 64 << 10, Max: 64 << 10})
	if err != nil {
		return err
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&head, &none[0])
}

func TestHarden(t *testing.T) {
	for _, what := range []string{"as it is", "limited"} {
		t.Run(what, func(t *testing.T) {
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), self)
			cmd.Env = append(os.Environ(), "HARDEN="+what)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}
