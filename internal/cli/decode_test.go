package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mixminion/client"
	"mixminion/message"
)

func received(body string) *client.Received { return &client.Received{Body: []byte(body)} }

func TestSafe(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "Hello\r\n\tyou": true, "sch\u00f6n": true, "\u65e5\u672c": true,
		"\x1b[2J": false, "a\x07": false, "\x00": false, "\x7f": false, "\u009b2J": false, "\xff": false, "sch\xf6n": false, "\x9b2J": false,
	} {
		if safe([]byte(text)) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}

func TestOutputTerminal(t *testing.T) {
	var shown bytes.Buffer
	o := &output{w: bufio.NewWriter(&shown), terminal: true}
	if err := o.write(received("\x1b[2J")); !errors.Is(err, errBinary) {
		t.Errorf("error %v", err)
	}
	if err := o.write(&client.Received{Headers: []byte("SUBJECT:\x1b\n\n")}); !errors.Is(err, errBinary) {
		t.Errorf("error %v", err)
	}
	if err := o.write(received("Hello\n")); err != nil {
		t.Error(err)
	}
	o.force = true
	if err := o.write(received("\x00")); err != nil {
		t.Error(err)
	}
	if err := o.commit(); err != nil || shown.String() != "Hello\n\x00" {
		t.Errorf("%q: %v", shown.String(), err)
	}
}

// A file changes only when all is written, keeps its name and its links, and is for its owner alone.
func TestOutputFile(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := os.WriteFile(real, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	content := func() string {
		text, err := os.ReadFile(real)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	write := func(name string, commit bool) {
		t.Helper()
		o, err := newOutput(&streams{}, name, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.write(&client.Received{Headers: []byte("SUBJECT:x\n\n"), Body: []byte("\x00new")}); err != nil {
			t.Fatal(err)
		}
		if content() != "old" {
			t.Errorf("%q before the end", content())
		}
		if commit {
			if err := o.commit(); err != nil {
				t.Fatal(err)
			}
		}
		if err := o.close(); err != nil {
			t.Fatal(err)
		}
	}
	write(link, false)
	if content() != "old" {
		t.Errorf("%q after an error", content())
	}
	write(link, true)
	if content() != "SUBJECT:x\n\n\x00new" {
		t.Errorf("%q", content())
	}
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link is gone: %v", err)
	}
	if err := os.WriteFile(real, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := filepath.Join(dir, "fresh")
	write(fresh, true)
	if info, err := os.Stat(fresh); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v: %v", info.Mode(), err)
	}
	write(os.DevNull, true)
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Fatalf("a device was replaced: %v", err)
	}
	// Without a message there is no file.
	o, err := newOutput(&streams{}, filepath.Join(dir, "none"), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(o.commit(), o.close()); err != nil {
		t.Error(err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 3 {
		t.Errorf("files %v: %v", list, err)
	}
}

func TestOutputErrors(t *testing.T) {
	o := &output{w: bufio.NewWriterSize(failingWriter{}, 16)}
	if err := o.write(received(strings.Repeat("x", 100))); !errors.Is(err, errOutput) {
		t.Errorf("error %v", err)
	}
	o = &output{w: bufio.NewWriter(failingWriter{})}
	if err := o.write(received("x")); err != nil {
		t.Error(err)
	}
	if err := o.commit(); !errors.Is(err, errOutput) {
		t.Errorf("error %v", err)
	}
	o = &output{name: filepath.Join(t.TempDir(), "missing", "x")}
	if err := o.write(received("x")); !errors.Is(err, errOutput) {
		t.Errorf("error %v", err)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("no room") }

func TestInterruptibleReader(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	in := interruptibleReader{ctx, r}
	if _, err := w.WriteString("some text"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4)
	if n, err := in.Read(buf); err != nil || string(buf[:n]) != "some" {
		t.Errorf("%q: %v", buf[:n], err)
	}
	if _, err := io.ReadFull(in, make([]byte, 5)); err != nil {
		t.Error(err)
	}
	cancel()
	if _, err := in.Read(buf); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := w.Close(); err != nil { // ends the read that was left behind
		t.Fatal(err)
	}
	if n, err := (interruptibleReader{t.Context(), r}).Read(buf); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%d bytes: %v", n, err)
	}
	if text, err := io.ReadAll(interruptibleReader{t.Context(), strings.NewReader("text")}); err != nil || string(text) != "text" {
		t.Errorf("%q: %v", text, err)
	}
}

func TestWhoOpened(t *testing.T) {
	for by, want := range map[message.Opener][2]string{
		{}:                         {"", "your address"},
		{Via: message.ViaIdentity}: {"default identity", "you"},
		{Via: message.ViaIdentity, Name: "twain"}: {"identity twain", "twain"},
		{Via: message.ViaKey}:                     {"your key", "you"},
		{Via: message.ViaKey, Name: "work"}:       {"your key work", "work"},
	} {
		if got := openedBy(by); !strings.HasSuffix(got, want[0]) || (want[0] == "") != (got == "") {
			t.Errorf("%v: %q", by, got)
		}
		if got := recipient(by); got != want[1] {
			t.Errorf("%v: %q", by, got)
		}
	}
}
