package cli

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestServiceManager(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no datagram sockets with names on Windows")
	}
	dir, err := os.MkdirTemp("", "n") // a short name: that of a socket must be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	name := filepath.Join(dir, "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	env := map[string]string{"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "2000", "WATCHDOG_PID": "7"}
	m := serviceManagerOf(func(k string) string { return env[k] }, 7)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	lived := make(chan struct{}, 100)
	go func() {
		done <- m.role(func() {
			select {
			case lived <- struct{}{}:
			default:
			}
		}).run(ctx)
	}()
	hear := func() string {
		b := make([]byte, 100)
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	if got := hear(); got != "READY=1" {
		t.Errorf("first %q", got)
	}
	if got := hear(); got != "WATCHDOG=1" || len(lived) == 0 {
		t.Errorf("then %q", got)
	}
	cancel()
	for got := hear(); got != "STOPPING=1"; got = hear() {
		if got != "WATCHDOG=1" {
			t.Errorf("at the end %q", got)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestServiceManagerOf(t *testing.T) {
	for _, c := range []struct {
		socket, usec, pid string
		want              serviceManager
	}{
		{"", "", "", serviceManager{}},
		{"/s", "", "", serviceManager{socket: "/s"}},
		{"/s", "1000000", "", serviceManager{"/s", time.Second}},
		{"/s", "1000000", "8", serviceManager{socket: "/s"}},
		{"/s", "soon", "7", serviceManager{socket: "/s"}},
		{"/s", "-1", "7", serviceManager{socket: "/s"}},
	} {
		env := map[string]string{"NOTIFY_SOCKET": c.socket, "WATCHDOG_USEC": c.usec, "WATCHDOG_PID": c.pid}
		if got := serviceManagerOf(func(k string) string { return env[k] }, 7); got != c.want {
			t.Errorf("%+v: %+v", c, got)
		}
	}
	// Without a service manager nobody is told.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (serviceManager{}).role(nil).run(ctx); err != nil {
		t.Error(err)
	}
	if err := (serviceManager{socket: filepath.Join(t.TempDir(), "missing")}).role(nil).run(ctx); err == nil {
		t.Error("told nobody")
	}
}

// The units are understood by systemd, and start commands that there are.
func TestUnits(t *testing.T) {
	units, err := filepath.Glob("../../contrib/systemd/*.service")
	if err != nil || len(units) < 2 {
		t.Fatal(units, err)
	}
	verify, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("systemd-analyze is missing")
		}
		t.Skip("systemd-analyze (Debian package systemd) is missing")
	}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		// The program need not be installed for this.
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		there := strings.NewReplacer("/usr/local/bin/mixminiond", self, "%h/.local/bin/mixminion", self).Replace(string(text))
		copied := filepath.Join(t.TempDir(), filepath.Base(unit))
		if err := os.WriteFile(copied, []byte(there), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"verify", "--man=no", copied}
		if strings.Contains(string(text), "default.target") {
			args = append([]string{"--user"}, args...)
		}
		cmd := exec.CommandContext(t.Context(), verify, args...)
		cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), filepath.Base(unit)+":") {
			t.Errorf("%s: %v\n%s", filepath.Base(unit), err, out)
		}
	}
	root := newMixminiond(&streams{})
	text, err := os.ReadFile("../../contrib/systemd/mixminiond.service")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(string(text)) {
		if _, args, ok := strings.Cut(strings.TrimSpace(line), "=/usr/local/bin/mixminiond "); ok {
			found++
			cmd, rest, err := root.Find(strings.Fields(args))
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			if err != nil || cmd == root {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
	if found != 2 {
		t.Errorf("%d commands", found)
	}
}
