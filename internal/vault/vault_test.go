package vault

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func testKey(t testing.TB, fill byte) Secret {
	t.Helper()
	s, err := Key(bytes.Repeat([]byte{fill}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault")
	if _, err := Open(path, testKey(t, 'a')); !errors.Is(err, ErrNoVault) {
		t.Errorf("open without a file: %v", err)
	}
	v, err := Create(path, testKey(t, 'a'))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the file: %v, %v", info.Mode(), err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) != fileLen || bytes.Contains(data, v.master[:]) {
		t.Errorf("a file of %d bytes, or with the master key in it", len(data))
	}
	if _, err := Create(path, testKey(t, 'b')); !errors.Is(err, ErrExists) {
		t.Errorf("a second master key: %v", err)
	}
	if _, err := Open(path, testKey(t, 'b')); !errors.Is(err, ErrWrongKey) {
		t.Errorf("wrong key: %v", err)
	}
	again, err := Open(path, testKey(t, 'a'))
	if err != nil {
		t.Fatal(err)
	}
	if again.master != v.master {
		t.Error("another master key came back")
	}
	old, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = old.Close() }()
	if runtime.GOOS == "windows" {
		_ = old.Close() // a file that is open is not replaced there
	}
	if err := again.Lock(path, testKey(t, 'c')); err != nil {
		t.Fatal(err)
	}
	if left, err := io.ReadAll(old); runtime.GOOS != "windows" && (err != nil || !bytes.Equal(left, make([]byte, fileLen))) {
		t.Errorf("the file of the old lock holds %x, %v", left, err)
	}
	if _, err := Open(path, testKey(t, 'a')); !errors.Is(err, ErrWrongKey) {
		t.Errorf("the old key after a change: %v", err)
	}
	if again, err = Open(path, testKey(t, 'c')); err != nil || again.master != v.master {
		t.Errorf("the new key after a change: %v", err)
	}
	again.Wipe()
	if again.master != [KeyLen]byte{} {
		t.Error("not wiped")
	}
	if now, err := os.ReadFile(path); err != nil || bytes.Equal(now, data) {
		t.Errorf("the file is as before: %v", err)
	}
}

// TestPassphrase uses a low cost.
func TestPassphrase(t *testing.T) {
	secret, err := Passphrase([]byte("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	v := &Vault{master: [KeyLen]byte{1}}
	data, err := v.wrap(rand.Reader, secret, 4)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := unwrap(data, secret); err != nil || again.master != v.master {
		t.Errorf("the right passphrase: %v", err)
	}
	wrong, err := Passphrase([]byte("correct hors"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unwrap(data, wrong); !errors.Is(err, ErrWrongKey) {
		t.Errorf("a wrong passphrase: %v", err)
	}
	if _, err := unwrap(data, testKey(t, 'a')); !errors.Is(err, ErrWrongKey) {
		t.Errorf("a key in place of a passphrase: %v", err)
	}
	if _, err := Passphrase(nil); !errors.Is(err, ErrWeakKey) {
		t.Errorf("an empty passphrase: %v", err)
	}
	secret.Wipe()
	if !bytes.Equal(secret.bytes, make([]byte, len("correct horse"))) {
		t.Error("not wiped")
	}
}

func TestDamagedVault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault")
	if _, err := Create(path, testKey(t, 'a')); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 4
		if _, err := unwrap(bad, testKey(t, 'a')); !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	for _, n := range []int{0, 1, fileLen - 1} {
		if _, err := unwrap(data[:n], testKey(t, 'a')); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if err := os.WriteFile(path, append(data, 0), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, testKey(t, 'a')); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte too much: %v", err)
	}
}

func TestSeal(t *testing.T) {
	v, other := &Vault{master: [KeyLen]byte{1}}, &Vault{master: [KeyLen]byte{2}}
	for _, plain := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("secret "), 1000)} {
		box, err := v.Seal("identity.key", plain)
		if err != nil {
			t.Fatal(err)
		}
		again, err := v.Seal("identity.key", plain)
		if err != nil || bytes.Equal(again, box) {
			t.Errorf("two boxes are equal: %v", err)
		}
		if !Sealed(box) || len(plain) > 1 && bytes.Contains(box, plain[:7]) {
			t.Error("the box is not sealed")
		}
		got, err := v.Open("identity.key", box)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("open: %v", err)
		}
		if _, err := v.Open("mix.key", box); !errors.Is(err, ErrCorrupt) {
			t.Errorf("another name: %v", err)
		}
		if _, err := other.Open("identity.key", box); !errors.Is(err, ErrCorrupt) {
			t.Errorf("another vault: %v", err)
		}
		for _, bad := range [][]byte{nil, plain, box[:len(box)-1], box[:12], append(bytes.Clone(box), 0)} {
			if _, err := v.Open("identity.key", bad); !errors.Is(err, ErrCorrupt) {
				t.Errorf("bad box of %d bytes: %v", len(bad), err)
			}
		}
	}
}

func TestSubkeys(t *testing.T) {
	v := &Vault{master: [KeyLen]byte{1}}
	seen := map[[KeyLen]byte]string{v.master: "master key"}
	for _, label := range []string{"", "store", "stor", "identity"} {
		key, err := v.Subkey(label)
		if err != nil {
			t.Fatal(err)
		}
		if was, ok := seen[key]; ok {
			t.Errorf("%q and %q are equal", label, was)
		}
		seen[key] = label
		if again, err := v.Subkey(label); err != nil || again != key {
			t.Errorf("%q differs the second time: %v", label, err)
		}
	}
}

func TestSources(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const key = "0123456789abcdef0123456789abcdef"
	good := write("good", key+"\n", 0o600)
	a, err := KeyFile(good)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := Key([]byte(key)); err != nil || !bytes.Equal(a.bytes, b.bytes) {
		t.Errorf("a line end changes the key: %v", err)
	}
	if b, err := Credential(dir, "good"); err != nil || !bytes.Equal(a.bytes, b.bytes) {
		t.Errorf("credential: %v", err)
	}
	if _, err := KeyFile(write("short", key[1:]+"\n", 0o600)); !errors.Is(err, ErrWeakKey) {
		t.Errorf("short key: %v", err)
	}
	if _, err := KeyFile(write("long", string(make([]byte, maxKey+1)), 0o600)); !errors.Is(err, ErrWeakKey) {
		t.Errorf("long key: %v", err)
	}
	if _, err := KeyFile(write("open", key, 0o644)); runtime.GOOS != "windows" && !errors.Is(err, ErrExposed) {
		t.Errorf("readable by all: %v", err)
	}
	if _, err := KeyFile(filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	for _, name := range []string{"", "..", ".", "../good", "missing"} {
		if _, err := Credential(dir, name); !errors.Is(err, ErrNoCredential) {
			t.Errorf("credential %q: %v", name, err)
		}
	}
	if _, err := Credential("", "good"); !errors.Is(err, ErrNoCredential) {
		t.Errorf("without a service manager: %v", err)
	}
}

func FuzzVault(f *testing.F) {
	v := &Vault{master: [KeyLen]byte{1}}
	zero := bytes.NewReader(make([]byte, 1000))
	good, err := v.wrap(zero, Secret{bytes: make([]byte, 32)}, logN)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, true)
	f.Add(good[:50], false)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, data []byte, passphrase bool) {
		if len(data) > 12 && data[8] == kdfScrypt && data[9] > 4 {
			return // too dear for a fuzz test
		}
		got, err := unwrap(data, Secret{bytes: make([]byte, 32), passphrase: passphrase})
		if err == nil && got.master != v.master {
			t.Error("a master key that nobody sealed")
		}
		if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrWrongKey) {
			t.Errorf("error %v", err)
		}
	})
}
