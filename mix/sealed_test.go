package mix_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"mixminion/internal/store"
	"mixminion/internal/vault"
	"mixminion/mix"
)

// TestEncryptMix gives a StoreKey to a mix that had none, and takes it away again.
func TestEncryptMix(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cfg := testConfig(dir, l)
	open := func() error {
		m, err := mix.Open(cfg)
		if err != nil {
			return err
		}
		return m.Close()
	}
	if err := open(); err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(dir, "keys", "key_0001", "replay", "manifest")
	inClear := func() bool {
		t.Helper()
		b, err := os.ReadFile(manifest)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(b, []byte("key_0001"))
	}
	if !inClear() {
		t.Error("the replay log is not where the test looks")
	}
	key, err := os.ReadFile(filepath.Join(dir, "keys", "key_0001", "mix.key"))
	if err != nil {
		t.Fatal(err)
	}

	if cfg.Vault, err = testVault(dir); err != nil {
		t.Fatal(err)
	}
	if err := open(); err != nil {
		t.Fatal(err)
	}
	if inClear() {
		t.Error("the replay log is in clear")
	}
	rep, err := store.Check(testDisk(t, dir), cfg.QueueDir)
	if err != nil || len(rep.Damage) > 0 {
		t.Errorf("check: %+v, %v", rep, err)
	}

	mine := cfg.Vault
	cfg.Vault = nil
	if err := open(); !errors.Is(err, store.ErrSealed) {
		t.Errorf("without the key: %v", err)
	}
	secret, err := vault.Key(make([]byte, 40))
	if err == nil {
		cfg.Vault, err = vault.Create(filepath.Join(t.TempDir(), "vault"), secret)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := open(); !errors.Is(err, store.ErrKey) {
		t.Errorf("with another master key: %v", err)
	}

	// The queues alone are gone: neither does the mix go on without its replay logs, nor destroy the keys that they belong to.
	if err := os.RemoveAll(cfg.QueueDir); err != nil {
		t.Fatal(err)
	}
	if err := open(); !errors.Is(err, store.ErrKey) {
		t.Errorf("with another master key, and no queues: %v", err)
	}
	if err := os.RemoveAll(cfg.QueueDir); err != nil {
		t.Fatal(err)
	}
	cfg.Vault = nil
	if err := open(); !errors.Is(err, store.ErrSealed) {
		t.Errorf("without the key, and no queues: %v", err)
	}
	if err := os.RemoveAll(cfg.QueueDir); err != nil {
		t.Fatal(err)
	}
	cfg.Vault = mine
	if err := open(); err != nil {
		t.Error(err)
	}
	if now, err := os.ReadFile(filepath.Join(dir, "keys", "key_0001", "mix.key")); err != nil || !bytes.Equal(now, key) {
		t.Errorf("the packet key is another one: %v", err)
	}
}
