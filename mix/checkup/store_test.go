package checkup_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mixminion/internal/store"
	"mixminion/mix/checkup"
)

// TestStore damages a slot of the key page of an encrypted store, and the run of a replay log.
func TestStore(t *testing.T) {
	base := t.TempDir()
	mkdirs(t, base)
	paths := newConfig(t, base).Paths(base)
	disk, err := store.Sealed(nil, [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(paths.QueueDir, 0o700), os.Mkdir(filepath.Join(paths.KeyDir, "key_0001"), 0o700)); err != nil {
		t.Fatal(err)
	}
	replay := filepath.Join(paths.KeyDir, "key_0001", "replay")
	s, err := store.Open(paths.QueueDir, store.Options{FS: disk, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	log, err := s.CreateLog(replay, "key_0001")
	if err == nil {
		_, err = s.Commit([]store.Entry{{Log: log, Replay: [20]byte{1}, Body: []byte("a packet")}})
	}
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	levels := func() (all []checkup.Level, text string) {
		for _, f := range checkup.Store(disk, paths) {
			all = append(all, f.Level)
			text += f.Text + "\n" + f.Mend + "\n"
		}
		return all, text
	}
	if all, text := levels(); len(all) != 2 || all[0] != checkup.OK || all[1] != checkup.OK {
		t.Errorf("nothing is damaged: %v, %s", all, text)
	}
	for _, name := range []string{filepath.Join(paths.QueueDir, "keys"), filepath.Join(replay, "run-0000000001")} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := 128; i < len(b); i++ {
			b[i] ^= 1
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, text := levels()
	for _, want := range []string{".seg: packet: ", "run-0000000001: run of a replay log", "look whether the disk has errors"} {
		if !strings.Contains(text, want) {
			t.Errorf("not found: %s in %v %s", want, all, text)
		}
	}
	if err := os.Remove(filepath.Join(replay, "manifest")); err != nil {
		t.Fatal(err)
	}
	if _, text := levels(); !strings.Contains(text, "there is none in "+replay) {
		t.Errorf("a log without manifest: %s", text)
	}
	if disk, err = store.Sealed(nil, [32]byte{2}); err != nil {
		t.Fatal(err)
	}
	if all, text := levels(); all[0] != checkup.Problem || !strings.Contains(text, store.ErrKey.Error()) {
		t.Errorf("with another key: %v %s", all, text)
	}
}
