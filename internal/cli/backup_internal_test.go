package cli

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mixminion/internal/config"
	"mixminion/mix/backup"

	"filippo.io/age"
)

// A witness is what an archive is encrypted to. It looks around in the moment that the writing begins.
type witness func() error

func (w witness) Wrap([]byte) ([]*age.Stanza, error) { return nil, w() }

var errSeen = errors.New("seen enough")

// Before a byte of a move is written the source cannot be used any more; and if the move comes to nothing, it can again.
func TestMoveMarksFirst(t *testing.T) {
	base, target := t.TempDir(), filepath.Join(t.TempDir(), "moved")
	cfg := config.DefaultServer()
	cfg.Main.BaseDir = config.Path(base)
	src := &backup.Source{Config: cfg, Now: time.Unix(0, 0)}
	s := &streams{out: io.Discard, err: io.Discard, quiet: true}
	saw := false
	err := moveTo(s, src, target, base, []age.Recipient{witness(func() error {
		saw = true
		if err := backup.CheckMark(base); !errors.Is(err, backup.ErrUnusable) {
			t.Errorf("while the archive is written: %v", err)
		}
		if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the archive has its name already: %v", err)
		}
		return errSeen
	})})
	if !saw || !errors.Is(err, errSeen) {
		t.Errorf("seen: %v, error: %v", saw, err)
	}
	if err := backup.CheckMark(base); err != nil {
		t.Errorf("after a move that came to nothing: %v", err)
	}
	left, err := os.ReadDir(filepath.Dir(target))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if err := moveTo(s, src, target, base, []age.Recipient{key.Recipient()}); err != nil {
		t.Fatal(err)
	}
	if err := backup.CheckMark(base); !errors.Is(err, backup.ErrUnusable) {
		t.Errorf("after the move: %v", err)
	}
}
