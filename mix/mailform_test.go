package mix_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mixminion/delivery/mail"
	"mixminion/delivery/mail/dkim"
	"mixminion/internal/config"
	"mixminion/message"
	"mixminion/mix"
)

const mailConfig = leastConfig + `[Delivery/SMTP]
Enabled: yes
SMTPServer: localhost
ReturnAddress: nobody@mix.example.com
`

// mailOptions reads the form of the mails from mailConfig and more lines; base is where relative files lie.
func mailOptions(t *testing.T, base, more string) (mail.Options, error) {
	t.Helper()
	c, err := config.ParseServer([]byte(mailConfig+more), "mixminiond.conf")
	if err != nil {
		t.Fatal(err)
	}
	return mix.MailOptions(&c.DeliverySMTP.Mail, string(c.Main.ContactEmail), base, "/home/op")
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The keys of old and of now all find their place in a mail.
func TestMailOptions(t *testing.T) {
	base := t.TempDir()
	key, err := dkim.Generate(rand.Reader, true)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(base, "dkim.key"), string(key))
	write(t, filepath.Join(base, "texts", "optout.txt"), "Ask {contact} or {optout-address}\n")
	write(t, filepath.Join(base, "texts", "optout.txt~"), "{nothing}\n")
	write(t, filepath.Join(base, "texts", ".optout.txt"), "{nothing}\n")
	o, err := mailOptions(t, base, "SubjectLine: A subject\nMessage: A disclaimer\nX-Abuse: an abuse line\nComments: a comment\nFromTag: [Anonymous]\n"+
		"TemplateDir: texts\nOptOutAddress: stop@example.com\nDKIMKey: mix1 dkim.key\nDKIMDomain: example.com\n")
	if err != nil {
		t.Fatal(err)
	}
	w, err := mail.NewWriter(o)
	if err != nil {
		t.Fatal(err)
	}
	d := message.Delivered{Form: message.FormPlaintext, Body: []byte("Hello\n")}
	data, err := w.Append(nil, mail.Message{
		To: []string{"bob@example.net"}, Form: d.Form, Armored: d.Armor(), Date: time.Unix(1795370400, 0), Headers: message.Headers{From: "A name"},
	})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	for _, want := range []string{
		"\td=example.com; s=mix1;\n", "\nFrom: \"[Anonymous] A name\" <nobody@mix.example.com>\n", "\nSubject: A subject\n",
		"\nX-Abuse: an abuse line\n", "\nComments: a comment\n", "\nList-Unsubscribe: <mailto:stop@example.com?subject=opt-out>\n",
		"\n\nA disclaimer\n\n", "\n\nAsk operator@example.com or stop@example.com\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

func TestMistakesInMailOptions(t *testing.T) {
	base := t.TempDir()
	write(t, filepath.Join(base, "bad", "disclaimer.txt"), "fine\nsee {url}\n")
	write(t, filepath.Join(base, "misspelt", "disclaimr.txt"), "fine\n")
	write(t, filepath.Join(base, "long", "note-binary.txt"), strings.Repeat("x\n", 5000))
	write(t, filepath.Join(base, "texts", "subject.txt"), "My subject\n")
	write(t, filepath.Join(base, "texts", "disclaimer.txt"), "My text\n")
	write(t, filepath.Join(base, "no.key"), "no key\n")
	for name, tt := range map[string]struct{ more, says string }{
		"bad template":       {"TemplateDir: bad\n", filepath.Join(base, "bad", "disclaimer.txt") + ":2: { must begin"},
		"misspelt template":  {"TemplateDir: misspelt\n", filepath.Join(base, "misspelt", "disclaimr.txt") + ": no template"},
		"long template":      {"TemplateDir: long\n", "4096"},
		"no directory":       {"TemplateDir: nowhere\n", "TemplateDir: "},
		"a file":             {"TemplateDir: no.key\n", "TemplateDir: "},
		"subject twice":      {"TemplateDir: texts\nSubjectLine: Another\nMessage:\n", "SubjectLine is given"},
		"disclaimer twice":   {"TemplateDir: texts\nMessage: Another\n", "Message is given"},
		"no key":             {"DKIMKey: a nowhere.key\n", "DKIMKey: "},
		"not a key":          {"DKIMKey: a no.key\n", "no key in PEM form"},
		"key is a directory": {"DKIMKey: a texts\n", "no plain file"},
	} {
		_, err := mailOptions(t, base, tt.more)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v; want %q", name, err, tt.says)
		}
	}
	if _, err := mailOptions(t, base, "TemplateDir: texts\n"); err != nil {
		t.Errorf("a subject and a disclaimer of one's own: %v", err)
	}
}
