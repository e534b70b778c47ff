package oldbase

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mixminion/internal/clock"
	"mixminion/internal/config"
	"mixminion/internal/crypt"
	"mixminion/internal/store"
	"mixminion/mix"
)

// vector unpacks a base directory that 0.0.8 has made.
func vector(t testing.TB) (dir string) {
	t.Helper()
	dir = t.TempDir()
	f, err := os.Open("testdata/base.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(file, 0o700)
		} else {
			var text []byte
			if text, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(file, text, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

type expectation struct {
	All   []string `json:"replay_hashes_all"`
	KeyID string   `json:"replay_log_keyid"`
}

func expect(t testing.TB) (e expectation) {
	t.Helper()
	text, err := os.ReadFile("testdata/expect.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

func hexes(hashes [][hashLen]byte) (out []string) {
	for _, h := range hashes {
		out = append(out, hex.EncodeToString(h[:]))
	}
	slices.Sort(out)
	return out
}

func TestRead(t *testing.T) {
	dir, want := vector(t), expect(t)
	b, err := Read(UsualLayout(dir))
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Keys) != 1 || b.Keys[0].Err != nil || b.Packets != 0 {
		t.Fatalf("%+v", b)
	}
	k := b.Keys[0]
	slices.Sort(want.All)
	if got := hexes(k.Seen); !slices.Equal(got, want.All) {
		t.Errorf("hashes %v, want %v", got, want.All)
	}
	if id := crypt.NewKeyID(&k.Private.PublicKey); hex.EncodeToString(id[:]) != want.KeyID {
		t.Errorf("key %x, want %s", id, want.KeyID)
	}
	if !k.Descriptor.Identity.Equal(&b.Identity.PublicKey) {
		t.Error("another identity")
	}
}

// What is taken over opens no packet a second time, and is announced by a descriptor of our own.
func TestImport(t *testing.T) {
	b, err := Read(UsualLayout(vector(t)))
	if err != nil {
		t.Fatal(err)
	}
	k := b.Keys[0]
	cfg, _, err := SettingsOf(k.Descriptor)
	if err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	cfg.Main.BaseDir = config.Path(base)
	c, err := mix.FromConfig(cfg, base, "Mixminion test", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Clock = clock.NewManual(k.Descriptor.ValidAfter.Add(36 * time.Hour))
	key := mix.ImportedKey{Name: k.Name, Key: k.Private, Descriptor: k.Descriptor.Text(), Seen: k.Seen}
	if err := mix.Import(c, b.Identity, []mix.ImportedKey{key}); err != nil {
		t.Fatal(err)
	}
	if err := mix.Import(c, b.Identity, nil); err == nil {
		t.Error("imported a second time")
	}
	m, err := mix.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	descs := m.Descriptors()
	if m.Fresh() || len(descs) != 1 || !descs[0].PacketKey.Equal(&k.Private.PublicKey) || descs[0].Software != "Mixminion test" {
		t.Errorf("fresh: %v, %d descriptors", m.Fresh(), len(descs))
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(c.QueueDir, store.Options{Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	log, err := s.OpenLog(filepath.Join(c.KeyDir, k.Name, "replay"), k.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range append(expect(t).All, strings.Repeat("0f", hashLen)) {
		h, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		taken, err := s.Commit([]store.Entry{{Log: log, Replay: [hashLen]byte(h)}})
		if err != nil || taken[0] == slices.Contains(expect(t).All, text) {
			t.Errorf("%s: taken %v, %v", text, taken, err)
		}
	}
}

// A replay log that is not whole makes its key unusable, and the identity is taken over all the same.
func TestDamaged(t *testing.T) {
	log := func(dir, suffix string) string { return filepath.Join(dir, "work", "hashlogs", "hash_0001"+suffix) }
	change := func(suffix string, how func([]byte) []byte) func(string) error {
		return func(dir string) error {
			text, err := os.ReadFile(log(dir, suffix))
			if err != nil {
				return err
			}
			return os.WriteFile(log(dir, suffix), how(text), 0o600)
		}
	}
	for name, damage := range map[string]func(dir string) error{
		"journal torn":    change("_jrnl", func(b []byte) []byte { return append(b, "torn"...) }),
		"journal missing": func(dir string) error { return os.Remove(log(dir, "_jrnl")) },
		"index missing":   func(dir string) error { return os.Remove(log(dir, ".dir")) },
		"data missing":    func(dir string) error { return os.Remove(log(dir, ".dat")) },
		"index torn":      change(".dir", func(b []byte) []byte { return b[:len(b)-10] }),
		"index empty":     change(".dir", func([]byte) []byte { return nil }),
		"index short":     change(".dir", func(b []byte) []byte { return b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1] }),
		"index without one in the middle": change(".dir", func(b []byte) []byte {
			lines := bytes.SplitAfter(b, []byte("\n"))
			return bytes.Join(append(lines[:1:1], lines[2:]...), nil)
		}),
		"index twice":    change(".dir", func(b []byte) []byte { return append(b, b...) }),
		"index outside":  change(".dir", func(b []byte) []byte { return bytes.Replace(b, []byte("(512, 1)"), []byte("(51200, 1)"), 1) }),
		"no line":        change(".dir", func(b []byte) []byte { return append(b, "__import__('os')\n"...) }),
		"data short":     change(".dat", func(b []byte) []byte { return b[:len(b)-1] }),
		"data long":      change(".dat", func(b []byte) []byte { return append(b, make([]byte, 512)...) }),
		"data damaged":   change(".dat", func(b []byte) []byte { b[512] = '0'; return b }),
		"another key":    change(".dat", func(b []byte) []byte { b[3]++; return b }),
		"other database": func(dir string) error { return os.WriteFile(log(dir, ""), []byte("GDBM"), 0o600) },
		"no log": func(dir string) error {
			return os.RemoveAll(filepath.Join(dir, "work", "hashlogs"))
		},
		"key damaged": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "keys", "key_0001", "mix.key"), []byte("-----BEGIN PRIVATE KEY-----"), 0o600)
		},
		"descriptor missing": func(dir string) error { return os.Remove(filepath.Join(dir, "keys", "key_0001", "ServerDesc")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := vector(t)
			if err := damage(dir); err != nil {
				t.Fatal(err)
			}
			b, err := Read(UsualLayout(dir))
			if err != nil || b.Identity == nil || len(b.Keys) != 1 {
				t.Fatalf("%+v, %v", b, err)
			}
			if b.Keys[0].Err == nil {
				t.Error("the packet key was taken")
			}
			if len(b.Keys[0].Seen) > 0 {
				t.Error("there are hashes all the same")
			}
		})
	}
	dir := vector(t)
	if err := os.Remove(filepath.Join(dir, "keys", "identity.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(UsualLayout(dir)); !errors.Is(err, ErrNoBase) {
		t.Errorf("without an identity: %v", err)
	}
}

func TestJournal(t *testing.T) {
	owner := crypt.KeyID{1, 2, 3}
	data := append(append(owner[:], make([]byte, blockLen-hashLen)...), '1')
	first := bytes.Repeat([]byte{0xab}, hashLen)
	index := "'KEYID', (0, 20)\n'" + hex.EncodeToString(first) + "', (512, 1)\n"
	second := bytes.Repeat([]byte{0xcd}, hashLen)
	// The journal is emptied after its hashes went into the database: a crash between leaves them in both.
	got, err := ParseReplayLog([]byte(index), data, slices.Concat(second, first, second), owner)
	if err != nil || len(got) != 2 {
		t.Errorf("%x, %v", got, err)
	}
}

func TestSettingsOfDescriptor(t *testing.T) {
	b, err := Read(UsualLayout(vector(t)))
	if err != nil {
		t.Fatal(err)
	}
	d := b.Keys[0].Descriptor
	cfg, notes, err := SettingsOf(d)
	if err != nil || string(cfg.Main.Nickname) != d.Nickname || uint16(cfg.IncomingMMTP.Port) != d.Incoming.Port || !cfg.OutgoingMMTP.Enabled || len(notes) != 1 {
		t.Errorf("%+v, %q, %v", cfg, notes, err)
	}
	if cfg, notes, err = ParseSettings([]byte("[Server]\n[Delivery/SMTP]\nEnabled: yes\n"), "conf", d); err != nil || cfg.Main.ContactEmail == "" || cfg.DeliverySMTP.Enabled {
		t.Errorf("%q, %v", notes, err)
	}
	if _, _, err = ParseSettings([]byte("[Server]\n"), "conf", nil); err == nil {
		t.Error("no nickname, and nobody to ask")
	}
}

func FuzzReplayLog(f *testing.F) {
	dir := vector(f)
	var parts [3][]byte
	for i, suffix := range []string{".dir", ".dat", "_jrnl"} {
		var err error
		if parts[i], err = os.ReadFile(filepath.Join(dir, "work", "hashlogs", "hash_0001"+suffix)); err != nil {
			f.Fatal(err)
		}
	}
	owner := crypt.KeyID(parts[1][:hashLen])
	f.Add(parts[0], parts[1], parts[2])
	f.Add(parts[0], parts[1], make([]byte, 2*hashLen))
	f.Add([]byte("'KEYID', (0, 20)\n"), parts[1][:hashLen], []byte{})
	f.Fuzz(func(t *testing.T, index, data, journal []byte) {
		hashes, err := ParseReplayLog(index, data, journal, owner)
		if err != nil {
			if !errors.Is(err, ErrReplayLog) || hashes != nil {
				t.Fatalf("%v, %d hashes", err, len(hashes))
			}
			return
		}
		if seen := bytes.Count(index, []byte("\n")) - 1; len(hashes) < seen || len(hashes) > seen+len(journal)/hashLen {
			t.Fatalf("%d hashes of %d in the database and %d in the journal", len(hashes), seen, len(journal)/hashLen)
		}
	})
}

func FuzzSettings(f *testing.F) {
	f.Add([]byte("[Server]\nNickname a\nContact-Email=a@b.c\n[Incoming/MMTP]\nEnabled: y\n  es\n"))
	f.Add([]byte("[Server]\nMixInterval: never\n[Nonsense]\nx: y\n[Server]\n"))
	f.Add([]byte("x\n\n y\n[Delivery/SMTP]\n#\nEnabled: yes"))
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, _, err := ParseSettings(text, "conf", nil)
		if (cfg == nil) == (err == nil) {
			t.Fatalf("%v, %v", cfg, err)
		}
	})
}
