// Package inmail reads the mails that people send to addresses of an operator: requests to be left alone, and answers to anonymous
// mail. Anybody can send such mail, so all that is read is bounded, and mail of programs is told from that of people: whoever answers
// a program automatically may answer for ever, or be made to write to somebody who never asked (RFC 3834).
package inmail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	netmail "net/mail"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"

	"mixminion/delivery/mail"
)

// Limits of what is read.
const (
	maxHeader  = 64 << 10
	maxSubject = 900
)

// ErrMalformed says that bytes are not a mail that a person may have sent. The texts of such errors repeat nothing of the mail.
var ErrMalformed = errors.New("malformed mail")

// Mail is a mail that came in.
type Mail struct {
	// From is the mailbox that claims to have written it, in the form that mail.ParseAddress accepts.
	From string
	// Subject is decoded and one line of printable characters; "" if there is none.
	Subject string
	// Header are the fields, by canonical name.
	Header netmail.Header
	// Body is what follows the header, as it came.
	Body []byte
}

// Read splits a mail. The error wraps ErrMalformed: its header cannot be read, or does not name exactly one mailbox as its writer.
func Read(raw []byte) (*Mail, error) {
	out, err := Split(raw)
	if err != nil {
		return nil, err
	}
	if out.From, err = out.from(); err != nil {
		return nil, err
	}
	out.Subject = oneLine(out.decoded("Subject"), maxSubject)
	return out, nil
}

// Split splits a mail into header and body, whoever wrote it. The error wraps ErrMalformed.
func Split(raw []byte) (*Mail, error) {
	if bytes.HasPrefix(raw, []byte("From ")) { // the line of an mbox file that some programs leave in front
		_, raw, _ = bytes.Cut(raw, []byte("\n"))
	}
	head, body, ok := split(raw)
	if !ok {
		return nil, fmt.Errorf("%w: its header has no end, or more than %d KB", ErrMalformed, maxHeader>>10)
	}
	m, err := netmail.ReadMessage(bytes.NewReader(head))
	if err != nil {
		return nil, fmt.Errorf("%w: in its header is a line that is no header line", ErrMalformed)
	}
	return &Mail{Header: m.Header, Body: body}, nil
}

// split finds the end of the header, which includes the empty line.
func split(raw []byte) (head, body []byte, ok bool) {
	end := -1
	for _, empty := range []string{"\n\n", "\n\r\n"} {
		if i := bytes.Index(raw[:min(len(raw), maxHeader)], []byte(empty)); i >= 0 && (end < 0 || i+len(empty) < end) {
			end = i + len(empty)
		}
	}
	if end < 0 {
		return nil, nil, false
	}
	return raw[:end], raw[end:], true
}

// decoder undoes encoded words (RFC 2047). Those of unknown charsets stay as they are.
var decoder = mime.WordDecoder{CharsetReader: charset.Reader}

func (m *Mail) decoded(name string) string {
	value := m.Header.Get(name)
	if text, err := decoder.DecodeHeader(value); err == nil {
		return text
	}
	return value
}

// oneLine makes text one line of valid UTF-8 with no control characters and at most limit bytes.
func oneLine(text string, limit int) string {
	text = strings.ToValidUTF8(text, "?")
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
	}), " ")
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}

func (m *Mail) from() (string, error) {
	values := m.Header["From"]
	if len(values) != 1 {
		return "", fmt.Errorf("%w: it does not have one From line", ErrMalformed)
	}
	written := mailbox(values[0])
	if written == "" {
		return "", fmt.Errorf("%w: its From line does not hold one address", ErrMalformed)
	}
	addr, err := mail.ParseAddress([]byte(written))
	if err != nil || !strings.Contains(values[0], addr) { // within the address every byte counts
		return "", fmt.Errorf("%w: the address in its From line is of a form that no exit delivers to", ErrMalformed)
	}
	return addr, nil
}

// nameAndMailbox is the usual form of a From line. No list of mailboxes and no group has it.
var nameAndMailbox = regexp.MustCompile(`^[^<>,;:"()\\]*<([^<>]+)>\s*$`)

// mailbox returns the address in a From line with one mailbox, or "". Names are not looked at: many programs write
// bytes that are no ASCII there, encoded words of charsets that are not known here, or the address once more without
// quotes.
func mailbox(value string) string {
	value = strings.Map(func(c rune) rune {
		if c >= utf8.RuneSelf {
			return '?'
		}
		return c
	}, value)
	if m := nameAndMailbox.FindStringSubmatch(value); m != nil {
		return strings.TrimSpace(m[1])
	}
	anyCharset := mime.WordDecoder{CharsetReader: func(_ string, r io.Reader) (io.Reader, error) { return r, nil }}
	if list, err := (&netmail.AddressParser{WordDecoder: &anyCharset}).ParseList(value); err == nil && len(list) == 1 {
		return list[0].Address
	}
	return ""
}

// NoSender tells Automatic that the envelope is not known.
const NoSender = "unknown"

// Automatic reports whether the mail was sent by a program, or through a list: a bounce, a receipt, an answer in absence, a newsletter.
// sender is the address in the envelope, "" or "<>" for the empty one; a Return-Path line counts like it.
func (m *Mail) Automatic(sender string) bool {
	senders := append([]string{sender}, m.Header["Return-Path"]...)
	for _, s := range senders {
		if s = strings.TrimSpace(s); s == "" || s == "<>" {
			return true
		}
	}
	for _, addr := range append(senders, m.From) {
		local, _, _ := strings.Cut(strings.ToLower(strings.Trim(addr, "<> ")), "@")
		if slices.Contains(robots, local) {
			return true
		}
	}
	for name, values := range m.Header {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "list-") || slices.Contains(robotFields, name) {
			return true
		}
		for _, v := range values {
			v = strings.ToLower(strings.TrimSpace(v))
			switch name {
			case "auto-submitted":
				word, _, _ := strings.Cut(v, ";")
				if strings.TrimSpace(word) != "no" {
					return true
				}
			case "precedence":
				if !slices.Contains([]string{"normal", "first-class", "special-delivery"}, v) {
					return true
				}
			case "x-auto-response-suppress":
				if strings.Contains(v, "all") || strings.Contains(v, "autoreply") {
					return true
				}
			case "content-type":
				kind, _, _ := strings.Cut(v, ";")
				if slices.Contains(reports, strings.TrimSpace(kind)) {
					return true
				}
			}
		}
	}
	return false
}

var (
	robots      = []string{"mailer-daemon", "no-reply", "noreply", "do-not-reply", "donotreply", "listserv", "majordomo"}
	robotFields = []string{"mailing-list", "x-mailing-list", "x-autoreply", "x-autorespond", "x-autoresponder", "x-loop", "feedback-id", "x-anonymous"}
	reports     = []string{"multipart/report", "message/delivery-status", "message/disposition-notification", "message/feedback-report"}
)
