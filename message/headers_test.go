package message_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"mixminion/message"
)

func TestHeadersEncode(t *testing.T) {
	for _, tc := range []struct {
		h    message.Headers
		want string
	}{
		{message.Headers{}, "\n"},
		{message.Headers{From: "  ", Subject: ""}, "\n"},
		{message.Headers{Subject: " a: b "}, "SUBJECT:a: b\n\n"},
		{
			message.Headers{Subject: "s", References: "<a@b> <c@d>", InReplyTo: "<c@d>", From: "Lance"},
			"FROM:Lance\nIN-REPLY-TO:<c@d>\nREFERENCES:<a@b> <c@d>\nSUBJECT:s\n\n",
		},
		{message.Headers{Subject: strings.Repeat("x", 900)}, "SUBJECT:" + strings.Repeat("x", 900) + "\n\n"},
	} {
		got, err := tc.h.Encode()
		if err != nil || string(got) != tc.want {
			t.Errorf("%+v: %q, %v", tc.h, got, err)
		}
	}
}

func TestHeadersRefused(t *testing.T) {
	for name, h := range map[string]message.Headers{
		"too long":     {Subject: strings.Repeat("x", 901)},
		"newline":      {References: "a\nTO:b"},
		"return":       {InReplyTo: "a\r"},
		"8 bit":        {Subject: "caf\xc3\xa9"},
		"NUL":          {Subject: "a\x00"},
		"tab":          {Subject: "a\tb"},
		"DEL":          {Subject: "a\x7f"},
		"FROM quote":   {From: `a"b`},
		"FROM bracket": {From: "[Anon]"},
		"FROM close":   {From: "a]"},
		"FROM colon":   {From: "a:b"},
	} {
		if err := h.Validate(); !errors.Is(err, message.ErrHeader) {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := h.Encode(); !errors.Is(err, message.ErrHeader) || got != nil {
			t.Errorf("%s: encoded as %q", name, got)
		}
	}
}

func TestParseHeaders(t *testing.T) {
	long := strings.Repeat("x", 901)
	for _, tc := range []struct {
		name, msg string
		h         message.Headers
		body      string
	}{
		{"no bytes", "", message.Headers{}, ""},
		{"empty line", "\n", message.Headers{}, ""},
		{"body only", "\nhello\n", message.Headers{}, "hello\n"},
		{"one", "SUBJECT:s\n\nhello", message.Headers{Subject: "s"}, "hello"},
		{
			"all", "FROM:f\nIN-REPLY-TO:i\nREFERENCES:r\nSUBJECT:s\n\n\nhello",
			message.Headers{From: "f", InReplyTo: "i", References: "r", Subject: "s"}, "\nhello",
		},
		{"blanks", "FROM:  Mark   Twain \nSUBJECT:  a   b  \n\n", message.Headers{From: "Mark Twain", Subject: "a   b"}, ""},
		{"unknown", "ABC:x\nFROM:f\nX-EVIL:y\nZ:\n\nb", message.Headers{From: "f"}, "b"},
		{"out of order", "SUBJECT:s\nFROM:f\n\nb", message.Headers{Subject: "s"}, "b"},
		{"twice", "SUBJECT:s\nSUBJECT:t\n\nb", message.Headers{Subject: "s"}, "b"},
		{"lower case", "subject:s\n\nb", message.Headers{}, "b"},
		{"too long", "FROM:f\nSUBJECT:" + long + "\n\nb", message.Headers{From: "f"}, "b"},
		{"FROM breaks out", "FROM:a\" <x@y>\nSUBJECT:s\n\nb", message.Headers{Subject: "s"}, "b"},
		{"empty value", "FROM:\nSUBJECT:s\n\nb", message.Headers{Subject: "s"}, "b"},
		{"colons", "SUBJECT:a:b\n\nb", message.Headers{Subject: "a:b"}, "b"},
		{"no end", "SUBJECT:s\n", message.Headers{}, "SUBJECT:s\n"},
		{"no newline", "SUBJECT:s", message.Headers{}, "SUBJECT:s"},
		{"no colon", "SUBJECT\n\nb", message.Headers{}, "SUBJECT\n\nb"},
		{"no name", ":s\n\nb", message.Headers{}, ":s\n\nb"},
		{"blank in name", "SUB JECT:s\n\nb", message.Headers{}, "SUB JECT:s\n\nb"},
		{"control in value", "SUBJECT:a\rTO:x\n\nb", message.Headers{}, "SUBJECT:a\rTO:x\n\nb"},
		{"8 bit in value", "SUBJECT:\xe4\n\nb", message.Headers{}, "SUBJECT:\xe4\n\nb"},
		{"second line bad", "FROM:f\n-----\n\nb", message.Headers{}, "FROM:f\n-----\n\nb"},
	} {
		h, body := message.ParseHeaders([]byte(tc.msg))
		if d := cmp.Diff(tc.h, h); d != "" || string(body) != tc.body {
			t.Errorf("%s: %s body %q", tc.name, d, body)
		}
	}
}

// What one may send arrives.
func TestHeadersRoundTrip(t *testing.T) {
	value := rapid.StringMatching(`([!#-9;-Z\\^-~]([ -!#-9;-Z\\^-~]{0,30}[!#-9;-Z\\^-~])?)?`)
	rapid.Check(t, func(t *rapid.T) {
		h := message.Headers{
			From:       strings.Join(strings.Fields(value.Draw(t, "from")), " "),
			InReplyTo:  value.Draw(t, "in-reply-to"),
			References: value.Draw(t, "references"),
			Subject:    value.Draw(t, "subject"),
		}
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		prefix, err := h.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, rest := message.ParseHeaders(append(prefix, body...))
		if d := cmp.Diff(h, back); d != "" || !bytes.Equal(rest, body) {
			t.Fatal(d)
		}
	})
}

func FuzzParseHeaders(f *testing.F) {
	for _, s := range []string{"", "\n", "FROM:f\nSUBJECT:s\n\nbody", "SUBJECT:s\nFROM:f\n\n", "X:\n", "a\nb"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		h, body := message.ParseHeaders(msg)
		if !bytes.HasSuffix(msg, body) {
			t.Fatal("the body is not the end of the message")
		}
		prefix, err := h.Encode()
		if err != nil {
			t.Fatal("headers that an exit would use may not be sent:", err)
		}
		if h2, _ := message.ParseHeaders(prefix); h2 != h {
			t.Fatal("headers change")
		}
	})
}
