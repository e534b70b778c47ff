package cli

import (
	"bytes"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mixminion/client"
)

// hook is standard error that does something when a text comes by.
type hook struct {
	bytes.Buffer
	text string
	do   func()
	once sync.Once
}

func (h *hook) Write(p []byte) (int, error) {
	n, err := h.Buffer.Write(p)
	if strings.Contains(h.String(), h.text) {
		h.once.Do(h.do)
	}
	return n, err
}

// A command that would change the home directory waits for another one, and says so once.
func TestCommandsWait(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("MIXMINIONRC", "")
	c, err := client.Open(filepath.Join(home, ".mixminion"), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mixes := offlineMixes(t)
	const waiting = "Waiting for another mixminion to finish.\n"
	for _, cmd := range []struct {
		args string
		in   []byte
		then string
	}{
		{"import-server -", mixes, "Imported mix0"},
		{"flush", nil, "No packets wait."},
		{"clean-queue", nil, "No packets to remove"},
		{"queue -t drop", nil, "1 packet waits in the queue"},
		{"send -t drop", nil, "kept in the queue"},
	} {
		unlock, err := c.Lock(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		errOut := &hook{text: waiting, do: func() {
			if err := unlock(); err != nil {
				t.Error(err)
			}
		}}
		var out bytes.Buffer
		status := Mixminion(strings.Fields(cmd.args), bytes.NewReader(cmd.in), &out, errOut)
		if status != 0 || out.Len() > 0 || strings.Count(errOut.String(), waiting) != 1 || !strings.Contains(errOut.String(), cmd.then) {
			t.Errorf("%s: status %d, output %q, errors %q", cmd.args, status, out.String(), errOut.String())
		}
	}
	// Who only looks does not wait.
	unlock, err := c.Lock(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	if status := Mixminion([]string{"inspect-queue"}, new(bytes.Reader), &out, &errOut); status != 0 || errOut.Len() > 0 || !strings.Contains(out.String(), " for mix") {
		t.Errorf("status %d, output %q, errors %q", status, out.String(), errOut.String())
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
}
