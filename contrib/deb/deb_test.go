//go:build linux

// Package deb_test installs, upgrades, removes and purges the Debian packages in a directory of their own, and runs what they install.
package deb_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mixminion/internal/testnet/freeport"
)

// need returns the path of a program, or skips the test, which under CI is a failure.
func need(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, fmt.Sprintf("%s (Debian package %s) is missing", name, pkg))
	}
	return path
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// pack makes the packages as of a version and returns the paths of mixminion and mixminiond.
func pack(t *testing.T, programs, version string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "./build.sh", t.TempDir(), programs)
	cmd.Env = append(os.Environ(), "VERSION="+version, "SOURCE_DATE_EPOCH=1700000000", "DPKG_DEB_COMPRESSOR_TYPE=gzip", "DPKG_DEB_COMPRESSOR_LEVEL=1")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	paths := strings.Fields(string(out))
	if len(paths) != 2 {
		t.Fatalf("made %q", paths)
	}
	return paths
}

// openDir is a temporary directory that the mix's user may look into.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "deb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// system is a directory with a package database and no other package.
type system struct{ root string }

func newSystem(t *testing.T) system {
	t.Helper()
	root := openDir(t)
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "etc", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return system{root}
}

// dpkg does without the dependencies and without a shell in the directory; the scripts of the packages learn from DPKG_ROOT where they are.
func (s system) dpkg(t *testing.T, args ...string) string {
	t.Helper()
	args = append([]string{"--root=" + s.root, "--force-depends", "--force-script-chrootless"}, args...)
	return run(t, exec.CommandContext(t.Context(), "dpkg", args...))
}

func (s system) path(name string) string { return filepath.Join(s.root, name) }

// owner fails unless name is a directory of the mix's user alone, and returns that user.
func (s system) owner(t *testing.T, name string) *syscall.Credential {
	t.Helper()
	info, err := os.Stat(s.path(name))
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	if info.Mode() != fs.ModeDir|0o700 || stat.Uid == 0 {
		t.Fatalf("%s has mode %v and belongs to user %d", name, info.Mode(), stat.Uid)
	}
	return &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}
}

func (s system) exists(name string) bool {
	_, err := os.Lstat(s.path(name))
	return err == nil
}

func TestLifeCycle(t *testing.T) {
	if os.Getuid() != 0 {
		missing(t, "must be root to install packages")
	}
	for _, name := range []string{"dpkg", "dpkg-deb"} {
		need(t, name, "dpkg")
	}
	for _, name := range []string{"systemd-analyze", "systemd-sysusers", "systemd-tmpfiles"} {
		need(t, name, "systemd")
	}
	programs := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", programs+"/", "./cmd/mixminion", "./cmd/mixminiond")
	build.Dir = "../.."
	run(t, build)

	first := pack(t, programs, "0.1.0")
	for i, again := range pack(t, programs, "0.1.0") {
		a, errA := os.ReadFile(first[i])
		b, errB := os.ReadFile(again)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: not the same bytes again (%v, %v)", filepath.Base(again), errA, errB)
		}
	}

	s := newSystem(t)
	out := s.dpkg(t, "--install", first[0], first[1])
	if !strings.Contains(out, "mixminiond init") {
		t.Errorf("does not say what to do next:\n%s", out)
	}
	// What the units lean on comes from the machine's systemd.
	run(t, exec.CommandContext(t.Context(), "cp", "-a", "--no-clobber", "/usr/lib/systemd/system", s.path("/usr/lib/systemd/")))
	run(t, exec.CommandContext(t.Context(), "systemd-analyze", "--root="+s.root, "verify", "--man=no", "mixminiond.service"))
	// systemd-analyze knows no other root for the units of users; internal/cli verifies this one.
	agent, err := os.ReadFile(s.path("/usr/lib/systemd/user/mixminion-agent.service"))
	if err != nil || !strings.Contains(string(agent), "\nExecStart=/usr/bin/mixminion ") || !strings.HasPrefix(string(agent), "[Unit]\n") {
		t.Errorf("%v\n%s", err, agent)
	}
	user := s.owner(t, "/var/lib/mixminion")
	s.owner(t, "/etc/mixminion")
	for _, name := range []string{"/usr/bin/mixminion", "/usr/share/man/man1/mixminiond-check.1.gz", "/usr/share/doc/mixminiond/operator-guide.md.gz"} {
		if !s.exists(name) {
			t.Error("missing:", name)
		}
	}

	daemon(t, s, user)
	identity, err := os.ReadFile(s.path("/var/lib/mixminion/keys/identity.key"))
	if err != nil {
		t.Fatal(err)
	}

	next := pack(t, programs, "0.2.0")
	if out := s.dpkg(t, "--install", next[1]); strings.Contains(out, "mixminiond init") {
		t.Errorf("an upgrade greets like a first installation:\n%s", out)
	}
	if out := s.dpkg(t, "--status", "mixminiond"); !strings.Contains(out, "Version: 0.2.0") {
		t.Errorf("not upgraded:\n%s", out)
	}
	s.dpkg(t, "--remove", "mixminiond")
	if s.exists("/usr/bin/mixminiond") {
		t.Error("the program outlives its package")
	}
	if now, err := os.ReadFile(s.path("/var/lib/mixminion/keys/identity.key")); err != nil || !bytes.Equal(now, identity) {
		t.Errorf("the identity is not what it was: %v", err)
	}
	s.dpkg(t, "--install", next[1])
	daemonRuns(t, s, user)

	// Other names of the same files show whether they were overwritten.
	vault := bytes.Repeat([]byte("master key"), 12)
	if err := os.WriteFile(s.path("/var/lib/mixminion/vault"), vault, 0o600); err != nil {
		t.Fatal(err)
	}
	secrets := map[string][]byte{"keys/identity.key": identity, "vault": vault}
	for name := range secrets {
		if err := os.Link(s.path("/var/lib/mixminion/"+name), s.path("/"+filepath.Base(name))); err != nil {
			t.Fatal(err)
		}
	}
	s.dpkg(t, "--purge", "mixminiond", "mixminion")
	for name, secret := range secrets {
		if left, err := os.ReadFile(s.path("/" + filepath.Base(name))); err != nil || bytes.Contains(left, secret[:20]) {
			t.Errorf("%s was not overwritten: %v", name, err)
		}
	}
	for _, name := range []string{"/var/lib/mixminion", "/etc/mixminion", "/usr/bin/mixminion"} {
		if s.exists(name) {
			t.Error("left behind:", name)
		}
	}
}

// command is a command of the installed mixminiond, run by the mix's user.
func command(ctx context.Context, s system, user *syscall.Credential, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.path("/usr/bin/mixminiond"), append([]string{"--config", s.path("/etc/mixminion/mixminiond.conf")}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.path("/var/lib/mixminion")}
	return cmd
}

// daemon configures the mix as the operator's guide says and runs it.
func daemon(t *testing.T, s system, user *syscall.Credential) {
	t.Helper()
	run(t, command(t.Context(), s, user, "init", "--base-dir", s.path("/var/lib/mixminion"), "--nickname", "packaged",
		"--contact", "operator@example.com", "--hostname", "localhost", "--port", fmt.Sprint(freeport.Port(t)), "--no-exit"))
	daemonRuns(t, s, user)
}

// daemonRuns starts the mix, waits until it says to its service manager that it is ready, and stops it.
func daemonRuns(t *testing.T, s system, user *syscall.Credential) {
	t.Helper()
	name := filepath.Join(openDir(t), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	if err := os.Chmod(name, 0o777); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	start := command(ctx, s, user, "start")
	start.Env = append(start.Env, "NOTIFY_SOCKET="+name)
	var out bytes.Buffer
	start.Stdout, start.Stderr = &out, &out
	if err := start.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- start.Wait()
		_ = socket.Close()
	}()
	buf := make([]byte, 4096)
	for ready := false; !ready; {
		n, err := socket.Read(buf)
		if err != nil {
			t.Fatalf("the mix ended before it was ready (%v):\n%s", <-ended, out.String())
		}
		ready = bytes.Contains(buf[:n], []byte("READY=1"))
	}
	status := run(t, command(ctx, s, user, "status"))
	if !strings.Contains(status, "packaged") {
		t.Errorf("status:\n%s", status)
	}
	run(t, command(ctx, s, user, "stop"))
	if err := <-ended; err != nil {
		t.Errorf("the mix ended badly: %v\n%s", err, out.String())
	}
}
