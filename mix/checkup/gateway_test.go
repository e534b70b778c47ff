package checkup_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mixminion/mix/checkup"
)

func TestGateway(t *testing.T) {
	base := t.TempDir()
	cfg := newConfig(t, base)
	about := func() (level checkup.Level, text string, n int) {
		t.Helper()
		for _, f := range checkup.Run(context.Background(), cfg, base, good()) {
			if f.About == "gateway" {
				level, text, n = f.Level, f.Text, n+1
			}
		}
		return level, text, n
	}
	if _, _, n := about(); n != 0 {
		t.Error("a gateway that is not enabled is checked")
	}
	cfg.Gateway.Enabled, cfg.Gateway.Address = true, "answer@mix.example"
	if level, text, _ := about(); level != checkup.Note || !strings.Contains(text, "answer@mix.example") {
		t.Errorf("without Maildir: %v, %s", level, text)
	}
	cfg.Gateway.Maildir = "box"
	if level, _, _ := about(); level != checkup.Problem {
		t.Errorf("no Maildir there: %v", level)
	}
	if err := os.MkdirAll(filepath.Join(base, "box", "new"), 0o700); err != nil {
		t.Fatal(err)
	}
	if level, text, _ := about(); level != checkup.OK {
		t.Errorf("with a Maildir: %v, %s", level, text)
	}
}
