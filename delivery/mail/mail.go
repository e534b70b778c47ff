// Package mail writes the mail that leaves the network: it puts a delivered message, already decoded and armored, into the form of
// a mail with a small fixed set of headers. The sources are E2E-spec 3.1 and E2E-spec 3.2.3.
//
// The mail says nothing that its sender did not choose to say, except the name of the exit: the date is rounded down to the hour,
// the Message-ID is a random number, and there is one MIME form per kind of text. All of it is a function of the message, so that a
// second attempt at the same delivery gives the same bytes and a mail server can recognise the duplicate.
//
// Around the message stands the operator's boilerplate: a subject, a disclaimer, notes about messages that are not plain text, and how to
// opt out. It comes from templates that are checked when they are read.
//
// The package is pure: text in, bytes out.
package mail

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mixminion/delivery/mail/dkim"
	"mixminion/message"
)

// DefaultFromTag precedes a name that the sender chose.
const DefaultFromTag = "[Anon]"

// Errors of Append and ParseAddress. None of them repeats the text that it is about.
var (
	// ErrAddress: not a mailbox in the form of E2E-spec 3.3.1.
	ErrAddress = errors.New("malformed mail address")
	// ErrNotText: the text is not valid UTF-8 or holds a NUL, so that it cannot be sent as it is.
	ErrNotText = errors.New("message is not text")
)

// Message is one message on its way out.
type Message struct {
	To   []string // mailboxes that ParseAddress accepts; all are shown to each of them
	Form message.Form
	// Headers are what the sender wishes to see in the mail's. A value that is not allowed there is left out.
	Headers message.Headers
	// Armored is the message between its BEGIN and END lines.
	Armored []byte

	// ID is a random number drawn for this message alone, the same in every attempt. The Message-ID shows it.
	ID [16]byte
	// Date is when the message was queued for delivery. The mail shows its hour.
	Date time.Time
}

// Options is what an operator can say about the mails of an exit. Every text in it is printable ASCII.
type Options struct {
	ReturnAddress string // the mailbox in the From line
	Domain        string // of Message-IDs; "" means the domain of ReturnAddress
	AllowFrom     bool   // senders may choose the name in the From line
	FromTag       string // before a name that a sender chose; "" means DefaultFromTag
	Subject       string // in place of the template TemplateSubject; "" means that template
	Abuse         string // where to complain, for an X-Abuse line; "" means no line
	Comments      string // for a Comments line; "" means no line
	Disclaimer    string // one paragraph in place of the template TemplateDisclaimer; "" means that template
	OptOut        string // the mailbox of those who want no mail from here; "" means no List-Unsubscribe line and no text about it
	Contact       string // of the operator, for templates

	// Templates are the operator's own by name; see TemplateNames. For what is missing the shipped ones are used, and an empty one says
	// nothing.
	Templates map[string][]byte
	// Keys sign every mail, each on its own.
	Keys []*dkim.Key
}

// Writer writes the mails of one exit. It may be used from several goroutines.
type Writer struct {
	returnAddress string
	domain        string
	allowFrom     bool
	fromTag       string
	fixedHeaders  string // X-Anonymous, X-Abuse, Comments, List-Unsubscribe
	text          *boilerplate
	keys          []*dkim.Key
}

// NewWriter checks o. Its error names the option that is wrong.
func NewWriter(o Options) (*Writer, error) {
	if o.FromTag == "" {
		o.FromTag = DefaultFromTag
	}
	for _, f := range []struct{ name, value string }{
		{"from tag", o.FromTag}, {"subject", o.Subject}, {"abuse text", o.Abuse}, {"comments", o.Comments},
		{"disclaimer", o.Disclaimer}, {"contact", o.Contact},
	} {
		if !printable(collapse(f.value)) {
			return nil, fmt.Errorf("%s: only printable ASCII characters may stand in a mail header or disclaimer", f.name)
		}
	}
	if strings.ContainsAny(o.FromTag, `"\`) {
		return nil, errors.New(`from tag: neither " nor \ may be part of it`)
	}
	if _, err := ParseAddress([]byte(o.OptOut)); o.OptOut != "" && err != nil {
		return nil, fmt.Errorf("opt-out address %q: %w", o.OptOut, err)
	}
	ret, err := ParseAddress([]byte(o.ReturnAddress))
	if err != nil {
		return nil, fmt.Errorf("return address %q: %w", o.ReturnAddress, err)
	}
	if o.Domain == "" {
		o.Domain = ret[strings.IndexByte(ret, '@')+1:]
	}
	if !validDotAtom(o.Domain) {
		return nil, fmt.Errorf("domain %q of Message-IDs: not a domain name", o.Domain)
	}
	w := &Writer{
		returnAddress: ret,
		domain:        o.Domain,
		allowFrom:     o.AllowFrom,
		fromTag:       collapse(o.FromTag),
		keys:          o.Keys,
	}
	if w.text, err = texts(o); err != nil {
		return nil, err
	}
	for _, line := range []string{w.fromLine(""), "Subject: " + w.text.subject, w.messageID([16]byte{})} {
		if len(line) > maxLine {
			return nil, fmt.Errorf("a header line of %d characters: at most %d may stand in a mail", len(line), maxLine)
		}
	}
	if w.fixedHeaders, err = fixedHeaders(o); err != nil {
		return nil, err
	}
	return w, nil
}

// texts makes the boilerplate, with what o says in place of a template.
func texts(o Options) (*boilerplate, error) {
	b, err := fill(o.Templates, placeholders{
		"contact": collapse(o.Contact), "domain": o.Domain, "return-address": o.ReturnAddress, optOutAddress: o.OptOut,
	})
	if err != nil {
		return nil, err
	}
	if s := collapse(o.Subject); s != "" {
		b.subject = s
	}
	if text := wrap("", o.Disclaimer, ""); text != "" {
		b.disclaimer = text + "\r\n\r\n"
	}
	switch {
	case longLine(b.disclaimer):
		return nil, fmt.Errorf("disclaimer: a word of more than %d characters does not fit into a mail", maxLine)
	case strings.Contains(b.disclaimer, "-----"):
		return nil, errors.New("disclaimer: five dashes in a row could pass for the border of a message")
	}
	return b, nil
}

// ReturnAddress is the mailbox that mails come from.
func (w *Writer) ReturnAddress() string { return w.returnAddress }

// Append appends m as a mail with CRLF line ends to dst: only ASCII, and no line is longer than 998 bytes. The error is ErrAddress
// or ErrNotText; dst is then returned as it was.
func (w *Writer) Append(dst []byte, m Message) ([]byte, error) {
	if len(m.To) == 0 {
		return dst, ErrAddress
	}
	for _, to := range m.To {
		if _, err := ParseAddress([]byte(to)); err != nil {
			return dst, err
		}
	}
	enc, err := chooseEncoding(m.Armored)
	if err != nil {
		return dst, err
	}

	out := dst
	line := func(name, value string) {
		out = append(out, name...)
		out = append(out, value...)
		out = append(out, "\r\n"...)
	}
	line("To: ", strings.Join(m.To, ",\r\n "))
	line("", w.fromLine(m.Headers.From))
	line("Subject: ", w.subjectFor(m.Headers.Subject))
	if id := messageIDs(m.Headers.InReplyTo, 1); id != "" {
		line("In-Reply-To: ", id)
	}
	if ids := messageIDs(m.Headers.References, maxReferences); ids != "" {
		line("References: ", ids)
	}
	out = append(out, w.fixedHeaders...)
	date := m.Date.UTC().Truncate(time.Hour)
	line("Date: ", date.Format("Mon, 02 Jan 2006 15:04:05 +0000"))
	line("", w.messageID(m.ID))
	line("MIME-Version: ", "1.0")
	line("Content-Type: ", "text/plain; charset="+enc.charset())
	line("Content-Transfer-Encoding: ", enc.transferEncoding())
	line("", "")

	body := len(out)
	out = enc.append(out, []byte(w.text.disclaimer))
	out = enc.append(out, []byte(w.text.note(m.Form)))
	out = enc.append(out, m.Armored)
	out = enc.append(out, []byte(w.text.optOut))
	return w.sign(out, len(dst), body, date), nil
}

// sign puts the signatures in front of the mail that begins at start in b and has its text at body.
func (w *Writer) sign(b []byte, start, body int, date time.Time) []byte {
	var fields []byte
	for _, k := range w.keys {
		// A key that worked when it was read does not fail. If it does, the mail had better go unsigned than be lost.
		if f, err := k.Sign(b[start:body], b[body:], date); err == nil {
			fields = append(fields, f...)
		}
	}
	return slices.Insert(b, start, fields...)
}

func (w *Writer) messageID(id [16]byte) string {
	return "Message-ID: <" + hex.EncodeToString(id[:]) + "@" + w.domain + ">"
}
