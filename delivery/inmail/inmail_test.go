package inmail

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"mixminion/delivery/mail"
)

func lines(l ...string) []byte { return []byte(strings.Join(l, "\r\n") + "\r\n") }

func TestRead(t *testing.T) {
	m, err := Read(lines("From bob@example.com Mon Nov  2 10:00:00 2026", "Return-Path: <bob@example.com>", "From: \"Bob\" <Bob@example.com>",
		"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=", "\tand more", "", "Text", "", "more"))
	if err != nil {
		t.Fatal(err)
	}
	if m.From != "Bob@example.com" || m.Subject != "Gr\u00fc\u00dfe and more" || string(m.Body) != "Text\r\n\r\nmore\r\n" {
		t.Errorf("got %q, %q, %q", m.From, m.Subject, m.Body)
	}
	if m.Automatic(NoSender) || m.Automatic("bob@example.com") || !m.Automatic("") || !m.Automatic("<>") {
		t.Error("a person's mail was taken for a program's, or the reverse")
	}
}

// Whatever charset a program writes names in, the mail is that of a person.
func TestFrom(t *testing.T) {
	for _, from := range []string{
		"bob@example.com", "<bob@example.com>", "Bob B. <bob@example.com>", "bob@example.com (Bob)", `"B, Bob" <bob@example.com>`, `"\"B\" <x@y>" <bob@example.com>`,
		"bob@example.com <bob@example.com>", "M\xfcller <bob@example.com>", "\"M\xfcller, B\" <bob@example.com>", "M\u00fcller <bob@example.com>",
		"=?windows-1252?Q?M=FCller?= <bob@example.com>", "=?koi8-r?B?8sXa?= <bob@example.com>", "=?no-charset?Q?x=2C?= <bob@example.com>",
		`"B" =?no-charset?Q?x?= <bob@example.com>`,
	} {
		m, err := Read(lines("From: "+from, "Subject: =?koi8-r?B?8NLJ18XU?=", "", "text"))
		if err != nil || m.From != "bob@example.com" {
			t.Errorf("%q: %v", from, err)
			continue
		}
		if m.Subject != "\u041f\u0440\u0438\u0432\u0435\u0442" {
			t.Errorf("subject %q", m.Subject)
		}
	}
	for _, from := range []string{"a@example.com, Bob <bob@example.com>", "Bob <bob@example.com> <eve@example.com>", "<>", "B\xfcb@example.com", "Bob <b\u00fcb@example.com>", "a <b@example.com>, c"} {
		if m, err := Read(lines("From: "+from, "", "text")); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %+v, %v", from, m, err)
		}
	}
}

func TestMalformed(t *testing.T) {
	for name, raw := range map[string][]byte{
		"nothing":      nil,
		"no end":       []byte("From: bob@example.com\n"),
		"no header":    lines("hello", "", "text"),
		"no From":      lines("Subject: x", "", "text"),
		"two From":     lines("From: a@example.com", "From: b@example.com", "", "text"),
		"two writers":  lines("From: a@example.com, b@example.com", "", "text"),
		"no address":   lines("From: bob", "", "text"),
		"strange":      lines("From: \"bob smith\"@example.com", "", "text"),
		"address IP":   lines("From: bob@[192.0.2.1]", "", "text"),
		"large header": append([]byte("From: bob@example.com\nX: "), []byte(strings.Repeat("x", maxHeader)+"\n\ntext")...),
	} {
		if _, err := Read(raw); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAutomatic(t *testing.T) {
	for line, want := range map[string]bool{
		"Auto-Submitted: auto-replied":                       true,
		"Auto-Submitted: auto-generated; owner=x":            true,
		"Auto-Submitted: no":                                 false,
		"auto-submitted: No (really)":                        true,
		"Precedence: bulk":                                   true,
		"Precedence: junk":                                   true,
		"PRECEDENCE: list":                                   true,
		"Precedence: first-class":                            false,
		"List-Id: <x.example.com>":                           true,
		"List-Unsubscribe: <mailto:x@example.com>":           true,
		"Return-Path: <>":                                    true,
		"Return-Path: <MAILER-DAEMON@example.com>":           true,
		"Return-Path: <bob@example.com>":                     false,
		"X-Loop: optout":                                     true,
		"X-Autoreply: yes":                                   true,
		"X-Auto-Response-Suppress: All":                      true,
		"X-Auto-Response-Suppress: DR, RN":                   false,
		"Content-Type: multipart/report; report-type=x":      true,
		"Content-Type: text/plain":                           false,
		"Content-Type: message/disposition-notification; x=": true,
		"X-Anonymous: yes":                                   true,
	} {
		m, err := Read(lines("From: bob@example.com", line, "", "text"))
		if err != nil {
			t.Fatal(err)
		}
		if m.Automatic(NoSender) != want {
			t.Errorf("%s: got %v", line, !want)
		}
	}
	m, err := Read(lines("From: mailer-daemon@example.com", "", "text"))
	if err != nil || !m.Automatic(NoSender) {
		t.Error("a mail server's mail was taken for a person's", err)
	}
}

func TestMaildir(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"new/1": "one", "new/2": strings.Repeat("x", 20), "cur/3:2,S": "three", "tmp/4": "not yet"} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "new", "0")); err != nil {
		t.Fatal(err)
	}
	later := errors.New("later")
	var got []string
	err := Maildir(context.Background(), dir, 10, func(raw []byte) error {
		got = append(got, string(raw))
		if string(raw) == "three" {
			return later
		}
		return nil
	})
	if !errors.Is(err, later) || strings.Join(got, ",") != "one,,three" {
		t.Errorf("got %q, %v", got, err)
	}
	for name, want := range map[string]bool{"new/0": true, "new/1": false, "new/2": false, "cur/3:2,S": true, "tmp/4": true} {
		if _, err := os.Lstat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Maildir(context.Background(), t.TempDir(), 10, nil); err == nil {
		t.Error("a directory that is no Maildir was taken for one")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(lines("From: bob@example.com", "Subject: =?utf-8?q?x?=", "", "text"))
	f.Add(lines("From: a@b.c, d@e.f", "Auto-Submitted: no", "", ""))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := Read(raw)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		m.Automatic(NoSender)
		if _, err := mail.ParseAddress([]byte(m.From)); err != nil {
			t.Errorf("address %q: %v", m.From, err)
		}
		if len(m.Subject) > maxSubject || !utf8.ValidString(m.Subject) || strings.ContainsAny(m.Subject, "\r\n\x00") {
			t.Errorf("subject %q", m.Subject)
		}
	})
}
