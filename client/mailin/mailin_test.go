package mailin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"mixminion/message"

	"github.com/google/go-cmp/cmp"
)

// lines makes the mail that programs write of lines.
func lines(l ...string) []byte { return []byte(strings.Join(l, "\r\n") + "\r\n") }

const to = "To: bob@example.net"

func TestParse(t *testing.T) {
	raw := lines(
		"Return-Path: <alice@example.com>",
		"Received: from laptop.example.com ([192.0.2.7])",
		"Date: Mon, 02 Nov 2026 10:00:00 +0100",
		"From: Carol <alice@example.com>",
		"To: Bob <bob@example.net>, friends: dave@example.net, eve@example.net;",
		"Cc: \"Frank, the third\" <frank@example.net>",
		"Bcc: grace@example.net",
		"Subject: An open",
		" letter",
		"Message-ID: <1@laptop.example.com>",
		"In-Reply-To: <7@example.net>",
		"References: <5@example.net>",
		"\t<6@laptop.example.com> <7@example.net>",
		"User-Agent: Mailer 7.1",
		"MIME-Version: 1.0",
		"Content-Type: text/plain; charset=us-ascii",
		"",
		"Dear Bob,",
		"",
		"this is it.",
	)
	got, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	want := &Mail{
		To: []string{"bob@example.net", "dave@example.net", "eve@example.net"}, Cc: []string{"frank@example.net"}, Bcc: []string{"grace@example.net"},
		Headers: message.Headers{
			From: "Carol", Subject: "An open letter", InReplyTo: "<7@example.net>",
			References: "<5@example.net> <6@laptop.example.com> <7@example.net>",
		},
		Body: []byte("Dear Bob,\n\nthis is it.\n"),
		Dropped: []string{"Return-Path", "Received", "Date", "From (but for the name)", "Message-Id", "User-Agent", "Mime-Version",
			"Content-Type"},
		Warnings: []string{
			`the recipients will see the name "Carol" that stands in From; take it out if it is yours`,
			"References seems to name mails of your own",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestText(t *testing.T) {
	for _, c := range []struct {
		name string
		raw  []byte
		want string
	}{
		{"no content type", lines(to, "", "plain"), "plain\n"},
		{"line of an mbox", lines("From alice@example.com Mon Nov  2 10:00:00 2026", to, "", "plain"), "plain\n"},
		{"bare NL", []byte(to + "\n\nplain\n"), "plain\n"},
		{"lone CR", lines(to, "", "one\rtwo"), "one\ntwo\n"},
		{"no text", lines(to, ""), ""},
		{"header only", lines(to), ""},
		{"8bit without charset", lines(to, "", "Gr\u00fc\u00dfe"), "Gr\u00fc\u00dfe\n"},
		{"quoted-printable", lines(to, "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: quoted-printable", "",
			"Gr=C3=BC=C3=9Fe, a long=", " line"), "Gr\u00fc\u00dfe, a long line\n"},
		{"base64", lines(to, "Content-Type: text/plain; charset=\"UTF-8\"", "Content-Transfer-Encoding: BASE64", "", "R3LDvMOfZQo="), "Gr\u00fc\u00dfe\n"},
		{"latin 1", lines(to, "Content-Type: text/plain; charset=iso-8859-1", "", "Gr\xfc\xdfe"), "Gr\u00fc\u00dfe\n"},
		{"latin 9", lines(to, "Content-Type: text/plain; charset=ISO-8859-15", "", "5 \xa4"), "5 \u20ac\n"},
		{"windows", lines(to, "Content-Type: text/plain; charset=windows-1252", "", "5 \x80"), "5 \u20ac\n"},
		{"koi8-r", lines(to, "Content-Type: text/plain; charset=koi8-r", "", "\xe4\xc1"), "\u0414\u0430\n"},
		{"iso-2022-jp", lines(to, "Content-Type: text/plain; charset=iso-2022-jp", "", "\x1b$B$\"\x1b(B"), "\u3042\n"},
		{"byte order mark", lines(to, "Content-Type: text/plain; charset=utf-8", "", "\uFEFFplain"), "plain\n"},
		{"format=flowed", lines(to, "Content-Type: text/plain; format=flowed", "", "a line that ", "goes on", "  stuffed", " >no quote", "-- "),
			"a line that\ngoes on\n stuffed\n>no quote\n-- \n"},
		{"multipart with one text", multipart("mixed", part("text/plain", "plain")), "plain"},
		{"nested", multipart("mixed", "Content-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\n\r\nplain\r\n--in--\r\n"), "plain"},
		{"text that is long", lines(to, "", strings.Repeat("x", 100_000)), strings.Repeat("x", 100_000) + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse(c.raw)
			if err != nil {
				t.Fatal(err)
			}
			if string(got.Body) != c.want {
				t.Errorf("got %.200q, want %.200q", got.Body, c.want)
			}
		})
	}
}

func multipart(kind string, parts ...string) []byte {
	return []byte(to + "\r\nContent-Type: multipart/" + kind + "; boundary=\"b=1\"\r\n\r\nfor old programs\r\n--b=1\r\n" +
		strings.Join(parts, "\r\n--b=1\r\n") + "\r\n--b=1--\r\n")
}

func part(kind, text string) string { return "Content-Type: " + kind + "\r\n\r\n" + text }

func TestRefused(t *testing.T) {
	plain := part("text/plain", "plain")
	for _, c := range []struct {
		name string
		raw  []byte
		err  error
		says string
	}{
		{"nothing", nil, ErrMail, "begin with header lines"},
		{"no header", lines("", "Dear Bob,"), ErrMail, "begin with header lines"},
		{"only text", lines("Dear Bob,", "", "hello"), ErrMail, "no header line"},
		{"begins with a blank", lines(" To: bob@example.net", "", "hello"), ErrMail, "no header line"},
		{"long header", lines(to, "X-Long: "+strings.Repeat("x", maxHeader), "", "hello"), ErrTooLong, "its header"},
		{"endless header", lines(to, strings.Repeat("X-Long: x\r\n", maxHeader)), ErrTooLong, "its header"},
		{"many recipients", lines("To: "+strings.Repeat("b@example.net,", maxRecipients)+" b@example.net", "", "x"), ErrTooLong, "recipients"},
		{"long subject", lines(to, "Subject: "+strings.Repeat("x", message.MaxHeaderLen+1), "", "x"), ErrTooLong, "subject"},
		{"long subject in another script", lines(to, "Subject: "+strings.Repeat("\u3042", 200), "", "x"), ErrTooLong, "subject"},
		{"two subjects", lines(to, "Subject: a", "Subject: b", "", "x"), ErrMail, "2 fields named Subject"},
		{"two From", lines(to, "From: a@example.com", "From: b@example.com", "", "x"), ErrMail, "2 fields named From"},
		{"bad To", lines("To: bob at example", "", "x"), ErrMail, "To is no list of mail addresses"},
		{"bad Cc", lines(to, "Cc: bob at example", "", "x"), ErrMail, "Cc is no list of mail addresses"},
		{"bad Bcc", lines(to, "Bcc: <", "", "x"), ErrMail, "Bcc is no list of mail addresses"},
		{"html", lines(to, "Content-Type: text/html", "", "<p>x"), ErrPart, `"text/html"; have your mail program write plain text only`},
		{"alternative html", multipart("alternative", plain, part("text/html", "<p>x")), ErrPart, `"text/html"`},
		{"picture", multipart("mixed", plain, part("image/png", "x")), ErrPart, `"image/png"; take it out`},
		{"named picture", multipart("mixed", plain, "Content-Type: image/png\r\nContent-Disposition: attachment; filename=home.png\r\n\r\nx"),
			ErrPart, `"image/png", named "home.png"`},
		{"attached text", multipart("mixed", plain, "Content-Disposition: attachment; filename=a.txt\r\n\r\nx"), ErrPart, `named "a.txt"`},
		{"named text", multipart("mixed", part("text/plain; name=a.txt", "x")), ErrPart, `named "a.txt"`},
		{"attachment without a name", multipart("mixed", plain, "Content-Disposition: attachment\r\n\r\nx"), ErrPart, `"text/plain"; take it out`},
		{"forwarded mail", multipart("mixed", plain, part("message/rfc822", to)), ErrPart, `"message/rfc822"`},
		{"key", multipart("mixed", plain, part("application/pgp-keys", "x")), ErrPart, `"application/pgp-keys"`},
		{"signed", multipart("signed; protocol=\"application/pgp-signature\"", plain), ErrPart, "names the signer"},
		{"encrypted", multipart("encrypted", plain), ErrPart, "encrypted by the mail program"},
		{"two texts", multipart("mixed", plain, plain), ErrPart, "second text/plain part"},
		{"no text", multipart("mixed", part("multipart/mixed; boundary=x", "--x--")), ErrPart, "no text/plain part"},
		{"a name with a line end", multipart("mixed", "Content-Type: image/png; name*=utf-8''a%0Ab%1b\r\n\r\nx"), ErrPart, `named "a\nb\x1b"`},
		{"no boundary", lines(to, "Content-Type: multipart/mixed", "", "x"), ErrMail, "what is between them"},
		{"no end", []byte(to + "\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nplain\r\n"), ErrMail, "cut off"},
		{"cut off in a header", []byte(to + "\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX"), ErrMail, "cut off"},
		{"senseless type", lines(to, "Content-Type: text/plain; charset=\"", "", "x"), ErrPart, "makes no sense"},
		{"unknown charset", lines(to, "Content-Type: text/plain; charset=x-klingon", "", "x"), ErrCharset, `"x-klingon", which is unknown`},
		{"disabled charset", lines(to, "Content-Type: text/plain; charset=unknown-8bit", "", "x"), ErrCharset, `"unknown-8bit"`},
		{"unknown encoding", lines(to, "Content-Transfer-Encoding: x-uuencode", "", "x"), ErrCharset, `"x-uuencode", which is unknown`},
		{"not utf-8", lines(to, "Content-Type: text/plain; charset=utf-8", "", "\xfc"), ErrCharset, `"utf-8" that it claims`},
		{"not ascii", lines(to, "", "Gr\xfc\xdfe"), ErrCharset, `"us-ascii" that it claims`},
		{"not windows-1252", lines(to, "Content-Type: text/plain; charset=koi8-t", "", "x"), ErrCharset, `"koi8-t"`},
		{"bad base64", lines(to, "Content-Transfer-Encoding: base64", "", "R3*="), ErrMail, "transfer encoding"},
		{"bad quoted-printable", lines(to, "Content-Transfer-Encoding: quoted-printable", "", "\x01"), ErrMail, "transfer encoding"},
		{"unknown charset of the subject", lines(to, "Subject: =?x-klingon?q?x?=", "", "x"), ErrCharset, "Subject"},
		{"wrong charset of the subject", lines(to, "Subject: =?utf-8?q?=FC?=", "", "x"), ErrCharset, "Subject"},
		{"8bit subject", lines(to, "Subject: Gr\xfc\xdfe", "", "x"), ErrCharset, "Subject"},
		{"many parts", multipart("mixed", repeat(maxParts+1, part("multipart/mixed; boundary=x", "--x--"))...), ErrPart, "too many parts"},
		{"deep parts", lines(to, deep(maxDepth+1)), ErrPart, "too many parts"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Parse(c.raw)
			if !errors.Is(err, c.err) || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Fatalf("got %+v and %v, want an error that says %s", m, err, c.says)
			}
			if strings.Contains(err.Error(), "bob") || strings.Contains(err.Error(), "plain\r\n") {
				t.Errorf("the error tells too much: %v", err)
			}
		})
	}
	if _, err := Parse(make([]byte, MaxMail+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("a mail that is too long: %v", err)
	}
}

func repeat(n int, s string) (out []string) {
	for range n {
		out = append(out, s)
	}
	return out
}

func deep(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	return b.String() + "\r\nplain"
}

func TestHeaders(t *testing.T) {
	for _, c := range []struct {
		name string
		raw  []byte
		want message.Headers
	}{
		{"none", lines(to, "", "x"), message.Headers{}},
		{"encoded subject", lines(to, "Subject: =?iso-8859-1?b?R3L83w==?=", " =?iso-8859-1?q?e?=", "", "x"), message.Headers{Subject: "=?utf-8?q?Gr=C3=BC=C3=9Fe?="}},
		{"encoded ascii", lines(to, "Subject: =?utf-8?q?An_open_letter?=", "", "x"), message.Headers{Subject: "An open letter"}},
		{"8bit subject", lines(to, "Subject: Gr\u00fc\u00dfe", "", "x"), message.Headers{Subject: "=?utf-8?q?Gr=C3=BC=C3=9Fe?="}},
		{"a line end in a subject", lines(to, "Subject: =?utf-8?q?a=0D=0AFrom:_b?=", "", "x"), message.Headers{Subject: "a From: b"}},
		{"quoted name", lines(to, `From: "Carol the \ first" <c@example.com>`, "", "x"), message.Headers{From: "Carol the first"}},
		{"address alone", lines(to, "From: c@example.com", "", "x"), message.Headers{}},
		{"encoded name", lines(to, "From: =?utf-8?q?Carol?= <c@example.com>", "", "x"), message.Headers{From: "Carol"}},
		{"name of another script", lines(to, "From: =?utf-8?q?=C3=BC?= <c@example.com>", "", "x"), message.Headers{}},
		{"name that is an address", lines(to, `From: "c@example.com" <c@example.com>`, "", "x"), message.Headers{}},
		{"name that no exit takes", lines(to, `From: "Carol: [me]" <c@example.com>`, "", "x"), message.Headers{}},
		{"name like an encoded word", lines(to, `From: "=?utf-8?" <c@example.com>`, "", "x"), message.Headers{}},
		{"several people", lines(to, "From: A <a@example.com>, B <b@example.com>", "", "x"), message.Headers{}},
		{"senseless From", lines(to, "From: me", "", "x"), message.Headers{}},
		{"ids", lines(to, "In-Reply-To: <1@example.net> <2@example.net>", "References: <1@example.net><2@example.net> oops <3> <4@x y>", "", "x"),
			message.Headers{InReplyTo: "<1@example.net>", References: "<1@example.net> <2@example.net>"}},
		{"no ids", lines(to, "In-Reply-To: your mail of Monday", "", "x"), message.Headers{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse(c.raw)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got.Headers); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A long list of identifiers keeps its first one and as many of the last as fit.
func TestManyReferences(t *testing.T) {
	line := "References:"
	for i := range 120 {
		line += fmt.Sprintf("\r\n <%d@example.net>", i)
	}
	m, err := Parse(lines(to, line, "", "x"))
	if err != nil {
		t.Fatal(err)
	}
	got := m.Headers.References
	ids := strings.Fields(got)
	if len(got) > message.MaxHeaderLen || len(got) < message.MaxHeaderLen-40 {
		t.Errorf("%d bytes", len(got))
	}
	if ids[0] != "<0@example.net>" || ids[len(ids)-1] != "<119@example.net>" || ids[1] != fmt.Sprintf("<%d@example.net>", 121-len(ids)) {
		t.Errorf("got %s", got)
	}
}

func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		want  []string // beginnings
	}{
		{"nothing", []string{to, "From: alice@example.com", "References: <1@example.net>", "", "Dear Bob,", "it is so:", "", "well."}, nil},
		{"attribution", []string{to, "", "On Monday, 2 Nov 2026, Bob wrote:", "> hello", "yes"}, []string{"line 1 of the text says whom you quote"}},
		{"long attribution", []string{to, "", "On Monday, 2 Nov 2026, Bob <bob@example.net>", "wrote:", "", "> hello"}, []string{"line 2 of the text says whom"}},
		{"attribution in another language", []string{to, "", "Bob a dit:", "", "> hello"}, []string{"line 1 of the text says whom"}},
		{"several", []string{to, "", "A wrote:", "> x", "B wrote:", "> y", "C writes:", "> z"}, []string{"line 1 (and 2 more) of the text says whom"}},
		{"forwarded", []string{to, "", "----- Original Message -----", "x"}, []string{"line 1 of the text says whom"}},
		{"quotation", []string{to, "", "See", "> hello", "> you"}, []string{"line 2 (and 1 more) of the text quotes a mail"}},
		{"own name", []string{to, "From: \"Liddell, Alice\" <a@example.com>", "", "x", "a liddell, she said", "Yours, Alice."}, []string{"the recipients will see the name", "line 3 of the text holds a name of yours"}},
		{"no name", []string{to, "From: alice Li <a@example.com>", "", "alice, Li, Alices"}, []string{"the recipients will see the name"}},
		{"name in another script", []string{to, "From: =?utf-8?q?J=C3=B6rg?= <a@example.com>", "Content-Type: text/plain; charset=utf-8", "", "Gruss, J\u00f6rg"},
			[]string{"the name in From is not sent", "line 1 of the text holds a name"}},
		{"subject", []string{to, "Subject: from Alice", "From: Alice <a@example.com>", "", "x"}, []string{"the recipients will see the name", "the subject holds a name"}},
		{"subject with an address", []string{to, "Subject: write to A@example.com", "From: a@example.com", "", "x"}, []string{"the subject holds a name or an address"}},
		{"telephone", []string{to, "", "x", "Sent from my iPhone"}, []string{"line 2 of the text begins a signature"}},
		{"uuencode", []string{to, "", "begin the day", "begin 644 secret plan.pdf", "M3F", "end"}, []string{"line 2 of the text begins a file, and names it"}},
		{"signature", []string{to, "", "x", "-- ", "Alice"}, []string{"line 2 of the text begins a signature"}},
		{"own address", []string{to, "From: alice@example.com", "", "x", "write to Alice@Example.com"}, []string{"line 2 of the text holds your own mail address"}},
		{"address of Reply-To", []string{to, "Reply-To: al@example.org", "", "write to al@example.org"},
			[]string{"Reply-To is not sent", "line 1 of the text holds your own mail address"}},
		{"pgp", []string{to, "", "-----BEGIN PGP SIGNED MESSAGE-----"}, []string{"line 1 of the text begins something of PGP"}},
		{"control", []string{to, "", "a\fb"}, []string{"line 1 of the text has a control character"}},
		{"answer to oneself", []string{to, "From: alice@example.com", "In-Reply-To: <1@mail.example.com>", "", "x"}, []string{"In-Reply-To seems"}},
		{"own references", []string{to, "Message-ID: <3@laptop>", "References: <1@example.net> <2@laptop>", "", "x"}, []string{"References seems"}},
		{"name", []string{to, "From: Alice <alice@example.com>", "", "x"}, []string{`the recipients will see the name "Alice"`}},
		{"name that is no name", []string{to, "From: \"a@b\" <alice@example.com>", "", "x"}, []string{"the name in From looks like an address"}},
		{"several people", []string{to, "From: A <alice@example.com>, B <b@example.com>", "", "x"}, []string{"From names several people"}},
		{"senseless From", []string{to, "From: me", "", "x"}, []string{"From makes no sense"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Parse(lines(c.lines...))
			if err != nil {
				t.Fatal(err)
			}
			for i, w := range m.Warnings {
				if i >= len(c.want) || !strings.HasPrefix(w, c.want[i]) {
					t.Errorf("warns: %s", w)
				}
			}
			if len(m.Warnings) < len(c.want) {
				t.Errorf("warns: %q", m.Warnings)
			}
		})
	}
}

func TestResent(t *testing.T) {
	m, err := Parse(lines("Resent-To: dave@example.net", to, "", "x"))
	if err != nil || !m.Resent {
		t.Errorf("got %+v, %v", m, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(lines(to, "From: Carol <alice@example.com>", "References: <1@example.net>", "Subject: =?iso-8859-1?q?=FC?=", "", "x", "-- ", "y")))
	f.Add(multipart("mixed", part("text/plain; charset=koi8-r; format=flowed", "x\r\n> y"), part("image/png", "x")))
	f.Add([]byte(lines(to, deep(3))))
	seeds, err := filepath.Glob("testdata/*.mail")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range seeds {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := Parse(raw)
		if err != nil {
			if len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\n\r\x1b") {
				t.Errorf("error %q", err)
			}
			return
		}
		if !utf8.Valid(m.Body) || strings.Contains(string(m.Body), "\r") {
			t.Errorf("body %q", m.Body)
		}
		if len(m.Body) > 10*len(raw)+100 {
			t.Errorf("%d bytes of text in a mail of %d", len(m.Body), len(raw))
		}
		if err := m.Headers.Validate(); err != nil {
			t.Error(err)
		}
		for _, w := range m.Warnings {
			if strings.ContainsAny(w, "\n\r\x1b") {
				t.Errorf("warning %q", w)
			}
		}
	})
}
