package mail_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"mime/quotedprintable"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"mixminion/delivery/mail"
	"mixminion/message"
	"mixminion/packet"
)

var update = flag.Bool("update", false, "write the golden files anew")

var options = mail.Options{ReturnAddress: "nobody@exit.example.org", AllowFrom: true}

const defaultSubject = "Type III Anonymous Message"

func newWriter(t testing.TB, o mail.Options) *mail.Writer {
	t.Helper()
	w, err := mail.NewWriter(o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// base is a message with a text in it, at a time in another zone than the mail will show.
func base(form message.Form, body string) mail.Message {
	d := message.Delivered{Form: form, Body: []byte(body)}
	if form == message.FormEncrypted {
		d.Tag = &packet.Tag{0x4b, 0x11, 19: 0xab}
	}
	return mail.Message{
		To:      []string{"bob@example.com"},
		Form:    form,
		Armored: d.Armor(),
		ID:      [16]byte{0xc0, 0xff, 0xee, 15: 1},
		Date:    time.Date(2026, 11, 22, 19, 59, 58, 7, time.FixedZone("", 3600)),
	}
}

// checkForm checks what holds for every mail, and that the recipient gets the message that was sent.
func checkForm(t *testing.T, data []byte, m mail.Message) {
	t.Helper()
	if !bytes.HasSuffix(data, []byte("\r\n")) {
		t.Error("mail does not end with CRLF")
	}
	var names []string
	inBody := false
	for line := range strings.SplitSeq(strings.TrimSuffix(string(data), "\r\n"), "\r\n") {
		if len(line) > 998 {
			t.Errorf("line of %d bytes", len(line))
		}
		for _, c := range []byte(line) {
			if c >= 0x7F || c < 0x20 && c != '\t' {
				t.Errorf("byte %#x in line %q", c, line)
			}
		}
		switch {
		case inBody:
		case line == "":
			inBody = true
		case line[0] != ' ' && line[0] != '\t':
			name, _, _ := strings.Cut(line, ":")
			names = append(names, name)
		}
	}
	for len(names) > 0 && names[0] == "DKIM-Signature" {
		names = names[1:]
	}
	order := []string{"To", "From", "Subject", "In-Reply-To", "References", "X-Anonymous", "X-Abuse", "Comments", "List-Unsubscribe", "Date",
		"Message-ID", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"}
	for _, name := range names {
		i := slices.Index(order, name)
		if i < 0 {
			t.Fatalf("headers %q: %s is unknown, twice or out of order", names, name)
		}
		order = order[i+1:]
	}
	if slices.Contains(order, "Content-Transfer-Encoding") {
		t.Errorf("headers %q: some are missing", names)
	}

	parsed, err := netmail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	to, err := parsed.Header.AddressList("To")
	if err != nil || len(to) != len(m.To) {
		t.Errorf("To %v, %v", to, err)
	}
	for i := range to {
		if to[i].Address != m.To[i] || to[i].Name != "" {
			t.Errorf("To %v", to)
		}
	}
	if from, err := netmail.ParseAddress(parsed.Header.Get("From")); err != nil || from.Address != "nobody@exit.example.org" {
		t.Errorf("From %v, %v", from, err)
	} else if from.Name != "" && !strings.HasPrefix(from.Name, "[Anon] ") {
		t.Errorf("From name %q", from.Name)
	}
	if date, err := parsed.Header.Date(); err != nil || !date.Equal(m.Date.Truncate(time.Hour)) {
		t.Errorf("Date %v, %v", date, err)
	}

	body := parsed.Body
	switch e := parsed.Header.Get("Content-Transfer-Encoding"); e {
	case "7bit":
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	default:
		t.Errorf("Content-Transfer-Encoding %s", e)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	got, err := message.ParseDelivered(text)
	if err != nil || len(got) != 1 {
		// Short bodies stand for payloads here.
		if !errors.Is(err, message.ErrForm) {
			t.Fatalf("%d messages in the mail, %v", len(got), err)
		}
		return
	}
	want, err := message.ParseDelivered(m.Armored)
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Form != want[0].Form || !bytes.Equal(unixLines(got[0].Body), unixLines(want[0].Body)) {
		t.Errorf("the mail's message is %q, want %q", got[0].Body, want[0].Body)
	}
}

func unixLines(b []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
}

func header(t *testing.T, data []byte, name string) string {
	t.Helper()
	m, err := netmail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return m.Header.Get(name)
}

func TestHeaders(t *testing.T) {
	const plain = "nobody@exit.example.org"
	long := strings.Repeat("x", 900)
	for _, tt := range []struct {
		name, field string
		headers     message.Headers
		want        string
	}{
		{"name", "From", message.Headers{From: "Demo From"}, `"[Anon] Demo From" <` + plain + ">"},
		{"no name", "From", message.Headers{}, plain},
		{"blanks", "From", message.Headers{From: "  Demo   From "}, `"[Anon] Demo From" <` + plain + ">"},
		{"blanks only", "From", message.Headers{From: "   "}, plain},
		{"backslash", "From", message.Headers{From: `Demo\`}, `"[Anon] Demo\\" <` + plain + ">"},
		{"quote", "From", message.Headers{From: `x" <root@example.com>, "`}, plain},
		{"bracket", "From", message.Headers{From: "x] [Boss"}, plain},
		{"colon", "From", message.Headers{From: "x: y"}, plain},
		{"line", "From", message.Headers{From: "x\r\nBcc: y"}, plain},
		{"tab", "From", message.Headers{From: "x\ty"}, plain},
		{"8 bit", "From", message.Headers{From: "Zoë"}, plain},
		{"encoded word", "From", message.Headers{From: "=?utf-8?q?x?="}, plain},
		{"name that does not fit", "From", message.Headers{From: long[:899]}, `"[Anon] ` + long[:899] + `" <` + plain + ">"},
		{"longer name", "From", message.Headers{From: long + "x"}, plain},
		{"backslashes that do not fit", "From", message.Headers{From: strings.Repeat(`\`, 900)}, plain},

		{"subject", "Subject", message.Headers{Subject: " Demo  subject "}, "Demo  subject"},
		{"no subject", "Subject", message.Headers{}, defaultSubject},
		{"line in subject", "Subject", message.Headers{Subject: "x\nBcc: y"}, defaultSubject},
		{"CR in subject", "Subject", message.Headers{Subject: "x\rBcc: y"}, defaultSubject},
		{"8 bit in subject", "Subject", message.Headers{Subject: "Zoë"}, defaultSubject},
		{"subject of blanks", "Subject", message.Headers{Subject: "  "}, defaultSubject},
		{"encoded subject", "Subject", message.Headers{Subject: "=?utf-8?q?Sch=C3=B6n?= und =?utf-8?b?Z3V0?="}, "=?utf-8?q?Sch=C3=B6n?= und =?utf-8?b?Z3V0?="},
		{"encoded line end", "Subject", message.Headers{Subject: "=?utf-8?q?a=0D=0ABcc:_b?="}, defaultSubject},
		{"encoded NUL", "Subject", message.Headers{Subject: "=?utf-8?b?AA==?="}, defaultSubject},
		{"encoded line separator", "Subject", message.Headers{Subject: "=?utf-8?q?a=E2=80=A8b?="}, defaultSubject},
		{"encoded change of direction", "Subject", message.Headers{Subject: "=?utf-8?q?a=E2=80=AEb?="}, defaultSubject},
		{"encoded rubbish", "Subject", message.Headers{Subject: "=?utf-8?q?=FF?="}, defaultSubject},
		{"unknown encoding", "Subject", message.Headers{Subject: "=?utf-8?x?a?="}, defaultSubject},
		{"unknown character set", "Subject", message.Headers{Subject: "=?koi8-r?q?a?="}, defaultSubject},
		{"unclosed encoding", "Subject", message.Headers{Subject: "=?utf-8?q?a"}, defaultSubject},
		{"long subject", "Subject", message.Headers{Subject: long}, long},
		{"longer subject", "Subject", message.Headers{Subject: long + "x"}, defaultSubject},

		{"answer", "In-Reply-To", message.Headers{InReplyTo: " <a.b$c=d@[127.0.0.1]> "}, "<a.b$c=d@[127.0.0.1]>"},
		{"answer to two", "In-Reply-To", message.Headers{InReplyTo: "<1@b> <2@b>"}, ""},
		{"answer to nothing", "In-Reply-To", message.Headers{InReplyTo: "yesterday"}, ""},
		{"answer without domain", "In-Reply-To", message.Headers{InReplyTo: "<a@>"}, ""},
		{"answer without name", "In-Reply-To", message.Headers{InReplyTo: "<@b>"}, ""},
		{"answer with line", "In-Reply-To", message.Headers{InReplyTo: "<a@b\r\nBcc: x>"}, ""},
		{"answer with two @", "In-Reply-To", message.Headers{InReplyTo: "<a@b@c>"}, ""},
		{"answer with comment", "In-Reply-To", message.Headers{InReplyTo: "<a@b(c)>"}, ""},
		{"answer with blank", "In-Reply-To", message.Headers{InReplyTo: "<a b@c>"}, ""},
		{"answer with empty atom", "In-Reply-To", message.Headers{InReplyTo: "<a..b@c>"}, ""},
		{"answer with colon", "In-Reply-To", message.Headers{InReplyTo: "<a:b@c>"}, ""},
		{"answer with quotes", "In-Reply-To", message.Headers{InReplyTo: `<"a"@b>`}, ""},
		{"answer with half a literal", "In-Reply-To", message.Headers{InReplyTo: "<a@[b>"}, ""},
		{"answer with two literals", "In-Reply-To", message.Headers{InReplyTo: "<a@[b[c]>"}, ""},
		{"answer with empty literal", "In-Reply-To", message.Headers{InReplyTo: "<a@[]>"}, ""},
		{"hundred references", "References", message.Headers{References: strings.TrimSpace(strings.Repeat("<1@b> ", 100))},
			strings.TrimSpace(strings.Repeat("<1@b> ", 100))},
		{"more references", "References", message.Headers{References: strings.TrimSpace(strings.Repeat("<1@b> ", 101))}, ""},
		{"references", "References", message.Headers{References: "<1@b>   <2@b>"}, "<1@b> <2@b>"},
		{"references without blank", "References", message.Headers{References: "<1@b><2@b>"}, ""},
		{"references and more", "References", message.Headers{References: "<1@b> and others"}, ""},
		{"unclosed", "References", message.Headers{References: "<1@b> <"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := base(message.FormPlaintext, "Hello\n")
			m.Headers = tt.headers
			data, err := newWriter(t, options).Append(nil, m)
			if err != nil {
				t.Fatal(err)
			}
			if got := header(t, data, tt.field); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.field, got, tt.want)
			}
			checkForm(t, data, m)
		})
	}
}

func TestFromOnlyWhereAllowed(t *testing.T) {
	m := base(message.FormPlaintext, "Hello\n")
	m.Headers.From = "Demo"
	o := options
	o.AllowFrom = false
	data, err := newWriter(t, o).Append(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	if got := header(t, data, "From"); got != o.ReturnAddress {
		t.Errorf("From %q", got)
	}
}

func TestSecondAttemptIsTheSameMail(t *testing.T) {
	w := newWriter(t, options)
	m := base(message.FormPlaintext, "Grüße\n")
	first, err := w.Append(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.Append(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("two mails differ")
	}
}

func TestRefused(t *testing.T) {
	w := newWriter(t, options)
	for _, tt := range []struct {
		name   string
		change func(*mail.Message)
		want   error
	}{
		{"address", func(m *mail.Message) { m.To = []string{"bob@example.com\r\nBcc: eve@example.com"} }, mail.ErrAddress},
		{"second address", func(m *mail.Message) { m.To = append(m.To, "eve") }, mail.ErrAddress},
		{"no address", func(m *mail.Message) { m.To = nil }, mail.ErrAddress},
		{"NUL", func(m *mail.Message) { m.Armored = []byte("a\x00b") }, mail.ErrNotText},
		{"not UTF-8", func(m *mail.Message) { m.Armored = []byte("a\xe9b") }, mail.ErrNotText},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := base(message.FormPlaintext, "Hello\n")
			tt.change(&m)
			got, err := w.Append([]byte("before"), m)
			if !errors.Is(err, tt.want) || string(got) != "before" {
				t.Errorf("%q, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*mail.Options)
		says   string
	}{
		{"no return address", func(o *mail.Options) { o.ReturnAddress = "" }, "return address"},
		{"return address", func(o *mail.Options) { o.ReturnAddress = "Exit <nobody@exit.example.org>" }, "return address"},
		{"domain", func(o *mail.Options) { o.Domain = "exit example" }, "Message-ID"},
		{"subject", func(o *mail.Options) { o.Subject = "Grüße" }, "subject"},
		{"long subject", func(o *mail.Options) { o.Subject = strings.Repeat("x", 990) }, "header line"},
		{"from tag", func(o *mail.Options) { o.FromTag = `"` }, "from tag"},
		{"control character", func(o *mail.Options) { o.Comments = "a\x00b" }, "comments"},
		{"long word", func(o *mail.Options) { o.Abuse = strings.Repeat("x", 999) }, "X-Abuse"},
		{"opt-out address", func(o *mail.Options) { o.OptOut = "stop <stop@exit.example.org>" }, "opt-out address"},
		{"control character in contact", func(o *mail.Options) { o.Contact = "me\x00" }, "contact"},
		{"border in disclaimer", func(o *mail.Options) { o.Disclaimer = "-----BEGIN TYPE III ANONYMOUS MESSAGE-----" }, "five dashes"},
		{"long word in disclaimer", func(o *mail.Options) { o.Disclaimer = strings.Repeat("x", 999) }, "disclaimer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := options
			tt.change(&o)
			if _, err := mail.NewWriter(o); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v does not say %q", err, tt.says)
			}
		})
	}
}

func TestParseAddress(t *testing.T) {
	at := "@" + strings.Repeat("d", 60) + "." + strings.Repeat("d", 60) + ".example"
	longest := strings.Repeat("x", 254-len(at)) + at
	for addr, want := range map[string]bool{
		"bob@example.com":                          true,
		"b.o-b+x!#$%&'*/=?^_`{|}~@e-x.example.com": true,
		"bob@localhost":                            true,
		"bob@3com.com":                             true,
		longest:                                    true,
		"x" + longest:                              false,
		"":                                         false,
		"bob":                                      false,
		"@":                                        false,
		"bob@":                                     false,
		"@example.com":                             false,
		"bob@127.0.0.1":                            false,
		"bob@1":                                    false,
		"bob@[127.0.0.1]":                          false,
		".bob@example.com":                         false,
		"bob.@example.com":                         false,
		"b..b@example.com":                         false,
		"bob@example.com.":                         false,
		"bob@example..com":                         false,
		"bob@alice@example.com":                    false,
		"bob @example.com":                         false,
		`"bob"@example.com`:                        false,
		"<bob@example.com>":                        false,
		"bob,eve@example.com":                      false,
		"bob@example.com\n":                        false,
		"bob@example.com\x00":                      false,
		"b\x7Fb@example.com":                       false,
		"b\xf6b@example.com":                       false,
		"@relay.example:bob@x.com":                 false,
	} {
		got, err := mail.ParseAddress([]byte(addr))
		if want && (err != nil || got != addr) || !want && !errors.Is(err, mail.ErrAddress) {
			t.Errorf("ParseAddress(%q) = %q, %v", addr, got, err)
		}
	}
}

func TestParseAddresses(t *testing.T) {
	eight := strings.Split("a@x b@x c@x d@x e@x f@x g@x h@x", " ")
	for info, want := range map[string][]string{
		"bob@example.com":                                              {"bob@example.com"},
		"bob@example.com\x00alice@example.com":                         {"alice@example.com", "bob@example.com"},
		"b@x\x00a@x\x00b@x":                                            {"a@x", "b@x"},
		string(mail.JoinAddresses(eight)):                              eight,
		string(mail.JoinAddresses(append(slices.Clone(eight), "i@x"))): nil,
		"":                        nil,
		"\x00":                    nil,
		"a@x\x00":                 nil,
		"\x00a@x":                 nil,
		"a@x\x00\x00b@x":          nil,
		"a@x\x00127.0.0.1":        nil,
		"a@x\x00b@10.0.0.1":       nil,
		"a@x,b@x":                 nil,
		"a@x\nb@x":                nil,
		strings.Repeat("a", 2041): nil,
	} {
		got, err := mail.ParseAddresses([]byte(info))
		if !slices.Equal(got, want) || (err == nil) != (want != nil) || err != nil && !errors.Is(err, mail.ErrAddress) {
			t.Errorf("ParseAddresses(%q) = %q, %v", info, got, err)
		}
	}
}

func TestSeveralRecipients(t *testing.T) {
	w := newWriter(t, options)
	m := base(message.FormPlaintext, "Hello\n")
	m.To = []string{"a@example.com", "b@example.com", strings.Repeat("x", 200) + "@example.com"}
	data, err := w.Append(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	checkForm(t, data, m)
}

func FuzzParseAddresses(f *testing.F) {
	f.Add([]byte("bob@example.com"))
	f.Add([]byte("b@x\x00a@x\x00b@x"))
	f.Fuzz(func(t *testing.T, info []byte) {
		list, err := mail.ParseAddresses(info)
		if err != nil {
			return
		}
		again, err := mail.ParseAddresses(mail.JoinAddresses(list))
		if err != nil || !slices.Equal(list, again) || len(list) == 0 || len(list) > packet.MaxRecipients || !slices.IsSorted(list) {
			t.Errorf("%q reads as %q, then as %q, %v", info, list, again, err)
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	f.Add([]byte("bob@example.com"))
	f.Add([]byte("bob@127.0.0.1"))
	f.Add([]byte("bob@example.com>\r\nDATA"))
	f.Fuzz(func(t *testing.T, info []byte) {
		addr, err := mail.ParseAddress(info)
		if err != nil {
			return
		}
		if got, err := netmail.ParseAddress("<" + addr + ">"); err != nil || got.Address != addr || addr != string(info) {
			t.Errorf("%q is accepted and reads as %v, %v", addr, got, err)
		}
	})
}

// No text of a sender makes a header, a second message or a line that a mail server could read in two ways.
func FuzzMail(f *testing.F) {
	f.Add("Demo", "Subject", "<1@b>", "<1@b> <2@b>", []byte("Hello\n"))
	f.Add("x\r\nBcc: a@b", "x\nBcc: a@b", "<1@b>\r\n\r\nbody", "<1@b>\rX: y", []byte("\r\n.\r\nMAIL FROM:<a@b>\r\n"))
	f.Add(`\`, "=?utf-8?q?=0D=0ABcc:_a@b?=", "<@>", "<<>>", []byte("a\r-----END TYPE III ANONYMOUS MESSAGE-----\r"))
	f.Add("", "", "", "", []byte(strings.Repeat("ü", 600)))
	f.Add("a\u2028b", "a\u2029b", "<1@b>\x00", "<1@b>\v<2@b>", []byte("\u2028.\u2028"))
	f.Add(strings.Repeat(`\`, 900), strings.Repeat("=?utf-8?q?a?= ", 64), "<"+strings.Repeat("a", 896)+"@b>", strings.Repeat("<1@b> ", 101), []byte("-\n--\n-----"))
	f.Add("=?utf-8?q?=22_=3Ceve=40b=3E?=", "=?utf-8?b?AA0K?=", "<a@[b]>", "<@[]>", []byte("\x00"))
	w, err := mail.NewWriter(options)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, from, subject, inReplyTo, references string, body []byte) {
		m := base(message.FormPlaintext, string(unixLines(body)))
		m.Headers = message.Headers{From: from, Subject: subject, InReplyTo: inReplyTo, References: references}
		data, err := w.Append(nil, m)
		if err != nil {
			if !errors.Is(err, mail.ErrNotText) {
				t.Error(err)
			}
			return
		}
		checkForm(t, data, m)
	})
}

func BenchmarkAppend(b *testing.B) {
	for name, m := range map[string]mail.Message{
		"plaintext-4KB":  base(message.FormPlaintext, strings.Repeat("Sixty-three letters and a newline make a line of usual length.\n\n", 64)),
		"utf8-4KB":       base(message.FormPlaintext, strings.Repeat("Grüße über sechzig Zeichen hinweg, mit Umlauten und Zeilenende\n", 62)),
		"encrypted-28KB": base(message.FormEncrypted, strings.Repeat("\x80\x01\xfe\x00", packet.PayloadLen/4)),
	} {
		b.Run(name, func(b *testing.B) {
			w := newWriter(b, options)
			b.SetBytes(int64(len(m.Armored)))
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				var err error
				if buf, err = w.Append(buf[:0], m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
