package mix_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
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

// TestDamagedSlot damages the key of a packet that waits: the packet is given up, and the operator is told.
func TestDamagedSlot(t *testing.T) {
	r := newRig(t, func(c *mix.Config) {
		var err error
		if c.Vault, err = testVault(t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}).run()
	next := newFakeHop(t, r.clk, 0)
	p, _ := r.relayed(next.Node)
	q, digest := r.relayed(next.Node)
	r.mustSend(p)
	r.close()
	page := filepath.Join(r.cfg.QueueDir, "keys")
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for i := 128; i < len(b); i++ {
		b[i] ^= 1
	}
	if err := os.WriteFile(page, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r.open().run()
	if r.mix.Status().Damaged {
		t.Error("damage is told before it is found")
	}
	r.mustSend(q)
	r.mixOnce()
	eventually(t, "the packet that is not damaged goes on", func() bool { return next.times(digest) == 1 })
	if !r.mix.Status().Damaged || !strings.Contains(r.log.String(), "a packet cannot be read and is lost") {
		t.Error("the damage is not told")
	}
	if c := r.mix.Counts(); c.Corrupt != 1 || c.Mixed != 1 {
		t.Errorf("%+v", c)
	}
}
