package mail_test

import (
	"bytes"
	"io"
	"mime/quotedprintable"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"
	"pgregory.net/rapid"

	"mixminion/delivery/mail"
	"mixminion/message"
)

// nasty are texts that mail software has been tricked with.
var nasty = []string{
	"\r\n", "\n", "\r", "\x00", "\r\n\r\n", "\nBcc: eve@example.com", "\r\nSubject: other", "\u2028", "\u2029", "\u0085", "\v", "\f", "\x1b[2J",
	`"`, `\`, `\"`, "<", ">", "<eve@example.com>", ",", ";", ":", "(", ")", "(comment)", "[", "]", "@", "=?utf-8?q?=0D=0ABcc:_eve?=",
	"=?utf-8?b?AA==?=", "=?", "?=", "=0D=0A", "=", ".", "..", "\n.\n", "\r\n.\r\n", "\nFrom eve", "\n>From ", "-", "\n-----END TYPE III ANONYMOUS MESSAGE-----\n",
	"\n-----BEGIN TYPE III ANONYMOUS MESSAGE-----\nMessage-type: plaintext\n\n", "\ufeff", "\u202e", "ü", "\xff", "\xc0\x8a", "\xe2\x80", " ", "  ", "\t",
	"<1@example.com>", "<a@b> <c@d>", "<a@[127.0.0.1]>", "a", "Demo", "[Anon]", "nobody@exit.example.org",
	strings.Repeat("x", 500), strings.Repeat(" ", 300), strings.Repeat("<1@example.com> ", 60),
}

func nastyText() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		part := rapid.OneOf(rapid.SampledFrom(nasty), rapid.StringMatching(`[ -~]{0,12}`), rapid.String())
		return strings.Join(rapid.SliceOfN(part, 0, 8).Draw(t, "parts"), "")
	})
}

// fields parts a mail into its header fields, as they stand there, and its body.
func fields(t rapid.TB, data []byte) (map[string]string, []string, []byte) {
	t.Helper()
	header, body, found := bytes.Cut(data, []byte("\r\n\r\n"))
	if !found {
		t.Fatalf("no end of the header in %q", data)
	}
	var names []string
	byName := map[string]string{}
	for line := range strings.SplitSeq(string(header), "\r\n") {
		if line == "" {
			t.Fatalf("empty line in the header %q", header)
		}
		if line[0] == ' ' || line[0] == '\t' {
			byName[names[len(names)-1]] += "\r\n" + line
			continue
		}
		name, value, found := strings.Cut(line, ": ")
		if _, again := byName[name]; !found || again && name != "DKIM-Signature" {
			t.Fatalf("header line %q", line)
		}
		names = append(names, name)
		byName[name] += value
	}
	return byName, names, body
}

// What a sender chooses changes nothing but its own place: no header but the four that are a sender's, each of them by what it may hold,
// nothing in the text but the message.
func TestSenderChangesOnlyItsPlace(t *testing.T) {
	o := options
	o.OptOut, o.Abuse, o.Comments = "stop@exit.example.org", "abuse@exit.example.org", "no comment"
	o.Keys = testKeys(t)[1:]
	w := newWriter(t, o)
	rapid.Check(t, func(t *rapid.T) {
		body := nastyText().Draw(t, "body")
		d := message.Delivered{Form: message.FormPlaintext, Body: unixLines([]byte(body))}
		m := mail.Message{
			To: []string{"a@example.com", "b@example.com"}, Form: d.Form, Armored: d.Armor(), ID: [16]byte{7},
			Date: time.Date(2026, 11, 22, 18, 30, 0, 0, time.UTC),
			Headers: message.Headers{
				From: nastyText().Draw(t, "from"), Subject: nastyText().Draw(t, "subject"),
				InReplyTo: nastyText().Draw(t, "in-reply-to"), References: nastyText().Draw(t, "references"),
			},
		}
		data, err := w.Append(nil, m)
		if err != nil {
			return // not text; the exit sends it in base64
		}
		still := message.Delivered{Form: message.FormPlaintext, Body: []byte("quiet\n")}
		quiet := m
		quiet.Headers, quiet.Armored = message.Headers{}, still.Armor()
		plain, err := w.Append(nil, quiet)
		if err != nil {
			t.Fatal(err)
		}
		got, names, text := fields(t, data)
		want, order, quietText := fields(t, plain)
		for name, value := range want {
			switch name {
			case "From", "Subject", "Content-Type", "Content-Transfer-Encoding", "DKIM-Signature":
			default:
				if got[name] != value {
					t.Errorf("%s is %q, not %q", name, got[name], value)
				}
			}
		}
		mayHave := func(name string) bool { return name == "In-Reply-To" || name == "References" }
		if left := slices.DeleteFunc(slices.Clone(names), mayHave); !slices.Equal(left, order) {
			t.Errorf("headers %q, want %q", names, order)
		}
		checkSendersHeaders(t, data, m.Headers)

		// The text is the same but for the message, when its encoding is undone.
		if got["Content-Transfer-Encoding"] == "quoted-printable" {
			if text, err = io.ReadAll(quotedprintable.NewReader(bytes.NewReader(text))); err != nil {
				t.Fatal(err)
			}
		}
		inside := func(text []byte, a []byte) string {
			before, after, found := strings.Cut(string(text), strings.ReplaceAll(string(a), "\n", "\r\n"))
			if !found {
				t.Fatalf("%q is not in %q", a, text)
			}
			return before + "|" + after
		}
		if inside(text, m.Armored) != inside(quietText, quiet.Armored) {
			t.Errorf("the text around the message is %q", text)
		}
		read, err := message.ParseDelivered(text)
		if err != nil || len(read) != 1 || read[0].Form != message.FormPlaintext {
			t.Fatalf("%d messages, %v: %+v", len(read), err, read)
		}
		if got := strings.TrimSuffix(string(unixLines(read[0].Body)), "\n"); got != strings.TrimSuffix(string(d.Body), "\n") {
			t.Fatalf("the message is %q, want %q", got, d.Body)
		}
	})
}

// checkSendersHeaders compares the headers that are a sender's with what was asked for, as another program reads them.
func checkSendersHeaders(t rapid.TB, data []byte, asked message.Headers) {
	t.Helper()
	parsed, err := netmail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	from, err := netmail.ParseAddress(parsed.Header.Get("From"))
	if err != nil || from.Address != options.ReturnAddress {
		t.Fatalf("From is %q: %v", parsed.Header.Get("From"), err)
	}
	if name := strings.Join(strings.Fields(asked.From), " "); from.Name != "" && from.Name != "[Anon] "+name {
		t.Errorf("the name in From is %q, asked for was %q", from.Name, asked.From)
	}
	if s := parsed.Header.Get("Subject"); s != defaultSubject && s != strings.TrimSpace(asked.Subject) {
		t.Errorf("Subject is %q, asked for was %q", s, asked.Subject)
	}
	for name, value := range map[string]string{"In-Reply-To": asked.InReplyTo, "References": asked.References} {
		got := parsed.Header.Get(name)
		if got == "" {
			continue
		}
		if got != strings.Join(strings.Fields(value), " ") {
			t.Errorf("%s is %q, asked for was %q", name, got, value)
		}
		for id := range strings.FieldsSeq(got) {
			// An identifier is made like an address in angle brackets.
			if _, err := netmail.ParseAddress(id); err != nil && !strings.Contains(id, "@[") {
				t.Errorf("%s: %q: %v", name, id, err)
			}
		}
	}
}

// Every kind of mail carries good signatures, by all keys.
func TestSignaturesOfEveryKind(t *testing.T) {
	keys := testKeys(t)
	lookup := func(name string) ([]string, error) {
		for _, k := range keys {
			if k.RecordName() == name {
				return []string{k.Record()}, nil
			}
		}
		return nil, nil
	}
	for name, g := range goldens(t) {
		g.options.Keys = keys
		g.message.Date = time.Now()
		data, err := newWriter(t, g.options).Append(nil, g.message)
		if err != nil {
			t.Fatal(err)
		}
		list, err := msgauth.VerifyWithOptions(bytes.NewReader(data), &msgauth.VerifyOptions{LookupTXT: lookup})
		if err != nil || len(list) != len(keys) {
			t.Fatalf("%s: %d signatures, %v", name, len(list), err)
		}
		hour := g.message.Date.Truncate(time.Hour)
		for _, v := range list {
			if v.Err != nil || !v.Time.Equal(hour) || !slices.Contains(v.HeaderKeys, "From") {
				t.Errorf("%s: %+v", name, v)
			}
		}
	}
}
