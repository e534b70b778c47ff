package mail_test

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mixminion/delivery/mail"
	"mixminion/delivery/mail/dkim"
	"mixminion/message"
)

type golden struct {
	options mail.Options
	message mail.Message
}

// goldens are one mail of each kind.
func goldens(t testing.TB) map[string]golden {
	t.Helper()
	full := options
	full.Domain = "mix.example.org"
	full.Subject = "Anonymous mail"
	full.Abuse = "To complain about this message, or to receive none of this kind again, write to abuse@exit.example.org."
	full.Comments = "This message was not written by the operator of exit.example.org."
	full.Disclaimer = "This message comes from somebody who does not want you to know who it is. " +
		"The operator of this server does not know it either. See https://exit.example.org/?page=about for more."
	answer := base(message.FormPlaintext, "Hello over the network.\n--\nDemo\n")
	answer.Headers = message.Headers{
		From:       "Demo From",
		Subject:    "Demo subject",
		InReplyTo:  "<2@example.com>",
		References: "<1@example.com> <2@example.com>",
	}
	several := base(message.FormPlaintext, "Hello to all of you.\n")
	several.To = []string{"alice@example.com", "bob@example.com", "carol@example.net"}
	optOut := options
	optOut.OptOut = "stop@exit.example.org"
	own := optOut
	own.Contact = "operator@example.org"
	own.Templates = map[string][]byte{
		mail.TemplateSubject:    []byte("An anonymous message from {domain}\n"),
		mail.TemplateDisclaimer: nil,
		mail.TemplateBinary:     []byte("This is a file, in base64.\n"),
		mail.TemplateOptOut:     []byte("===\n{domain} delivers anonymous messages.\n\nWrite to {optout-address} to get none,\nto {contact} for anything else.\n===\n"),
	}
	signed := options
	signed.Keys = testKeys(t)

	raw := strings.Repeat("\x80\x00\x00\x35\x02\x07\x29\xf9", 12)
	return map[string]golden{
		"plaintext":      {options, base(message.FormPlaintext, "Hello over the network.\n-- \nA. N. Onymous\n.\n")},
		"headers":        {options, answer},
		"options":        {full, base(message.FormPlaintext, "Grüße & 1+1=2\n")},
		"utf8":           {options, base(message.FormPlaintext, "Schöne Grüße\n-- \nüber das Netz\n")},
		"long-line":      {options, base(message.FormPlaintext, strings.Repeat("too long a line ", 70)+"\n")},
		"binary":         {options, base(message.FormBinary, raw)},
		"encrypted":      {options, base(message.FormEncrypted, raw)},
		"overcompressed": {options, base(message.FormOvercompressed, "\x78\xda"+raw)},
		"fragment":       {options, base(message.FormFragment, raw)},
		"recipients":     {options, several},
		"optout":         {optOut, base(message.FormPlaintext, "Hello over the network.\n")},
		"templates":      {own, base(message.FormBinary, raw)},
		"signed":         {signed, base(message.FormPlaintext, "Hello over the network.\n")},
	}
}

// testKeys are an RSA key and an Ed25519 key that everybody knows.
func testKeys(t testing.TB) []*dkim.Key {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "dkim-rsa.pem"))
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := dkim.ParseKey(data)
	if err != nil {
		t.Fatal(err)
	}
	first, err := dkim.New("exit.example.org", "rsa1", rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	second, err := dkim.New("exit.example.org", "ed1", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return []*dkim.Key{first, second}
}

func TestGolden(t *testing.T) {
	for name, g := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			got, err := newWriter(t, g.options).Append([]byte("before"), g.message)
			if err != nil {
				t.Fatal(err)
			}
			got, found := bytes.CutPrefix(got, []byte("before"))
			if !found {
				t.Fatal("Append overwrites what it appends to")
			}
			file := filepath.Join("testdata", name+".eml")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("mail (-want +got):\n%s", diff)
			}
			checkForm(t, got, g.message)
		})
	}
}

// Armored data travels as it is, whatever the operator's texts are.
func TestArmorIsNotEncoded(t *testing.T) {
	for name, g := range goldens(t) {
		if g.message.Form == message.FormPlaintext {
			continue
		}
		data, err := newWriter(t, g.options).Append(nil, g.message)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")), g.message.Armored) {
			t.Errorf("%s: the armored message is changed", name)
		}
	}
}

var goldenBlock = regexp.MustCompile("(?s)<!-- golden: (\\S+) -->\n```\n(.*?)```\n")

// The examples in the documentation are the golden files, and its texts the shipped templates.
func TestDocumentation(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "spec", "mail.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for name := range goldens(t) {
		data, err := os.ReadFile(filepath.Join("testdata", name+".eml"))
		if err != nil {
			t.Fatal(err)
		}
		want[name] = strings.ReplaceAll(string(data), "\r\n", "\n")
	}
	for _, name := range mail.TemplateNames() {
		want[name] = string(mail.ShippedTemplate(name))
	}
	if *update {
		text = goldenBlock.ReplaceAllFunc(text, func(block []byte) []byte {
			name := string(goldenBlock.FindSubmatch(block)[1])
			return []byte("<!-- golden: " + name + " -->\n```\n" + want[name] + "```\n")
		})
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	shown := map[string]string{}
	for _, m := range goldenBlock.FindAllStringSubmatch(string(text), -1) {
		shown[m[1]] = m[2]
	}
	for name := range want {
		if shown[name] != want[name] {
			t.Errorf("the example %s differs from the file; the document shows\n%s", name, shown[name])
		}
		delete(shown, name)
	}
	for name := range shown {
		t.Errorf("example %s is no golden file", name)
	}
}
