package mail_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"mixminion/delivery/mail"
	"mixminion/message"
)

func TestMistakesInTemplates(t *testing.T) {
	long := strings.Repeat("x", 990) + "{return-address}"
	for name, tt := range map[string]struct {
		file, text string
		line       int
		says       string
	}{
		"unknown file":        {"disclaimr.txt", "x", 0, "disclaimer.txt, note-binary.txt"},
		"unknown placeholder": {mail.TemplateDisclaimer, "a\n\nsee {url}\n", 3, "{contact}, {domain}, {optout-address}, {return-address}"},
		"lone brace":          {mail.TemplateDisclaimer, "a {\n", 1, "placeholders"},
		"unclosed":            {mail.TemplateDisclaimer, "{domain", 1, "placeholders"},
		"two braces":          {mail.TemplateDisclaimer, "{{domain}}", 1, "placeholders"},
		"no opt-out address":  {mail.TemplateOptOut, "to {optout-address}\n", 1, "OptOutAddress"},
		"no contact":          {mail.TemplateFragment, "a\r\nb {contact}\r\n", 2, "{contact}"},
		"not ASCII":           {mail.TemplateEncrypted, "a\nGrüße\n", 2, "printable ASCII"},
		"tab":                 {mail.TemplateEncrypted, "a\tb\n", 1, "printable ASCII"},
		"NUL":                 {mail.TemplateEncrypted, "a\x00", 1, "printable ASCII"},
		"lone CR":             {mail.TemplateEncrypted, "a\rb\n", 1, "printable ASCII"},
		"border":              {mail.TemplateBinary, "\n-----END TYPE III ANONYMOUS MESSAGE-----\n", 2, "border"},
		"quoted border":       {mail.TemplateBinary, "> -----BEGIN TYPE III ANONYMOUS MESSAGE-----", 1, "border"},
		"long line":           {mail.TemplateBinary, "a\nb\n" + long, 3, "998"},
		"long file":           {mail.TemplateBinary, strings.Repeat("x\n", 2049), 0, "4096"},
		"empty subject":       {mail.TemplateSubject, " \n", 0, "empty"},
		"two subjects":        {mail.TemplateSubject, "a\nb\n", 2, "one line"},
		"long subject":        {mail.TemplateSubject, strings.Repeat("x", 201), 1, "200"},
		"subject and blanks":  {mail.TemplateSubject, "a\n\nb\n", 2, "one line"},
	} {
		o := options
		o.Templates = map[string][]byte{tt.file: []byte(tt.text)}
		_, err := mail.NewWriter(o)
		var wrong *mail.TemplateError
		if !errors.As(err, &wrong) || wrong.Name != tt.file || wrong.Line != tt.line || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v; want line %d, %q", name, err, tt.line, tt.says)
		}
	}
}

func TestShippedTemplates(t *testing.T) {
	for _, name := range mail.TemplateNames() {
		text := mail.ShippedTemplate(name)
		if len(text) == 0 || !bytes.HasSuffix(text, []byte("\n")) {
			t.Errorf("%s: %q", name, text)
		}
		for line := range strings.Lines(string(text)) {
			if len(line) > 79 {
				t.Errorf("%s: %q is too long for a terminal", name, line)
			}
		}
	}
	if mail.ShippedTemplate("../mail.go") != nil {
		t.Error("any file is a template")
	}
	// Writing them out and leaving them as they are changes nothing.
	o := options
	o.OptOut = "stop@exit.example.org"
	m := base(message.FormFragment, "x")
	plain, err := newWriter(t, o).Append(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	o.Templates = map[string][]byte{}
	for _, name := range mail.TemplateNames() {
		o.Templates[name] = mail.ShippedTemplate(name)
	}
	own, err := newWriter(t, o).Append(nil, m)
	if err != nil || !bytes.Equal(own, plain) {
		t.Errorf("%v\n%s\nwant\n%s", err, own, plain)
	}
}

// Templates that are all empty leave nothing but the message, and the subject that every mail needs.
func TestEmptyTemplates(t *testing.T) {
	o := options
	o.OptOut = "stop@exit.example.org"
	o.Templates = map[string][]byte{mail.TemplateSubject: []byte("Mail")}
	for _, name := range mail.TemplateNames() {
		if name != mail.TemplateSubject {
			o.Templates[name] = []byte("\n \n")
		}
	}
	m := base(message.FormBinary, "x")
	data, err := newWriter(t, o).Append(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := bytes.Cut(data, []byte("\r\n\r\n"))
	if got := strings.ReplaceAll(string(body), "\r\n", "\n"); got != string(m.Armored) {
		t.Errorf("body %q", got)
	}
}

// Whatever an operator writes, it is refused or leaves the message as it is.
func FuzzTemplates(f *testing.F) {
	for i, name := range mail.TemplateNames() {
		f.Add(i, string(mail.ShippedTemplate(name)))
	}
	f.Add(0, "-----BEGIN TYPE III ANONYMOUS MESSAGE-----\n{domain}\r\n\r\n")
	f.Add(6, "{contact}\r\nBcc: x@y")
	f.Fuzz(func(t *testing.T, i int, text string) {
		names := mail.TemplateNames()
		o := options
		o.OptOut, o.Contact = "stop@exit.example.org", "op@exit.example.org"
		o.Templates = map[string][]byte{names[uint(i)%uint(len(names))]: []byte(text)}
		w, err := mail.NewWriter(o)
		if err != nil {
			var wrong *mail.TemplateError
			if !errors.As(err, &wrong) {
				t.Error(err)
			}
			return
		}
		for _, form := range []message.Form{message.FormPlaintext, message.FormBinary, message.FormFragment} {
			m := base(form, "Hello\n")
			data, err := w.Append(nil, m)
			if err != nil {
				t.Fatal(err)
			}
			checkForm(t, data, m)
		}
	})
}

// No value of a placeholder brings a line of its own.
func TestPlaceholdersStayInTheirLine(t *testing.T) {
	o := options
	o.Contact = "op@exit.example.org\r\nBcc: eve@example.com"
	o.Templates = map[string][]byte{mail.TemplateSubject: []byte("Ask {contact}\n")}
	m := base(message.FormPlaintext, "Hello\n")
	data, err := newWriter(t, o).Append(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	if got := header(t, data, "Subject"); got != "Ask op@exit.example.org Bcc: eve@example.com" {
		t.Errorf("Subject %q", got)
	}
	checkForm(t, data, m)
}
