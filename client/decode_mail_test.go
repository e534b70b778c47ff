package client_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"mime/quotedprintable"
	"strings"
	"testing"

	"mixminion/client"
	"mixminion/internal/armor"
)

// mailsOf writes a text into mails in all the ways that mail programs know.
func mailsOf(text string) map[string]string {
	var qp bytes.Buffer
	w := quotedprintable.NewWriter(&qp)
	_, err := w.Write([]byte(strings.ReplaceAll(text, "\n", "\r\n")))
	if err = errors.Join(err, w.Close()); err != nil {
		panic(err)
	}
	b64 := base64.StdEncoding.EncodeToString([]byte(text))
	var lines strings.Builder
	for i := 0; i < len(b64); i += 76 {
		lines.WriteString(b64[i:min(i+76, len(b64))] + " \n")
	}
	const head = "Return-Path: <x@example.com>\nReceived: from a\n\tby b; Sun, 22 Nov 2026 18:00:00 +0000\nSubject: =?utf-8?q?x?=\n"
	mixed := "Content-Type: multipart/mixed; boundary=\"=_ b\"\n\nPreamble\n--=_ b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\niVBOR\n" +
		"--=_ b\nContent-Type: multipart/alternative;\n boundary=inner\n\n--inner\nContent-Type: text/plain; charset=utf-8\n" +
		"Content-Transfer-Encoding: base64\n\n" + lines.String() + "\n--inner\nContent-Type: text/html\n\n<p>" + text + "\n--inner--\n\n--=_ b--\nEpilogue\n"
	quoted := qp.String()
	mails := map[string]string{
		"7bit":          head + "\n" + text,
		"8bit":          head + "Content-Transfer-Encoding: 8bit\n\nDear you,\n\n" + text + "\nBye\n",
		"unknown":       head + "Content-Type: rubbish;;;\nContent-Transfer-Encoding: x-own\n\n" + text,
		"quoted":        head + "MIME-Version: 1.0\ncontent-type: text/plain;\n charset=\"utf-8\"\nCONTENT-TRANSFER-ENCODING:\n  Quoted-Printable\n\n" + quoted,
		"base64":        head + "Content-Transfer-Encoding: base64\n\n" + lines.String(),
		"mixed":         head + mixed,
		"forwarded":     head + "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: message/rfc822\n\n" + head + mixed + "\n--o--\n",
		"attachment":    head + "Content-Type: multipart/mixed; boundary=o\n\n--o\n\nSee below\n--o\nContent-Type: application/octet-stream; name=message.asc\nContent-Transfer-Encoding: base64\n\n" + lines.String() + "--o--\n",
		"no boundary":   head + "Content-Type: multipart/mixed\n\n" + text,
		"left-over":     head[:strings.Index(head, "Received")] + ">From x@example.com Sun Nov 22 18:00:00 2026\nSubject: y\n\n" + text,
		"not a mail":    "Note: this is not a mail.\nIt only begins like one.\n\n" + text,
		"first of text": "\xef\xbb\xbf\n\n" + text,
	}
	for name, mail := range maps.Clone(mails) {
		mails[name+", CRLF"] = strings.ReplaceAll(strings.ReplaceAll(mail, "\r\n", "\n"), "\n", "\r\n")
	}
	return mails
}

func TestDecodeMails(t *testing.T) {
	const body = "Hello\n-- \nFrom here\n>From there\n\nFrom x Sun Nov 22 18:00:00 2026\n= equal\nt\u00f6\u00f6 long a line " + "0123456789012345678901234567890123456789012345678901234567890123456789\n"
	for name, mail := range mailsOf(plain(body)) {
		t.Run(name, func(t *testing.T) {
			r := one(t, decodeText(t, mail, client.DecodeOptions{}))
			if string(r.Body) != body || r.Mail != 0 {
				t.Errorf("body %q", r.Body)
			}
		})
	}
	reply := string(readVector(t, "reply-marktwain.asc"))
	for name, mail := range mailsOf(reply) {
		t.Run("reply, "+name, func(t *testing.T) {
			r := one(t, decodeText(t, mail, client.DecodeOptions{Keys: vectorKeys(t)}))
			if !bytes.Equal(r.Body, readVector(t, "reply-marktwain.txt")) {
				t.Errorf("%d bytes", len(r.Body))
			}
		})
	}
}

func TestDecodeDamagedMails(t *testing.T) {
	good := plain("Good.\n")
	const head = "Content-Type: multipart/mixed; boundary=o\n\n--o\n\n"
	deep := good
	for i := range 20 {
		deep = fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n%s\n--b%d--\n", i, i, deep, i)
	}
	nested := strings.Repeat("x", 10000) + "\n" + good
	for range 8 {
		nested = "Content-Type: message/rfc822\n\n" + nested
	}
	for name, tc := range map[string]struct {
		mail string
		good int
	}{
		"no end":        {head + good, 1},
		"part cut off":  {head + good + "--o\nContent-Type", 1},
		"bad base64":    {"Content-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte(good+good)) + "????\n", 2},
		"bad quoted":    {"Content-Transfer-Encoding: quoted-printable\n\n" + good + "=XX=\x01\n", 1},
		"too deep":      {deep, 0},
		"too many":      {"Content-Type: multipart/mixed; boundary=o\n\n" + strings.Repeat("--o\n\n\n", 3000) + "--o--\n", 0},
		"nested mails":  {nested, 0},
		"long field":    {"Content-Type: text/plain;\n" + strings.Repeat(" x=y;\n", 200000) + "\n" + good, 1},
		"no part":       {"Content-Type: multipart/mixed; boundary=o\n\n" + good, 1},
		"in the header": {"Subject: x\n" + good + "x", 1},
	} {
		t.Run(name, func(t *testing.T) {
			found := 0
			for _, r := range decodeText(t, tc.mail, client.DecodeOptions{}) {
				switch {
				case r.err == nil:
					found++
				case !errors.Is(r.err, client.ErrMail):
					t.Errorf("error %v", r.err)
				}
			}
			if found != tc.good {
				t.Errorf("%d messages, want %d", found, tc.good)
			}
		})
	}
}

// mbox writes mails into an mbox file, with the quoting of "From " that mboxrd has, or with that of mboxo.
func mbox(mails []string, rd bool) string {
	var out strings.Builder
	for _, mail := range mails {
		out.WriteString("From x@example.com Sun Nov 22 18:00:00 2026\n")
		for line := range strings.Lines(mail) {
			if strings.HasPrefix(line, "From ") || rd && strings.HasPrefix(strings.TrimLeft(line, ">"), "From ") {
				out.WriteByte('>')
			}
			out.WriteString(line)
		}
		out.WriteString("\n")
	}
	return out.String()
}

func TestDecodeMbox(t *testing.T) {
	const body = "Hello\nFrom here\n\nFrom x Sun Nov 22 18:00:00 2026\nbye\n"
	var mails []string
	for name, mail := range mailsOf(plain(body)) {
		if !strings.HasPrefix(name, "not") && !strings.HasPrefix(name, "first") {
			mails = append(mails, mail)
		}
	}
	mails = append(mails, "Subject: nothing\n\nNo message.\n", "Subject: bad\n\n"+strings.TrimSuffix(plain("x"), "-----END TYPE III ANONYMOUS MESSAGE-----\n"), "\nno header\n"+plain(body), mails[0])
	for _, rd := range []bool{false, true} {
		list := decodeText(t, mbox(mails, rd), client.DecodeOptions{})
		if len(list) != len(mails)-1 {
			t.Fatalf("%d results of %d mails", len(list), len(mails))
		}
		for i, r := range list {
			mail := i + 1
			if mail >= len(mails)-3 { // the mail without a message gives no result
				mail++
			}
			if mail == len(mails)-2 {
				if !errors.Is(r.err, armor.ErrNoEnd) {
					t.Errorf("error %v", r.err)
				}
			} else if r.err != nil || string(r.Body) != body {
				t.Errorf("mail %d: %q, %v", mail, r.Body, r.err)
			}
			if r.Mail != mail || r.Message != i+1 {
				t.Errorf("%v, want message %d of mail %d", r.Position, i+1, mail)
			}
		}
	}
}
