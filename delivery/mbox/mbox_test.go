package mbox_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mixminion/delivery/livefile"
	"mixminion/delivery/mail"
	"mixminion/delivery/mbox"
)

const file = `# users
bob: bob@home.example
Bob=other@home.example
	carol  :   carol@home.example
dave = dave@home.example

eve:eve+x=y@home.example
#frank: frank@home.example
`

func TestUsers(t *testing.T) {
	u, err := mbox.Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"bob": "bob@home.example", "Bob": "other@home.example", "carol": "carol@home.example", "dave": "dave@home.example",
		"eve": "eve+x=y@home.example", "BOB": "", "frank": "", "#frank": "", "": "", "bob ": "", "bob:": "",
	} {
		if got, ok := u.Address([]byte(name)); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %t", name, got, ok)
		}
	}
	if _, err := mbox.Parse(nil); err != nil {
		t.Error(err)
	}
}

func TestMistakes(t *testing.T) {
	for line, want := range map[string]error{
		"bob":                                       mbox.ErrForm,
		": bob@home.example":                        mbox.ErrForm,
		"b b: bob@home.example":                     mbox.ErrForm,
		"b\x00: bob@home.example":                   mbox.ErrForm,
		strings.Repeat("b", 513) + ": bob@h.org":    mbox.ErrForm,
		"bob:":                                      mbox.ErrAddress,
		"bob: bob":                                  mbox.ErrAddress,
		"bob: bob@home.example # him":               mbox.ErrAddress,
		"bob: a@b.org, c@d.org":                     mbox.ErrAddress,
		"bob: bob@home.example\rBcc: x@y.org":       mbox.ErrAddress,
		"zoe: z@b.org":                              mbox.ErrTwice,
		"#" + strings.Repeat("x", livefile.MaxLine): nil,
	} {
		_, err := mbox.Parse([]byte("zoe: zoe@home.example\n\n" + line + "\n"))
		var at *livefile.LineError
		if !errors.As(err, &at) || at.Line != 3 || want != nil && !errors.Is(err, want) {
			t.Errorf("%.20q: %v", line, err)
		} else if strings.Contains(err.Error(), "@") || strings.Contains(err.Error(), "zoe") {
			t.Errorf("the error names somebody: %v", err)
		}
	}
	if _, err := mbox.Parse(make([]byte, livefile.MaxFile+1)); !errors.Is(err, livefile.ErrTooLarge) {
		t.Error(err)
	}
	_, err := mbox.Parse([]byte(strings.Repeat("x\n", 1000)))
	if n := strings.Count(err.Error(), "line"); n != 20 {
		t.Errorf("%d mistakes are told", n)
	}
}

// The file is read again when it has changed; a bad one changes nothing, and the log says so once, without a name.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if _, err := mbox.Open(path, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := mbox.Open(filepath.Dir(path), nil); err == nil {
		t.Error("a directory is read")
	}
	age := time.Hour
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		age -= time.Minute // file systems tell versions apart by no fine clock
		at := time.Now().Add(-age)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	write("bob: bob@home.example\n")
	f, err := mbox.Open(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	expect := func(name, want string) {
		t.Helper()
		for range 3 {
			if got, _ := f.Address([]byte(name)); got != want {
				t.Errorf("%s: %q, not %q", name, got, want)
			}
		}
	}
	expect("bob", "bob@home.example")
	write("alice: a@home.example\n")
	expect("bob", "")
	expect("alice", "a@home.example")
	write("alice a@home.example\n")
	expect("alice", "a@home.example")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect("alice", "a@home.example")
	write("bob: b@home.example\n")
	expect("bob", "b@home.example")
	if n := strings.Count(log.String(), "level=ERROR"); n != 2 || strings.Contains(log.String(), "home.example") {
		t.Errorf("%d errors:\n%s", n, log.String())
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(file))
	f.Add([]byte("bob=a@b:c@d\n=\n:\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		u, err := mbox.Parse(text)
		if err != nil {
			return
		}
		for line := range bytes.Lines(text) {
			name, _, _ := bytes.Cut(line, []byte(":"))
			if addr, ok := u.Address(name); ok {
				if _, err := mail.ParseAddress([]byte(addr)); err != nil {
					t.Errorf("%q", addr)
				}
			}
		}
	})
}

func BenchmarkAddress(b *testing.B) {
	var text bytes.Buffer
	for i := range 10_000 {
		fmt.Fprintf(&text, "user%d: user%d@home.example\n", i, i)
	}
	path := filepath.Join(b.TempDir(), "users")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := mbox.Open(path, nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, ok := f.Address([]byte("user9999")); !ok {
			b.Fatal("nobody there")
		}
	}
}
