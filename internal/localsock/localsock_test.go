package localsock

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func private(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestListen(t *testing.T) {
	name := filepath.Join(private(t), "s")
	if err := os.WriteFile(name, []byte("left over"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(name)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	out, err := new(net.Dialer).DialContext(t.Context(), "unix", name)
	if err != nil {
		t.Fatal(err)
	}
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if !SameUser(in) || !SameUser(out) {
		t.Error("we are not ourselves")
	}
	if err := errors.Join(in.Close(), out.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	if SameUser(in) && tellsUsers() {
		t.Error("a closed connection has no user")
	}
}

func tellsUsers() bool {
	return runtime.GOOS == "linux" || runtime.GOOS == "darwin" || runtime.GOOS == "freebsd"
}

func TestSameUserOfPipe(t *testing.T) {
	one, two := net.Pipe()
	if SameUser(one) && tellsUsers() {
		t.Error("a pipe has no user")
	}
	if err := errors.Join(one.Close(), two.Close()); err != nil {
		t.Error(err)
	}
}

func TestListenRefuses(t *testing.T) {
	if _, err := Listen(filepath.Join(private(t), strings.Repeat("x", MaxName))); !errors.Is(err, ErrNameTooLong) {
		t.Error(err)
	}
	if _, err := Listen(filepath.Join(private(t), "missing", "s")); err == nil {
		t.Error("a socket in no directory")
	}
	if runtime.GOOS == "windows" {
		return
	}
	open := t.TempDir()
	if err := os.Chmod(open, 0o711); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(filepath.Join(open, "s")); !errors.Is(err, ErrNotPrivate) {
		t.Error(err)
	}
}

// failing is a listener that fails before it works.
type failing struct {
	net.Listener
	times int
}

func (f *failing) Accept() (net.Conn, error) {
	if f.times--; f.times >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept", syscall.EMFILE)}
	}
	return f.Listener.Accept()
}

func TestAccept(t *testing.T) {
	name := filepath.Join(private(t), "s")
	l, err := Listen(name)
	if err != nil {
		t.Fatal(err)
	}
	out, err := new(net.Dialer).DialContext(t.Context(), "unix", name)
	if err != nil {
		t.Fatal(err)
	}
	in, err := Accept(t.Context(), &failing{l, 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(in.Close(), out.Close()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Accept(ctx, &failing{l, 1}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Accept(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
