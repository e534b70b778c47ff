package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mixminion/client"
	"mixminion/internal/config"
	"mixminion/message/keyring"

	"github.com/spf13/cobra"
)

// newUser opens a new home directory.
func newUser(t *testing.T) *user {
	t.Helper()
	c, err := client.Open(t.TempDir(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &user{Client: c, cfg: config.DefaultClient()}
}

// saveKeyring makes a keyring with one identity.
func saveKeyring(t *testing.T, u *user, password string) {
	t.Helper()
	ring := new(keyring.Keyring)
	if _, err := ring.Generate(rand.Reader, "twain", time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := u.locked(t.Context(), new(streams), func() error { return u.SaveKeyring(ring, []byte(password)) }); err != nil {
		t.Fatal(err)
	}
}

// descriptor gives one that text can be read from once. Who reads it owns it.
func descriptor(t *testing.T, text string) int {
	t.Helper()
	name := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return int(fd) // a handle on Windows
}

func TestPassphraseFromDescriptor(t *testing.T) {
	for name, c := range map[string]struct {
		stored, given string
		want          error
	}{
		"right":         {"open sesame", "open sesame\n", nil},
		"no newline":    {"open sesame", "open sesame", nil},
		"from Windows":  {"open sesame", "open sesame\r\n", nil},
		"two lines":     {"open", "open\nsesame\n", nil},
		"not needed":    {"", "anything\n", nil},
		"wrong":         {"open sesame", "open sesam\n", errPassphrase},
		"blanks count":  {"open sesame", " open sesame\n", errPassphrase},
		"empty, needed": {"open sesame", "\n", errPassphrase},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			saveKeyring(t, u, c.stored)
			for _, fd := range []int{0, descriptor(t, c.given)} {
				var errOut strings.Builder
				s := &streams{in: strings.NewReader(c.given), err: &errOut}
				ring, password, err := u.keyring(t.Context(), s, passphrase{fd: fd})
				if !errors.Is(err, c.want) {
					t.Fatalf("descriptor %d: %v", fd, err)
				}
				if c.want == nil && (string(password) != c.stored || len(ring.Keys()) != 1) {
					t.Errorf("descriptor %d: passphrase %q, %d keys", fd, password, len(ring.Keys()))
				}
				if errOut.Len() > 0 {
					t.Errorf("it says %q", errOut.String())
				}
			}
		})
	}
}

func TestPassphraseFromStandardInput(t *testing.T) {
	u := newUser(t)
	// Without a keyring nobody is asked.
	ring, password, err := u.keyring(t.Context(), &streams{}, passphrase{fd: -1})
	if err != nil || password != nil || len(ring.Keys()) != 0 {
		t.Fatalf("passphrase %q: %v", password, err)
	}
	saveKeyring(t, u, "open sesame")
	var errOut strings.Builder
	in := strings.NewReader("open sesame\nThe message.")
	ring, _, err = u.keyring(t.Context(), &streams{in: in, err: &errOut}, passphrase{fd: -1})
	if err != nil || len(ring.Keys()) != 1 {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(in); err != nil || string(rest) != "The message." {
		t.Errorf("left of standard input: %q, %v", rest, err)
	}
	if want := "Reading the passphrase from standard input.\n"; errOut.String() != want {
		t.Errorf("it says %q", errOut.String())
	}
	_, _, err = u.keyring(t.Context(), &streams{in: strings.NewReader(""), err: io.Discard}, passphrase{fd: -1})
	if err == nil || !strings.Contains(err.Error(), "no passphrase in standard input") {
		t.Error(err)
	}
	_, _, err = u.keyring(t.Context(), &streams{in: strings.NewReader(strings.Repeat("x", maxPassphrase+1)), err: io.Discard}, passphrase{fd: -1})
	if err == nil || !strings.Contains(err.Error(), "longer than 4096 bytes") {
		t.Error(err)
	}
}

func TestNewKeyring(t *testing.T) {
	for _, password := range []string{"open sesame", ""} {
		u := newUser(t)
		var errOut strings.Builder
		s := &streams{in: strings.NewReader(password + "\n"), err: &errOut}
		ring, got, err := u.keyringOrNew(t.Context(), s, passphrase{fd: 0})
		if err != nil || string(got) != password || len(ring.Keys()) != 0 {
			t.Fatalf("passphrase %q: %v", got, err)
		}
		if warned := strings.Contains(errOut.String(), "no passphrase"); warned != (password == "") {
			t.Errorf("passphrase %q: it says %q", password, errOut.String())
		}
		if exists, err := u.HasKeyring(); exists || err != nil {
			t.Error("there is a keyring before it was saved:", err)
		}
		saveKeyring(t, u, password)
		s.in = strings.NewReader(password + "\n")
		if ring, _, err = u.keyringOrNew(t.Context(), s, passphrase{fd: 0}); err != nil || len(ring.Keys()) != 1 {
			t.Errorf("it is not opened again: %v", err)
		}
	}
}

func TestPassphraseErrors(t *testing.T) {
	u := newUser(t)
	saveKeyring(t, u, "open sesame")
	const noDescriptor = 1 << 30
	if _, _, err := u.keyring(t.Context(), &streams{}, passphrase{fd: noDescriptor}); err == nil {
		t.Error("a closed descriptor was read")
	}
	// Whoever interrupts the program does not wait for a line.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, w := io.Pipe()
	defer func() { _ = w.Close() }()
	if _, _, err := u.keyring(ctx, &streams{in: r}, passphrase{fd: 0}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if _, err := askTerminal(t.Context(), file, io.Discard, "?"); err == nil {
		t.Error("a file was taken for a terminal")
	}
}

func TestPassphraseFlag(t *testing.T) {
	var p passphrase
	cmd := new(cobra.Command)
	p.register(cmd)
	if p.fd >= 0 {
		t.Errorf("descriptor %d without the flag", p.fd)
	}
	if err := cmd.ParseFlags([]string{"--passphrase-fd", "7"}); err != nil || p.fd != 7 {
		t.Errorf("descriptor %d: %v", p.fd, err)
	}
}
