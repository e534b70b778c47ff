package backup

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"mixminion/internal/config"
)

// source makes a base directory with one file of each kind, and what a backup is made of.
func source(t *testing.T) (*Source, string) {
	t.Helper()
	base := filepath.Join(t.TempDir(), "base")
	text := "[Server]\nNickname: north\nContact-Email: op@example.com\nBaseDir: " + base + "\n[Incoming/MMTP]\nEnabled: yes\nHostname: 127.0.0.1\n" +
		"[Delivery/SMTP]\nEnabled: yes\nReturnAddress: a@b.example\nSMTPServer: localhost\nBlacklistFile: lists/black\n" +
		"[Directory]\nEnabled: yes\nListen: 127.0.0.1:0\nURL: http://127.0.0.1/\n"
	cfg, err := config.ParseServer([]byte(text), "test")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"keys/identity.key": "the identity", "keys/key_0001/mix.key": "a packet key", "keys/key_0001/replay/manifest": "a log",
		"keys/key_0001/ServerDesc": "descriptor", "keys/current-desc": "descriptors",
		"work/queues/0000000001.seg": "packets", "work/queues/lock": "", "work/queues/ballast": "random", "work/queues/x.tmp": "half",
		"stats": "counts", "vault": "a wrapped key", "log": "lines", "optout/list": "hashes", "optout/key": "k", "optout/lock": "",
		"gateway/blocks-2951/manifest": "another log",
		"lists/black":                  "somebody", "directory/identity.key": "the authority", "directory/decisions": "yes and no", "directory/descriptors/x": "d",
	} {
		file := filepath.Join(base, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &Source{
		Config: cfg, Text: []byte(text), Home: t.TempDir(), Software: "Mixminion test", Now: time.Unix(0, 0), Identity: []byte("the identity"),
	}, base
}

// archive writes one and returns how to read it.
func (s *Source) archive(t *testing.T, kind Kind) (data []byte, read func([]byte) (*Reader, error)) {
	t.Helper()
	m, items, missing, err := s.Collect(kind)
	if err != nil || len(missing) > 0 {
		t.Fatal(err, missing)
	}
	key := testKey(t)
	var out bytes.Buffer
	if err := Write(&out, m, items, key.Recipient()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), func(b []byte) (*Reader, error) { return NewReader(bytes.NewReader(b), key) }
}

// at is the place of a configuration that has another base directory.
func (s *Source) at(t *testing.T, base string) Place {
	t.Helper()
	cfg, err := config.ParseServer(config.WithBaseDir(s.Text, base), "test")
	if err != nil {
		t.Fatal(err)
	}
	return Place{Config: cfg, Home: s.Home}
}

// files lists what lies below a directory.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		out[filepath.ToSlash(rel)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRestore(t *testing.T) {
	s, base := source(t)
	before := files(t, base)
	never := []string{"work/queues/lock", "work/queues/ballast", "work/queues/x.tmp", "optout/lock", "log", "keys/current-desc", "directory/descriptors/x"}
	moving := []string{"keys/key_0001/mix.key", "keys/key_0001/replay/manifest", "keys/key_0001/ServerDesc", "work/queues/0000000001.seg", "stats", "vault", "gateway/blocks-2951/manifest"}
	for kind, without := range map[Kind][]string{Identity: append(never[:len(never):len(never)], moving...), Move: never} {
		data, read := s.archive(t, kind)
		a, err := read(data)
		if err != nil {
			t.Fatal(err)
		}
		there := filepath.Join(t.TempDir(), "sub", "there")
		if _, _, err := Restore(a, s.at(t, there)); err != nil {
			t.Fatal(err)
		}
		if err := CheckMark(there); !errors.Is(err, ErrUnusable) {
			t.Errorf("before it is finished: %v", err)
		}
		if err := ClearMark(there); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{}
		for name, text := range before {
			want[name] = text
		}
		for _, name := range without {
			delete(want, name)
		}
		got := files(t, there)
		for name, text := range want {
			if got[name] != text {
				t.Errorf("%s: %s is %q, want %q", kind, name, got[name], text)
			}
			delete(got, name)
		}
		for name := range got {
			t.Errorf("%s: %s should not be there", kind, name)
		}
		// A second time there is something in the way.
		if a, err = read(data); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Restore(a, s.at(t, there)); !errors.Is(err, ErrNotEmpty) {
			t.Errorf("%s: into what is not empty: %v", kind, err)
		}
	}
	if after := files(t, base); len(after) != len(before) {
		t.Error("the base directory changed")
	}
}

// An archive that is not whole leaves nothing behind, wherever it ends.
func TestRestoreIncomplete(t *testing.T) {
	s, _ := source(t)
	// Long enough for several chunks of age.
	s.Identity = bytes.Repeat([]byte("long"), 50_000)
	data, read := s.archive(t, Move)
	parent := t.TempDir()
	tried := 0
	for n := len(data) - 1; n > 0; n -= 9973 {
		a, err := read(data[:n])
		if err != nil {
			continue // nothing has been written yet
		}
		tried++
		if _, _, err := Restore(a, s.at(t, filepath.Join(parent, "x", "there"))); !errors.Is(err, ErrIncomplete) {
			t.Errorf("after %d of %d bytes: %v", n, len(data), err)
		}
		if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
			t.Fatalf("after %d bytes something is left: %v, %v", n, left, err)
		}
	}
	if tried < 5 {
		t.Errorf("only %d lengths tried", tried)
	}
}

// A directory that the configuration names by a link, with directories and links in it, is there as a whole.
func TestRestoreNamedDirectory(t *testing.T) {
	outside := t.TempDir()
	for name, content := range map[string]string{"a/x": "first", "b/x": "second", "y": "third"} {
		file := filepath.Join(outside, "real", filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(outside, "link")
	if err := errors.Join(os.Symlink("real", link), os.Symlink("../y", filepath.Join(outside, "real", "a", "z"))); err != nil {
		if runtime.GOOS != "windows" {
			t.Fatal(err)
		}
		t.Skip("there are no symbolic links here:", err)
	}
	s, _ := source(t)
	s.Text = bytes.Replace(s.Text, []byte("BlacklistFile:"), []byte("TemplateDir: "+link+"\nBlacklistFile:"), 1)
	cfg, err := config.ParseServer(s.Text, "test")
	if err != nil {
		t.Fatal(err)
	}
	s.Config = cfg
	data, read := s.archive(t, Identity)
	a, err := read(data)
	if err != nil {
		t.Fatal(err)
	}
	there := filepath.Join(t.TempDir(), "there")
	done, _, err := Restore(a, s.at(t, there))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"a/x": "first", "b/x": "second", "y": "third", "a/z": "third"} {
		want := filepath.Join(link, filepath.FromSlash(name))
		if got, err := os.ReadFile(done.Elsewhere[want]); err != nil || string(got) != content {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestMark(t *testing.T) {
	dir := t.TempDir()
	if err := CheckMark(dir); err != nil {
		t.Fatal(err)
	}
	if err := SetMark(dir, "for a reason"); err != nil {
		t.Fatal(err)
	}
	if err := CheckMark(dir); !errors.Is(err, ErrUnusable) || !strings.HasSuffix(err.Error(), "for a reason") {
		t.Errorf("%v", err)
	}
	if err := ClearMark(dir); err != nil {
		t.Fatal(err)
	}
	if err := CheckMark(dir); err != nil {
		t.Error(err)
	}
}
