package checkup_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mixminion/internal/vault"
	"mixminion/mix/checkup"
)

func TestStoreKey(t *testing.T) {
	base := t.TempDir()
	mkdirs(t, base)
	cfg := newConfig(t, base)
	name := filepath.Join(t.TempDir(), "store.key")
	write := func(content string, mode os.FileMode) {
		t.Helper()
		if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(level checkup.Level, text string) {
		t.Helper()
		for _, f := range checkup.Run(t.Context(), cfg, base, good()) {
			if f.About == "store key" {
				if f.Level != level || !strings.Contains(f.Text, text) {
					t.Errorf("found %s %q, want %s %q", f.Level, f.Text, level, text)
				}
				return
			}
		}
		t.Errorf("nothing was found, want %q", text)
	}
	if err := cfg.Main.StoreKey.Set("file " + name); err != nil {
		t.Fatal(err)
	}
	expect(checkup.Problem, "no such file")
	const key = "as long as a key must be, and a little longer"
	write(key, 0o600)
	expect(checkup.Note, "the next start makes it")
	secret, err := vault.KeyFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vault.Create(filepath.Join(base, vault.FileName), secret); err != nil {
		t.Fatal(err)
	}
	expect(checkup.OK, "opens the master key")
	write("another key, also as long as a key must be at least", 0o600)
	expect(checkup.Problem, "wrong key")
	write(key, 0o644)
	expect(checkup.Problem, "other users can read")
	if err := cfg.Main.StoreKey.Set("none"); err != nil {
		t.Fatal(err)
	}
	expect(checkup.Problem, "StoreKey is none")
}
