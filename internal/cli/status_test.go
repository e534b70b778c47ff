package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
)

func TestStatus(t *testing.T) {
	var out, errOut strings.Builder
	s := &streams{out: &out, err: &errOut}
	line := func() {
		t.Helper()
		if err := errors.Join(s.checkStatus(), s.status("COUNT_PACKETS %d", 3)); err != nil {
			t.Fatal(err)
		}
	}
	line()
	s.machine = statusFD{fd: 1}
	line()
	line()
	s.machine = statusFD{fd: 2}
	line()
	const want = "[MIXMINION:] COUNT_PACKETS 3\n"
	if out.String() != want+want || errOut.String() != want {
		t.Errorf("output %q, errors %q", out.String(), errOut.String())
	}

	name := filepath.Join(t.TempDir(), "status")
	fd, err := syscall.Open(name, syscall.O_CREAT|syscall.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s.machine = statusFD{fd: int(fd)} // a handle on Windows
	line()
	if got, err := os.ReadFile(name); err != nil || string(got) != want {
		t.Errorf("file %q: %v", got, err)
	}
}

func TestStatusRefuses(t *testing.T) {
	for _, fd := range []int{1 << 30, -1} {
		s := &streams{machine: statusFD{fd: fd}}
		if err := s.checkStatus(); err == nil || !strings.Contains(err.Error(), "is not open") {
			t.Error(err)
		}
		if err := s.status("X"); err == nil {
			t.Errorf("a line was written to descriptor %d", fd)
		}
	}
	r, w := io.Pipe()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	s := &streams{out: w, machine: statusFD{fd: 1}}
	if err := s.status("X"); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}

func TestStatusFlag(t *testing.T) {
	var d statusFD
	cmd := new(cobra.Command)
	d.register(cmd)
	if d.fd != 0 {
		t.Errorf("descriptor %d without the flag", d.fd)
	}
	if err := cmd.ParseFlags([]string{"--status-fd=9"}); err != nil || d.fd != 9 {
		t.Errorf("descriptor %d: %v", d.fd, err)
	}
}
