// Package mail writes the mail that leaves the network: it puts a delivered message, already decoded and armored, into the form of
// a mail with a small fixed set of headers. The sources are E2E-spec 3.1 and E2E-spec 3.2.3.
//
// The mail says nothing that its sender did not choose to say, except the name of the exit: the date is rounded down to the hour,
// the Message-ID is a random number, and there is one MIME form per kind of text. All of it is a function of the message, so that a
// second attempt at the same delivery gives the same bytes and a mail server can recognise the duplicate.
//
// The package is pure: text in, bytes out.
package mail

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"mixminion/message"
)

// DefaultSubject stands in the Subject line when the sender gave none.
const DefaultSubject = "Type III Anonymous Message"

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
	Subject       string // "" means DefaultSubject
	Abuse         string // where to complain, for an X-Abuse line; "" means no line
	Comments      string // for a Comments line; "" means no line
	Disclaimer    string // one paragraph above every message; "" means none
}

// Writer writes the mails of one exit. It may be used from several goroutines.
type Writer struct {
	returnAddress string
	domain        string
	allowFrom     bool
	fromTag       string
	subject       string
	fixedHeaders  string // X-Anonymous, X-Abuse, Comments
	disclaimer    string // with the empty line after it
}

// NewWriter checks o. Its error names the option that is wrong.
func NewWriter(o Options) (*Writer, error) {
	if o.FromTag == "" {
		o.FromTag = DefaultFromTag
	}
	if o.Subject == "" {
		o.Subject = DefaultSubject
	}
	for _, f := range []struct{ name, value string }{
		{"from tag", o.FromTag}, {"subject", o.Subject}, {"abuse text", o.Abuse}, {"comments", o.Comments},
		{"disclaimer", o.Disclaimer},
	} {
		if !printable(collapse(f.value)) {
			return nil, fmt.Errorf("%s: only printable ASCII characters may stand in a mail header or disclaimer", f.name)
		}
	}
	if strings.ContainsAny(o.FromTag, `"\`) {
		return nil, errors.New(`from tag: neither " nor \ may be part of it`)
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
		subject:       collapse(o.Subject),
	}
	for _, line := range []string{w.fromLine(""), "Subject: " + w.subject, w.messageID([16]byte{})} {
		if len(line) > maxLine {
			return nil, fmt.Errorf("a header line of %d characters: at most %d may stand in a mail", len(line), maxLine)
		}
	}
	if w.fixedHeaders, err = fixedHeaders(o); err != nil {
		return nil, err
	}
	if text := wrap("", o.Disclaimer, ""); text != "" {
		w.disclaimer = text + "\r\n\r\n"
	}
	if longLine(w.disclaimer) {
		return nil, fmt.Errorf("disclaimer: a word of more than %d characters does not fit into a mail", maxLine)
	}
	return w, nil
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
	line("Date: ", m.Date.UTC().Truncate(time.Hour).Format("Mon, 02 Jan 2006 15:04:05 +0000"))
	line("", w.messageID(m.ID))
	line("MIME-Version: ", "1.0")
	line("Content-Type: ", "text/plain; charset="+enc.charset())
	line("Content-Transfer-Encoding: ", enc.transferEncoding())
	line("", "")

	for _, part := range []string{w.disclaimer, notice(m.Form)} {
		if part != "" {
			out = enc.append(out, []byte(part))
		}
	}
	return enc.append(out, m.Armored), nil
}

func (w *Writer) messageID(id [16]byte) string {
	return "Message-ID: <" + hex.EncodeToString(id[:]) + "@" + w.domain + ">"
}
