//go:build !legacytls

package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mixminion/directory"
	"mixminion/internal/testnet/freeport"
	"mixminion/internal/testnet/testdir"
)

// A program without legacy links says so to those who name a mix of series 0.0.8 as the first one.
func TestLegacyCommandsAreRefused(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("MIXMINIONRC", "")
	port := freeport.Port(t)
	hazel, err := testdir.Server("hazel", 0, time.Now().UTC().Truncate(24*time.Hour), func(f *directory.Fields) {
		f.Incoming.Hostname, f.Incoming.Port, f.Incoming.TLS, f.Outgoing.TLS = "127.0.0.1", port, nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(home, "hazel")
	if err := os.WriteFile(file, hazel.Text(), 0o600); err != nil {
		t.Fatal(err)
	}
	const built = "this program was built without legacy links (go build -tags legacytls)"
	for _, c := range []struct {
		args   []string
		status int
		said   string
	}{
		{[]string{"send", "-t", "drop", "-P", file + ":" + file}, 1, "hazel cannot be the first hop, because it takes no links of TLS 1.3, " +
			"as mixes of series 0.0.8 do not; name another one in front of it; " + built},
		{[]string{"queue", "-t", "drop", "-P", file + ":" + file}, 1, built},
		{[]string{"ping", file}, 0, built},
	} {
		var out, said bytes.Buffer
		status := Mixminion(c.args, strings.NewReader(""), &out, &said)
		if all := out.String() + said.String(); status != c.status || !strings.Contains(all, c.said) {
			t.Errorf("%v: status %d, %q", c.args, status, all)
		}
	}
	if left, err := filepath.Glob(filepath.Join(home, ".mixminion", "queue", "*")); err != nil || len(left) > 0 {
		t.Errorf("%v in the queue, %v", left, err)
	}
}
