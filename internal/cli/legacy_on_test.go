//go:build legacytls

package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"mixminion/internal/testnet/oldnode"
	"mixminion/internal/testnet/testdir"
)

// What a user sees who names a mix of series 0.0.8 as the first one.
func TestLegacyCommands(t *testing.T) {
	keys := testdir.Keys()
	node, err := oldnode.Start("hazel", keys[0], keys[1], time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	})
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("MIXMINIONRC", "")
	file := filepath.Join(home, "hazel")
	if err := os.WriteFile(file, node.Descriptor, 0o600); err != nil {
		t.Fatal(err)
	}
	const old = `links to it are of an old kind \(TLS 1\.0\), which can be broken`
	for _, c := range []struct {
		args  []string
		mails int
		out   string // standard output
		said  string // standard error
	}{
		{[]string{"send", "-t", "bob@example.com", "-P", file + ":" + file}, 1, `^$`, old + `(?s).*Done: the network has your message`},
		{[]string{"import-server", file}, 0, `^$`, `Imported hazel`},
		{[]string{"send", "--no-queue", "-t", "bob@example.com", "-P", "hazel:hazel"}, 1, `^$`, old + `(?s).*Done: the network has your message`},
		{[]string{"queue", "-t", "bob@example.com", "-P", "hazel:hazel"}, 0, `^$`, old + `(?s).*1 packet waits`},
		{[]string{"flush"}, 1, `^$`, `Warning: the link to 127\.0\.0\.1:\d+ is of an old kind(?s).*Done: the network has 1 packet`},
		{[]string{"ping", "hazel", file}, 0, `hazel is up\n(?s).*is up\n$`, `(?s)Warning: links to hazel are of an old kind.*Warning: links to \S*hazel are of an old kind`},
		{[]string{"ping", node.Hop.String()}, 0, `is down`, `WARNING: ping connects`},
	} {
		var out, said bytes.Buffer
		status := Mixminion(c.args, bytes.NewReader([]byte("Hello.\n")), &out, &said)
		if status != 0 || !regexp.MustCompile(c.out).Match(out.Bytes()) || !regexp.MustCompile(c.said).Match(said.Bytes()) {
			t.Errorf("%v: status %d, output %q, errors %q", c.args, status, out.String(), said.String())
		}
		if len(node.Mails) != c.mails {
			t.Errorf("%v: %d mails", c.args, len(node.Mails))
		}
		for range len(node.Mails) {
			if m := <-node.Mails; m.Body != "Hello.\n" {
				t.Errorf("%v: %+v", c.args, m)
			}
		}
	}
}
