package mix

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"mixminion/internal/crypt"
	"mixminion/internal/store/durable"
	"mixminion/internal/vault"
)

// keyFile writes a key as a mix with this configuration does.
func keyFile(t *testing.T, key *rsa.PrivateKey, seal bool) (f keyFiles, path string) {
	t.Helper()
	dir := t.TempDir()
	secret, err := vault.Key(bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Create(filepath.Join(dir, vault.FileName), secret)
	if err != nil {
		t.Fatal(err)
	}
	f = keyFiles{vault: v}
	path = filepath.Join(dir, packetKeyFile)
	if err := f.write(path, packetKeyFile, key, seal); err != nil {
		t.Fatal(err)
	}
	return f, path
}

// reader opens a file, and returns what is in it later, also when it has no name any more.
func reader(t *testing.T, path string) func() []byte {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return func() []byte {
		b := make([]byte, 10_000)
		n, _ := file.ReadAt(b, 0) // it is shorter
		return b[:n]
	}
}

func isClear(b []byte) bool { return bytes.Contains(b, []byte("PRIVATE KEY")) }

// Wherever a crash interrupts the change, the next start ends it, the key is the same, and nothing of it stays in clear.
func TestSealKeyFile(t *testing.T) {
	key, err := crypt.GenerateKey(packetKeyBits)
	if err != nil {
		t.Fatal(err)
	}
	other := []byte("-----BEGIN PRIVATE KEY-----\nof long ago\n")
	for _, seal := range []bool{true, false} {
		for name, crash := range map[string]func(f keyFiles, path, old string) error{
			"nowhere": func(keyFiles, string, string) error { return nil },
			"before the new file": func(_ keyFiles, path, old string) error {
				return errors.Join(os.Link(path, old), os.WriteFile(filepath.Join(filepath.Dir(path), ".mix.key.123.tmp"), other, 0o600))
			},
			"before the old one is overwritten": func(f keyFiles, path, old string) error {
				return errors.Join(os.Link(path, old), f.write(path, packetKeyFile, key, seal))
			},
			"while it is": func(f keyFiles, path, old string) error {
				return errors.Join(os.Link(path, old), f.write(path, packetKeyFile, key, seal), durable.Overwrite(old))
			},
			"and the configuration was changed back": func(f keyFiles, path, old string) error {
				_, err := f.load(path, packetKeyFile, seal)
				return errors.Join(err, os.Link(path, old), f.write(path, packetKeyFile, key, !seal))
			},
		} {
			f, path := keyFile(t, key, !seal)
			before := reader(t, path)
			if err := crash(f, path, filepath.Join(filepath.Dir(path), ".mix.key.old.tmp")); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				got, err := f.load(path, packetKeyFile, seal)
				if err != nil || !got.Equal(key) {
					t.Fatalf("%s: %v, or another key", name, err)
				}
			}
			if now, err := os.ReadFile(path); err != nil || isClear(now) == seal {
				t.Errorf("%s: the new file: encrypted %v, want %v, error %v", name, !isClear(now), seal, err)
			}
			if isClear(before()) || vault.Sealed(before()) {
				t.Errorf("%s: the old content is still there", name)
			}
			if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(left) > 0 {
				t.Errorf("%s: left behind: %v, %v", name, left, err)
			}
		}
	}
}

// An encrypted key opens with its own master key and under its own name, and nothing is changed when it does not.
func TestSealedKeyFile(t *testing.T) {
	key, err := crypt.GenerateKey(packetKeyBits)
	if err != nil {
		t.Fatal(err)
	}
	f, path := keyFile(t, key, true)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := keyFile(t, key, true)
	for _, seal := range []bool{true, false} {
		if _, err := (keyFiles{}).load(path, packetKeyFile, seal); !errors.Is(err, ErrKeySealed) {
			t.Errorf("without the master key: %v", err)
		}
		if _, err := other.load(path, packetKeyFile, seal); !errors.Is(err, vault.ErrCorrupt) {
			t.Errorf("with another master key: %v", err)
		}
		if _, err := f.load(path, identityFile, seal); !errors.Is(err, vault.ErrCorrupt) {
			t.Errorf("under another name: %v", err)
		}
	}
	for i := range before {
		if i%97 != 0 {
			continue
		}
		bad := bytes.Clone(before)
		bad[i] ^= 1
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := f.load(path, packetKeyFile, false); err == nil {
			t.Errorf("byte %d changed: no error", i)
		}
	}
	if err := os.WriteFile(path, before, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (keyFiles{}).load(path, packetKeyFile, true); !errors.Is(err, ErrKeySealed) {
		t.Error(err)
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, before) {
		t.Errorf("the file was changed: %v", err)
	}
	clearPath := filepath.Join(t.TempDir(), packetKeyFile)
	if err := (keyFiles{}).write(clearPath, packetKeyFile, key, true); err == nil {
		t.Error("a key was written that should be encrypted, without a master key")
	}
}
