package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mixminion/client"
)

// surbUser is a user in a home directory of his own, who knows mixes that nobody runs.
type surbUser struct {
	t    *testing.T
	home string
}

func newSURBUser(t *testing.T) *surbUser {
	u := &surbUser{t, t.TempDir()}
	t.Setenv("HOME", u.home)
	t.Setenv("USERPROFILE", u.home)
	t.Setenv("MIXMINIONRC", "")
	t.Chdir(u.home)
	u.run(offlineMixes(t), 0, "Imported mix0", "import-server", "-")
	return u
}

func (u *surbUser) write(name string, data []byte) {
	u.t.Helper()
	if err := os.WriteFile(filepath.Join(u.home, name), data, 0o600); err != nil {
		u.t.Fatal(err)
	}
}

// run runs a command and compares what it says with a regular expression. It returns its output.
func (u *surbUser) run(in []byte, status int, want string, args ...string) []byte {
	u.t.Helper()
	var out, errOut bytes.Buffer
	got := Mixminion(args, bytes.NewReader(in), &out, &errOut)
	if got != status || !regexp.MustCompile(want).Match(errOut.Bytes()) {
		u.t.Errorf("%v: status %d, errors %q", args, got, errOut.String())
	}
	return out.Bytes()
}

var testPassphrase = []byte("open sesame\n")

func TestGenerateByConfiguration(t *testing.T) {
	u := newSURBUser(t)
	u.write(".mixminionrc", []byte("[Security]\nSURBAddress: alice@example.com\nSURBLifetime: 3 days\nSURBPath: mix0,mix1\n"))
	text := u.run(testPassphrase, 0, "Made 1 reply block", "generate-surb")
	if surbs, err := client.ReadSURBs(text); err != nil || len(surbs) != 1 {
		t.Errorf("%d reply blocks: %v", len(surbs), err)
	}
	u.run(testPassphrase, 1, "Each leg|nobody|descriptor", "generate-surb", "-P", "nobody")
	u.run([]byte("wrong\n"), 1, "^Reading the passphrase from standard input.\nmixminion: the passphrase is wrong", "generate-surb")
	u.run(testPassphrase, 1, "mixminion: .*missing", "generate-surb", "-o", "missing/blocks")
	u.run(testPassphrase, 0, "Made 2 reply blocks", "generate-surb", "-o", os.DevNull, "-n", "2", "--binary")
	u.run(testPassphrase, 0, "Made", "generate-surb", "-o", "blocks")
	info, err := os.Stat("blocks")
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && os.PathSeparator == '/' {
		t.Errorf("others can read the blocks: %v", mode)
	}
	u.write(".mixminionrc", []byte("[Security]\nSURBAddress: alice@example.com\nSURBLifetime: 1 hour\n"))
	u.run(testPassphrase, 1, "mixminion: the reply blocks would expire too soon to be of use: at .* UTC; use a longer --lifetime\n$", "generate-surb")
	u.run(testPassphrase, 0, "Made", "generate-surb", "--lifetime", "5")
}

// A key is in the keyring before its first block is anywhere.
func TestKeyBeforeBlock(t *testing.T) {
	u := newSURBUser(t)
	r, w := io.Pipe()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	var errOut strings.Builder
	args := []string{"generate-surb", "-t", "alice@example.com"}
	if status := Mixminion(args, bytes.NewReader(testPassphrase), w, &errOut); status != 1 || !strings.Contains(errOut.String(), "closed pipe") {
		t.Errorf("status %d, errors %q", status, errOut.String())
	}
	if _, err := os.Stat(filepath.Join(u.home, ".mixminion", "keys", "keyring.txt")); err != nil {
		t.Error(err)
	}
	// And no block is anywhere whose key could not be saved.
	dir := filepath.Join(u.home, ".mixminion", "keys", "keyring.txt")
	if err := errors.Join(os.Remove(dir), os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	if out := u.run(testPassphrase, 1, "mixminion: ", args...); len(out) > 0 {
		t.Errorf("%d bytes of blocks", len(out))
	}
}

func TestReplyThroughTooFewBlocks(t *testing.T) {
	u := newSURBUser(t)
	u.run(testPassphrase, 0, "Made 2", "generate-surb", "-t", "alice@example.com", "-n", "2", "-o", "blocks")
	long := make([]byte, 40_000)
	if _, err := rand.Read(long); err != nil {
		t.Fatal(err)
	}
	u.run(long, 1, "mixminion: not enough reply blocks: .*: 3 needed, 2 given. Ask your correspondent for more, or write less; none was used\n$",
		"send", "-R", "blocks")
	if out := u.run(nil, 0, "", "inspect-surb", "blocks"); bytes.Count(out, []byte("Used: no\n")) != 2 {
		t.Errorf("%s", out)
	}
	u.write(".mixminionrc", []byte("[Security]\nReplyPath: nobody\n"))
	u.run(nil, 1, "nobody", "send", "-R", "blocks")
	u.write(".mixminionrc", nil)
	u.run([]byte("short"), 0, "(?s)1 packet waits in the queue.*Used 1 reply block; 1 is left that is usable.\n$", "queue", "-R", "blocks")
	u.run(long[:10_000], 1, "(?s)Used 1 reply block; none is left that is usable.*Nothing was kept", "send", "--no-queue", "-R", "blocks")
	u.run(nil, 1, "(?s)skipping 2 reply blocks, already used.*mixminion: none of the reply blocks can be used", "send", "-R", "blocks")
}

func TestReadMessageInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, w := io.Pipe()
	defer func() { _ = w.Close() }()
	if _, err := readMessage(ctx, &streams{in: r}, "-"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
