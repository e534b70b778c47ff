package client_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mixminion/client"
	"mixminion/message"
	"mixminion/message/keyring"
)

func TestKeyring(t *testing.T) {
	c, clk, home := newHome(t)
	empty, err := c.Keyring([]byte("any"))
	if err != nil || len(empty.Keys()) != 0 {
		t.Fatalf("%d keys without a file: %v", len(empty.Keys()), err)
	}
	if got := c.Keys(empty); len(got.Identities) != 0 || len(got.Private) != 0 {
		t.Errorf("an empty keyring opens messages with %+v", got)
	}
	ring, secret := identity(t, "Twain", noon)
	for _, password := range []string{"", "one", "another"} { // each replaces the one before
		if err := saveKeyring(t, c, ring, []byte(password)); err != nil {
			t.Fatal(err)
		}
		again, err := c.Keyring([]byte(password))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(ring.Keys(), again.Keys()); d != "" {
			t.Error(d)
		}
		if _, err := c.Keyring([]byte(password + "x")); !errors.Is(err, keyring.ErrPassword) {
			t.Errorf("wrong password: %v", err)
		}
	}
	file := filepath.Join(home, "keys", "keyring.txt")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, secret) || bytes.Contains(bytes.ToLower(text), []byte("twain")) {
		t.Error("the file shows what it should hide")
	}
	if list, err := os.ReadDir(filepath.Join(home, "keys")); err != nil || len(list) != 1 {
		t.Errorf("files %v: %v", list, err)
	}

	want := []message.Identity{{Name: "twain", Secret: secret}}
	if d := cmp.Diff(want, c.Keys(ring).Identities); d != "" {
		t.Error(d)
	}
	clk.Advance(keyring.Lifetime + day)
	if got := c.Keys(ring).Identities; len(got) != 0 {
		t.Errorf("an expired secret is still used")
	}

	for name, damaged := range map[string][]byte{"empty": nil, "cut off": text[:len(text)/2], "other": []byte("hello")} {
		if err := os.WriteFile(file, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Keyring([]byte("another")); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Keyring(nil); err == nil {
		t.Error("a directory was read")
	}
	if err := saveKeyring(t, c, ring, nil); err == nil {
		t.Error("a directory was replaced")
	}
}

func TestKeyringOfFirstImplementation(t *testing.T) {
	const testdata = "../message/keyring/testdata"
	text, err := os.ReadFile(filepath.Join(testdata, "keyring"))
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Password string
		Keys     []struct {
			Identity string
			Expires  int64
		}
	}
	readJSON(t, filepath.Join(testdata, "keyring.json"), &want)
	c, clk, home := newHome(t)
	if err := os.WriteFile(filepath.Join(home, "keys", "keyring.txt"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Keyring([]byte("x" + want.Password)); !errors.Is(err, keyring.ErrPassword) {
		t.Errorf("wrong password: %v", err)
	}
	ring, err := c.Keyring([]byte(want.Password))
	if err != nil {
		t.Fatal(err)
	}
	first := want.Keys[0].Expires
	for _, k := range want.Keys {
		first = min(first, k.Expires)
	}
	clk.Advance(time.Unix(first, 0).Sub(noon))
	if got := c.Keys(ring).Identities; len(got) != len(want.Keys) {
		t.Errorf("%d identities, want %d", len(got), len(want.Keys))
	}
	// It stays readable when this program has written it.
	if err := saveKeyring(t, c, ring, []byte(want.Password)); err != nil {
		t.Fatal(err)
	}
	again, err := c.Keyring([]byte(want.Password))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(ring.Keys(), again.Keys()); d != "" {
		t.Error(d)
	}
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, home := range []string{file, filepath.Join(file, "home")} {
		if _, err := client.Open(home, client.Options{}); err == nil {
			t.Errorf("%s was opened", home)
		}
	}
	home := t.TempDir()
	c, err := client.Open(home, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(home, "imported")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Servers(); err == nil {
		t.Error("no error without the directory")
	}
	if _, err := importTexts(t, c, nil); err == nil {
		t.Error("no error without the directory")
	}
}
