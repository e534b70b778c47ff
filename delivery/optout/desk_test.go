package optout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mixminion/delivery/inmail"
	"mixminion/delivery/mail"

	"pgregory.net/rapid"
)

const desk = "no-mail@mix.example"

type sentMail struct {
	to   string
	data []byte
}

type fixture struct {
	*Desk
	clock *testClock
	sent  []sentMail
	fail  error
}

func newFixture(t testing.TB, perDay int) *fixture {
	t.Helper()
	f := &fixture{clock: &testClock{start}}
	l, err := Open(filepath.Join(t.TempDir(), "optout"), f.clock.now, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.Desk = &Desk{List: l, Address: desk, PerDay: perDay, Now: f.clock.now, Send: func(_ context.Context, to string, data []byte) error {
		if f.fail != nil {
			return f.fail
		}
		f.sent = append(f.sent, sentMail{to, data})
		return nil
	}}
	return f
}

// receive hands a mail to the desk.
func (f *fixture) receive(t testing.TB, from, subject string, more ...string) {
	t.Helper()
	raw := strings.Join(append([]string{"From: " + from, "To: " + desk, "Subject: " + subject}, more...), "\r\n") + "\r\n\r\nPlease.\r\n"
	if err := f.Receive(context.Background(), []byte(raw), "x@example.com"); err != nil {
		t.Fatal(err)
	}
}

// subject of the mail that was sent last.
func (f *fixture) subject(t testing.TB) string {
	t.Helper()
	m, err := netmail.ReadMessage(bytes.NewReader(f.sent[len(f.sent)-1].data))
	if err != nil {
		t.Fatal(err)
	}
	return m.Header.Get("Subject")
}

func TestChallengeAndAnswer(t *testing.T) {
	f := newFixture(t, 0)
	f.receive(t, "Bob <Bob@example.com>", "stop")
	if len(f.sent) != 1 || f.sent[0].to != "Bob@example.com" {
		t.Fatalf("sent: %v", f.sent)
	}
	if f.List.Has("bob@example.com") {
		t.Fatal("a request alone put an address on the list")
	}
	challenge := string(f.sent[0].data)
	for _, want := range []string{"From: " + desk + "\r\n", "To: Bob@example.com\r\n", "Auto-Submitted: auto-replied\r\n", "Date: Mon, 23 Nov 2026 20:00:00 +0000\r\n"} {
		if !strings.Contains(challenge, want) {
			t.Errorf("no %q in\n%s", want, challenge)
		}
	}
	if strings.Contains(challenge, "stop") || strings.Contains(challenge, "Please") {
		t.Error("the challenge repeats the request")
	}
	for n, line := range strings.Split(challenge, "\r\n") {
		if len(line) > 78 || strings.ContainsAny(line, "\r\n") {
			t.Errorf("line %d: %q", n, line)
		}
	}
	m, err := inmail.Read(f.sent[0].data)
	if err != nil || !m.Automatic("x@example.com") {
		t.Error("another desk would answer the challenge", err)
	}

	// From another address of the same person, in a form that mail programs give it.
	f.clock.t = f.clock.t.AddDate(0, 0, 3)
	f.receive(t, "robert@example.org", "AW: "+f.subject(t))
	if !f.List.Has("bob@example.com") || f.List.Has("robert@example.org") {
		t.Error("the answer did not count for the address that was challenged")
	}
	if len(f.sent) != 1 {
		t.Error("another mail went out")
	}
	f.receive(t, "bob@example.com", "stop")
	if len(f.sent) != 1 {
		t.Error("an address on the list got a mail")
	}
}

func TestEncodedAnswer(t *testing.T) {
	f := newFixture(t, 0)
	f.receive(t, "bob@example.com", "stop")
	f.receive(t, "bob@example.com", "=?utf-8?q?"+strings.ReplaceAll("R\u00e9: "+f.subject(t), " ", "_")+"?=")
	if !f.List.Has("bob@example.com") {
		t.Error("an encoded subject did not count")
	}
}

func TestBadAnswers(t *testing.T) {
	f := newFixture(t, 0)
	f.receive(t, "bob@example.com", "stop")
	subject := f.subject(t)
	start := strings.IndexByte(subject, '[')
	token := subject[start : start+tokenLen+2]
	for name, c := range map[string]struct {
		from, subject string
		more          []string
		later         int // days
	}{
		"for another address": {"eve@example.org", "No anonymous mail to eve@example.org " + token, nil, 0},
		"too late":            {"bob@example.com", subject, nil, tokenDays + 1},
		"a changed token":     {"bob@example.com", strings.Replace(subject, token, "[aaaaaaaaaaaaaaaaaaaaaaaaaa]", 1), nil, 0},
		"a cut token":         {"bob@example.com", strings.Replace(subject, token, token[:10]+"]", 1), nil, 0},
		"in absence":          {"bob@example.com", "Re: " + subject, []string{"Auto-Submitted: auto-replied"}, 0},
		"a bounce":            {"MAILER-DAEMON@example.com", "Re: " + subject, nil, 0},
		"of a list":           {"bob@example.com", "Re: " + subject, []string{"List-Id: <x>"}, 0},
		"whole domain":        {"bob@example.com", "No anonymous mail to @example.com " + token, nil, tokenDays + 1},
	} {
		f.clock.t = f.clock.t.AddDate(0, 0, c.later)
		f.receive(t, c.from, c.subject, c.more...)
		f.clock.t = f.clock.t.AddDate(0, 0, -c.later)
		if f.List.Len() != 0 {
			t.Fatalf("%s put an address on the list", name)
		}
	}
}

func TestNotAnswered(t *testing.T) {
	f := newFixture(t, 0)
	for _, header := range []string{"Auto-Submitted: auto-generated", "Precedence: list", "List-Id: <x>", "Return-Path: <>", "Content-Type: multipart/report"} {
		raw := []byte("From: bob@example.com\n" + header + "\n\ntext")
		if err := f.Receive(context.Background(), raw, inmail.NoSender); err != nil {
			t.Error(err)
		}
	}
	f.receive(t, desk, "stop")
	f.receive(t, "NO-MAIL+x@mix.example", "stop")
	if err := f.Receive(context.Background(), []byte("From: bob@example.com\n\ntext"), ""); err != nil {
		t.Error(err)
	}
	if len(f.sent) != 0 {
		t.Errorf("%d mails went out", len(f.sent))
	}
	if err := f.Receive(context.Background(), []byte("nonsense"), inmail.NoSender); !errors.Is(err, inmail.ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

func TestLimits(t *testing.T) {
	f := newFixture(t, 24)
	for range 5 {
		f.receive(t, "bob@example.com", "stop")
		f.receive(t, "Bob+x@example.com", "stop")
	}
	if len(f.sent) != perAddress {
		t.Errorf("%d mails to one person", len(f.sent))
	}
	for i := range 20 {
		f.receive(t, fmt.Sprintf("user%d@example.com", i), "stop")
	}
	if len(f.sent) != 24/domainShare {
		t.Errorf("%d mails to one domain", len(f.sent))
	}
	for i := range 50 {
		f.receive(t, fmt.Sprintf("bob@host%d.example", i), "stop")
	}
	if len(f.sent) != 21 { // the hour is the 21st
		t.Errorf("%d mails", len(f.sent))
	}
	data, err := os.ReadFile(filepath.Join(f.List.dir, todayFile))
	if err != nil || strings.Contains(string(data), "example") {
		t.Errorf("the counts hold an address: %v", err)
	}
	f.clock.t = f.clock.t.Add(time.Hour)
	f.receive(t, "bob@host60.example", "stop")
	if len(f.sent) != 22 {
		t.Errorf("%d mails after an hour", len(f.sent))
	}
	f.clock.t = f.clock.t.AddDate(0, 0, 1).Truncate(day)
	f.receive(t, "bob@example.com", "stop")
	f.receive(t, "bob@example.com", "stop")
	if len(f.sent) != 23 {
		t.Errorf("%d mails early the next day", len(f.sent))
	}
	// Answers count however many requests there were.
	f.receive(t, "bob@example.com", f.subject(t))
	if !f.List.Has("bob@example.com") {
		t.Error("an answer was not heard")
	}
}

func TestMailServerDown(t *testing.T) {
	f := newFixture(t, 0)
	f.fail = errors.New("connection refused")
	if err := f.Receive(context.Background(), []byte("From: bob@example.com\n\ntext"), "bob@example.com"); !errors.Is(err, f.fail) {
		t.Errorf("got %v", err)
	}
}

// TestAnything sends mails of any kind: nothing of them shows in the answer but the address, and nobody gets on the list.
// The counts of a day, and the key of their hashes, are gone when the day is.
func TestCountsAreForgotten(t *testing.T) {
	f := newFixture(t, 0)
	dir := f.List.dir
	forget := func() {
		t.Helper()
		if err := f.List.ForgetCounts(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	there := func() bool {
		_, err := os.Stat(filepath.Join(dir, todayFile))
		return err == nil
	}
	forget()
	if _, err := os.Stat(dir); err == nil {
		t.Error("to forget nothing made a directory")
	}
	f.receive(t, "bob@example.com", "stop")
	leftOver := filepath.Join(dir, "."+todayFile+".123.tmp") // by a crash
	if err := os.WriteFile(leftOver, []byte("hashes"), 0o600); err != nil {
		t.Fatal(err)
	}
	forget()
	if !there() {
		t.Fatal("the counts of the day are forgotten")
	}
	if _, err := os.Stat(leftOver); err == nil {
		t.Error("what a crash left is still there")
	}
	link := filepath.Join(t.TempDir(), "link") // shows what an old block of the disk would
	if err := os.Link(filepath.Join(dir, todayFile), link); err != nil {
		t.Fatal(err)
	}
	f.clock.t = f.clock.t.Truncate(day).Add(day)
	forget()
	if there() {
		t.Error("the counts of yesterday are still there")
	}
	if text, err := os.ReadFile(link); err != nil || len(bytes.Trim(text, "\x00")) > 0 {
		t.Errorf("what the file held is still there: %q, %v", text, err)
	}
	for _, name := range []string{dir, filepath.Join(dir, lockFile)} {
		if info, err := os.Stat(name); err != nil || !info.ModTime().Equal(f.clock.t) {
			t.Errorf("%s tells when it was: %v, %v", name, info.ModTime(), err)
		}
	}
	f.receive(t, "bob@example.com", "stop")
	if !there() || len(f.sent) != 2 {
		t.Error("the new day does not count")
	}
}

func TestAnything(t *testing.T) {
	f := newFixture(t, MaxPerDay)
	rapid.Check(t, func(rt *rapid.T) {
		f.sent = nil
		local := rapid.StringMatching(`[A-Za-z0-9!#$%&'*+/=?^_{|}~-]{1,12}`).Draw(rt, "local")
		addr := local + "@" + rapid.StringMatching(`[a-z]{1,8}\.(example|invalid)`).Draw(rt, "host")
		if _, err := mail.ParseAddress([]byte(addr)); err != nil {
			return
		}
		subject := rapid.StringMatching(`[ -~]{0,60}`).Draw(rt, "subject")
		raw := "From: " + addr + "\r\nSubject: " + subject + "\r\n\r\n" + rapid.String().Draw(rt, "body")
		if err := f.Receive(context.Background(), []byte(raw), "x@example.com"); err != nil {
			return // the header makes no sense
		}
		if f.List.Len() != 0 {
			rt.Fatal("somebody got on the list")
		}
		if len(f.sent) == 0 {
			return
		}
		want := string(f.write(addr, token(f.List.key, addr, daysOf(start))))
		cut := func(s string) string {
			before, after, _ := strings.Cut(s, "Message-ID: ")
			_, after, _ = strings.Cut(after, "\r\n")
			return before + after
		}
		if f.sent[0].to != addr || cut(string(f.sent[0].data)) != cut(want) {
			rt.Errorf("got\n%s", f.sent[0].data)
		}
	})
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte("From: bob@example.com\nSubject: No anonymous mail to bob@example.com [aaaaaaaaaaaaaaaaaaaaaaaaaa]\n\n"))
	f.Add([]byte("From: \"a@b.c\" <d@e.f>\nSubject: =?utf-8?b?W2FhYWFh?=\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		x := newFixture(t, 0)
		if err := x.Receive(context.Background(), raw, "x@example.com"); err != nil && !errors.Is(err, inmail.ErrMalformed) {
			t.Error(err)
		}
		if x.List.Len() != 0 {
			t.Error("somebody got on the list")
		}
	})
}
